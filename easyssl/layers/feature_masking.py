"""Two views of the fields of a row, each with some of them hidden."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.functional.feature_masking import (
    correlated_masks,
    default_num_masked,
    draw_correlated_mask,
    draw_random_mask,
)
from easyssl.functional.random import add_random_state, advance, uniform
from easyssl.layers.arrays import read_array
from easyssl.layers.building import check_positive, input_shapes, last_dim
from easyssl.registry import register


@register("FeatureMasking")
class FeatureMasking(keras.layers.Layer):
    """Hides fields of the rows in two views, for a contrast of both, while training.

    A hidden field is replaced by a default embedding of its own, which starts at zero and is trained, or with
    `trainable_default=False` stays zero. Which fields are hidden is drawn
    anew in each call, once for the whole batch:

    - `random`: `num_masked` of the fields;
    - `correlated`: a seed field, drawn uniformly, and the `num_masked - 1` other fields with the largest
      mutual information with it, so that a hidden field cannot be guessed from what is left.

    The second view hides exactly the fields that the first one shows, or, unless `complementary`, fields that
    are drawn in the same way once more.

    Without `training` both views are the fields as they are. The order of the matrix's rows and columns is
    the order of the inputs; `easyssl data mutual-information` computes it from data. Gradients reach the
    fields a view shows and, where they are trained, the default embeddings of those it hides.

    Args:
        strategy: `"random"` or `"correlated"`. Defaults to "random".
        complementary: Whether the second view hides what the first one shows. Defaults to True.
        num_masked: Number of fields that the first view hides, at least 1 and fewer than all. None takes half
            of k fields, `floor(k / 2)`, and with correlations one more for the seed, `floor(k / 2) + 1`, but
            at most `k - 1`. Defaults to None.
        mutual_information: Mutual information of each pair of fields `[fields, fields]`, which `correlated`
            needs: nested lists, or the name of a `.npy` or `.json` file. Defaults to None.
        concat: Whether a view is one tensor rather than a list of fields. Defaults to True.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        trainable_default: Whether the default embeddings are trained. Defaults to True.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If a strategy is unknown or lacks its matrix, if the matrix is not symmetric, if there are
            fewer than two fields, or if `num_masked` or the matrix does not suit the number of fields.

    Example:
        >>> layer = FeatureMasking(seed=3)
        >>> fields = [tf.ones([2, 1]), 2 * tf.ones([2, 2]), 3 * tf.ones([2, 1]), 4 * tf.ones([2, 1])]
        >>> first, second = layer(fields, training=True)
        >>> (first + second)[0].numpy().tolist()
        [1.0, 2.0, 2.0, 3.0, 4.0]

    References:
        Yao et al., "Self-supervised learning for large-scale item recommendations", CIKM 2021, section 4.
    """

    file_parameters = ("mutual_information",)

    def __init__(
        self,
        strategy: Literal["random", "correlated"] = "random",
        complementary: bool = True,
        num_masked: int | None = None,
        mutual_information: str | list | None = None,
        concat: bool = True,
        seed: int | None = None,
        trainable_default: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.strategy = strategy
        self.complementary = complementary
        self.num_masked = num_masked
        self.concat = concat
        self.seed = seed
        self.trainable_default = trainable_default
        if strategy not in ("random", "correlated"):
            raise ValueError(
                "FeatureMasking: `strategy` must be 'random' or 'correlated'. "
                f"Received: strategy={strategy!r}"
            )
        if num_masked is not None:
            check_positive("FeatureMasking", num_masked=num_masked)
        if (mutual_information is None) == (strategy == "correlated"):
            lacks = "needs" if mutual_information is None else "has no use for"
            raise ValueError(f"FeatureMasking: `strategy='{strategy}'` {lacks} `mutual_information`")
        self._information: np.ndarray | None = None
        if mutual_information is not None:
            self._information = _square(mutual_information)

    def build(self, input_shape: Any) -> None:
        """Creates the default embeddings and the random state."""
        shapes = input_shapes(input_shape)
        fields = len(shapes)
        if fields < 2 or any(len(shape) != 2 for shape in shapes):
            raise ValueError(
                f"FeatureMasking '{self.name}' takes a list of at least two fields [batch, dim]; an "
                f"input_layer gives it with only_output_feature_list. Received shapes: {shapes}"
            )
        if self._information is not None and len(self._information) != fields:
            raise ValueError(
                f"FeatureMasking '{self.name}': `mutual_information` has {len(self._information)} fields, "
                f"the input has {fields}"
            )
        correlated = self._information is not None
        self._hidden = self.num_masked or default_num_masked(fields, correlated)
        if self._hidden >= fields:
            raise ValueError(
                f"FeatureMasking '{self.name}': `num_masked` must be below the number of fields, {fields}. "
                f"Received: num_masked={self._hidden}"
            )
        if self._information is not None:
            self._groups = correlated_masks(self._information, self._hidden)
        self._widths = tuple(last_dim(shape, self) for shape in shapes)
        # One vector with all fields one after the other: it needs one operation instead of one a field.
        self.default_embedding = self.add_weight(
            name="default_embedding",
            shape=(sum(self._widths),),
            initializer="zeros",
            trainable=self.trainable_default,
        )
        self.random_state = add_random_state(self, self.seed)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> list[Any]:
        """Makes the two views.

        Args:
            inputs: List of fields `[batch, dim]`; widths may differ.
            training: Whether fields are hidden. Defaults to None, which is False.

        Returns:
            A list of the two views, each `[batch, sum of dims]`, or a list of fields like `inputs`.
        """
        fields = tf.concat([tf.cast(field, self.compute_dtype) for field in inputs], axis=-1)
        if training:
            default = tf.cast(tf.convert_to_tensor(self.default_embedding), fields.dtype)
            owner = np.repeat(np.arange(len(self._widths)), self._widths)
            views = [tf.where(tf.gather(mask, owner), default, fields) for mask in self._draw_masks()]
        else:
            views = [fields, fields]
        return views if self.concat else [tf.split(view, self._widths, axis=-1) for view in views]

    def _draw_masks(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns which fields each view hides, bool `[fields]`."""
        draws = uniform(advance(self.random_state), [2, len(self._widths)])

        def draw(numbers: tf.Tensor) -> tf.Tensor:
            if self._information is None:
                return draw_random_mask(numbers, self._hidden)
            return draw_correlated_mask(numbers[0], tf.constant(self._groups))

        first = draw(draws[0])
        return first, ~first if self.complementary else draw(draws[1])

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a view is no sequence."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; a matrix from a file as nested lists."""
        return {
            **super().get_config(),
            "strategy": self.strategy,
            "complementary": self.complementary,
            "num_masked": self.num_masked,
            "mutual_information": None if self._information is None else self._information.tolist(),
            "concat": self.concat,
            "seed": self.seed,
            "trainable_default": self.trainable_default,
        }


def _square(given: str | list) -> np.ndarray:
    """Returns `mutual_information` as float64 `[fields, fields]`."""
    array = read_array("FeatureMasking", "mutual_information", given).astype(np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not np.allclose(array, array.T, atol=1e-6):
        raise ValueError(
            "FeatureMasking: `mutual_information` must be a symmetric matrix [fields, fields]. "
            f"Received shape: {list(array.shape)}"
        )
    return array
