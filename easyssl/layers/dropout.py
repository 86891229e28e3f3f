"""Dropout that a restored checkpoint continues exactly."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.random import add_random_state, advance, keep_mask, rounded_rate
from easyssl.layers.building import check_rate
from easyssl.registry import register


@register("Dropout")
class Dropout(keras.layers.Layer):
    """Sets a share of the entries to zero while training, and scales the others up by `1 / (1 - rate)`.

    Unlike the Keras layer of this name it keeps its random state, a seed and a counter, among its weights. A
    training that is resumed from a checkpoint drops what the uninterrupted one would have dropped.

    Masks pass through.

    Args:
        rate: Share of entries that are dropped, in [0, 1); rounded to a multiple of 2^-16.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        noise_shape: Shape of the mask that is drawn and broadcast to the input's: `[None, 1, None]` drops the
            same entries at every step of a sequence. None stands for the input's size. Defaults to None,
            which is the input's shape.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If the rate is not in [0, 1), or the input has another number of axes than `noise_shape`.

    Example:
        >>> layer = Dropout(0.5, seed=1)
        >>> x = tf.ones([2, 4])
        >>> bool(tf.reduce_all(layer(x, training=False) == x))
        True
        >>> sorted(set(layer(x, training=True).numpy().ravel().tolist()))
        [0.0, 2.0]

    References:
        Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 2014.
    """

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        noise_shape: list[int | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.rate = rate
        self.seed = seed
        self.supports_masking = True
        check_rate("Dropout", "rate", rate)

    def build(self, input_shape: Any) -> None:
        """Creates the random state."""
        self.random_state = add_random_state(self, self.seed)
        super().build(input_shape)

    def factor(self, training: bool | None) -> float:
        """Returns what kept entries are multiplied by.

        Args:
            training: Whether anything is dropped.
        """
        return 1.0 / (1.0 - rounded_rate(self.rate)) if training else 1.0

    def call(self, inputs: tf.Tensor, training: bool | None = None, scaled: bool = False) -> tf.Tensor:
        """Drops entries if `training`.

        Args:
            inputs: Tensor of any shape.
            training: Whether to drop anything. Defaults to None, which is False.
            scaled: Whether the inputs are multiplied by `factor(training)` already, which is cheaper where
                the weights that they come from can be. Defaults to False.

        Returns:
            Tensor of the same shape.
        """
        inputs = tf.convert_to_tensor(inputs)
        if not training or self.rate == 0:
            return inputs
        kept = keep_mask(advance(self.random_state), self.rate, self._mask_shape(inputs))
        if not scaled:
            inputs *= self.factor(training)
        return tf.where(kept, inputs, tf.zeros([], inputs.dtype))

    def _mask_shape(self, inputs: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(inputs)
        if self.noise_shape is None:
            return shape
        if len(self.noise_shape) != inputs.shape.rank:
            raise ValueError(
                f"`noise_shape` needs one entry for each of {inputs.shape.rank} axes. Received: "
                f"noise_shape={list(self.noise_shape)}"
            )
        return tf.stack([shape[axis] if size is None else size for axis, size in enumerate(self.noise_shape)])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        noise_shape = None if self.noise_shape is None else list(self.noise_shape)
        return {**super().get_config(), "rate": self.rate, "seed": self.seed, "noise_shape": noise_shape}
