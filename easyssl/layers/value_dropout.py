"""Dropout of whole values of multi-valued features."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.masking import length_mask
from easyssl.functional.random import add_random_state, advance, uniform
from easyssl.layers.building import check_rate, input_shapes, last_dim
from easyssl.registry import register


@register("ValueDropout")
class ValueDropout(keras.layers.Layer):
    """Drops values of multi-valued features while training, before they are pooled.

    Each value of a bag, such as the tags or the past items of a row, is dropped independently with
    probability `rate`; nothing is scaled. What becomes of a bag that loses all its values, `when_empty` says:

    - `default`: it holds one value, a trained default embedding, or `default_id` for ids, so that whatever
      pools it, its mean for one, is the default;
    - `keep_one`: it keeps one of its values, each equally likely;
    - `nothing`: it stays empty.

    A bag without a value from the start is left as it is. Without `training` the input comes back unchanged.

    The values are ids `[batch, n]` with `pad_id` where there is none, or embeddings `[batch, n, dim]` or ids
    together with what says which of them are there: their mask, bool `[batch, n]`, or lengths `[batch]` of
    bags that are filled from the left. With lengths, the values that stay move to the left, in their order.

    Gradients reach the values that stay and the default embedding.

    Args:
        rate: Probability that a value is dropped, in [0, 1); 0.3 was best in the paper.
        when_empty: `"default"`, `"keep_one"` or `"nothing"`. Defaults to "default".
        pad_id: What dropped ids become. Defaults to -1.
        default_id: Id that `"default"` puts into a bag of ids. Defaults to None.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If the rate is not in [0, 1), `when_empty` is unknown, or `"default"` lacks the
            `default_id` that ids need.

    Example:
        >>> layer = ValueDropout(0.5, when_empty="nothing", seed=1)
        >>> tags = tf.constant([[3, 5, 7, -1], [2, -1, -1, -1]])
        >>> layer(tags, training=True).shape
        TensorShape([2, 4])
        >>> layer = ValueDropout(0.9, when_empty="keep_one", seed=1)
        >>> history, lengths = layer([tf.ones([2, 4, 8]), tf.constant([3, 0])], training=True)
        >>> lengths.numpy().tolist()
        [1, 0]

    References:
        Yao et al., "Self-supervised learning for large-scale item recommendations", CIKM 2021, section 4.2.
    """

    def __init__(
        self,
        rate: float,
        when_empty: Literal["default", "keep_one", "nothing"] = "default",
        pad_id: int = -1,
        default_id: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.when_empty = when_empty
        self.pad_id = pad_id
        self.default_id = default_id
        self.seed = seed
        check_rate("ValueDropout", "rate", rate)
        if when_empty not in ("default", "keep_one", "nothing"):
            raise ValueError(
                "ValueDropout: `when_empty` must be 'default', 'keep_one' or 'nothing'. "
                f"Received: when_empty={when_empty!r}"
            )
        self.default_embedding: Any = None

    def build(self, input_shape: Any) -> None:
        """Creates the default embedding, if values are embeddings, and the random state."""
        shapes = input_shapes(input_shape)
        ranks = tuple(len(shape) for shape in shapes)[:2]
        if ranks not in ((2,), (2, 1), (2, 2), (3, 1), (3, 2)):
            raise ValueError(
                f"ValueDropout '{self.name}' takes ids [batch, n], or ids or embeddings [batch, n, dim] with "
                f"a mask [batch, n] or lengths [batch]. Received shapes: {shapes}"
            )
        if self.when_empty == "default" and ranks[0] == 3:
            self.default_embedding = self.add_weight(
                name="default_embedding", shape=(last_dim(shapes[0], self),), initializer="zeros"
            )
        if self.when_empty == "default" and ranks[0] == 2 and self.default_id is None:
            raise ValueError(
                f"ValueDropout '{self.name}': for ids, `when_empty='default'` needs `default_id`; or use "
                "'keep_one' or 'nothing'"
            )
        self.random_state = add_random_state(self, self.seed)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Drops values if `training`.

        Args:
            inputs: Ids `[batch, n]`, or a list of values `[batch, n]` or `[batch, n, dim]` and their mask
                `[batch, n]` or lengths `[batch]`; further inputs, such as the other features of a group in
                sequence mode, are ignored.
            training: Whether to drop anything. Defaults to None, which is False.

        Returns:
            Ids `[batch, n]`, or a tuple of the values and their mask, bool `[batch, n]`, or lengths, int32
            `[batch]`.
        """
        alone = not isinstance(inputs, list | tuple)
        values = tf.convert_to_tensor(inputs if alone else inputs[0])
        if alone:
            return self._drop(values, tf.not_equal(values, self.pad_id))[0] if training else values
        present = tf.convert_to_tensor(inputs[1])
        if present.shape.rank == 2:
            present = tf.cast(present, tf.bool)
            return self._drop(values, present) if training else (values, present)
        lengths = tf.cast(present, tf.int32)
        if not training:
            return values, lengths
        values, kept = self._drop(values, length_mask(lengths, tf.shape(values)[1]))
        order = tf.argsort(tf.cast(~kept, tf.int32), axis=-1, stable=True)
        lengths = tf.math.count_nonzero(kept, axis=1, dtype=tf.int32)
        return tf.ensure_shape(tf.gather(values, order, batch_dims=1), values.shape), lengths

    def _drop(self, values: tf.Tensor, present: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the values with padding where one is dropped, and which are left."""
        # Values come first, so that more padding appends random numbers instead of moving them.
        batch, count = tf.unstack(tf.shape(present))
        draws = tf.transpose(uniform(advance(self.random_state), tf.stack([count, batch])))
        kept = present & (draws >= self.rate)
        lost = tf.reduce_any(present, axis=1, keepdims=True) & ~tf.reduce_any(kept, axis=1, keepdims=True)
        places = tf.range(count)[None, :]
        first = places == 0
        if self.when_empty == "keep_one":
            largest = tf.argmax(tf.where(present, draws, -1.0), axis=1, output_type=tf.int32)
            kept |= lost & (places == largest[:, None])
        elif self.when_empty == "default":
            kept |= lost & first
        embedded = values.shape.rank == 3
        padding = tf.cast(0 if embedded else self.pad_id, values.dtype)
        values = tf.where(kept[..., None] if embedded else kept, values, padding)
        if self.when_empty == "default":
            default = tf.convert_to_tensor(self.default_embedding) if embedded else self.default_id
            here = (lost & first)[..., None] if embedded else lost & first
            values = tf.where(here, tf.cast(default, values.dtype), values)
        return values, kept

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: masks and lengths are outputs."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "when_empty": self.when_empty,
            "pad_id": self.pad_id,
            "default_id": self.default_id,
            "seed": self.seed,
        }
