"""The Dice activation of Deep Interest Network."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.building import build_sublayer, input_shapes, last_dim
from easyssl.registry import register


@register("Dice")
class Dice(keras.layers.Layer):
    """Activation that passes a share of its input, which depends on where the input lies in its batch.

    `p = sigmoid(batch_norm(x))`, `y = p * x + (1 - p) * alpha * x`, with one trainable `alpha` per channel of
    the last axis, 0 at first. The normalisation has neither scale nor offset and runs in float32.

    Masks pass through, and masked steps do not enter the batch statistics.

    Args:
        epsilon: Added to the variance. Defaults to 1e-09.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Example:
        >>> Dice()(tf.constant([[-1.0], [0.0], [1.0]]), training=False).shape
        TensorShape([3, 1])

    References:
        Zhou et al., "Deep interest network for click-through rate prediction", arXiv 1706.06978, equation 3.
    """

    def __init__(self, epsilon: float = 1e-9, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.supports_masking = True
        # An epsilon of 1e-9 does not exist in float16, where a constant channel would become NaN.
        self.norm = keras.layers.BatchNormalization(
            center=False, scale=False, epsilon=epsilon, dtype="float32", name="norm"
        )

    def build(self, input_shape: Any) -> None:
        """Creates `alpha` and the batch statistics."""
        (shape,) = input_shapes(input_shape)
        self.alpha = self.add_weight(name="alpha", shape=(last_dim(shape, self),), initializer="zeros")
        build_sublayer(self.norm, (None, last_dim(shape, self)))
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, mask: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Applies the activation.

        Args:
            inputs: `[batch, ..., dim]`.
            mask: bool, the shape of `inputs` without the last axis. Defaults to None.
            training: Whether to use and update the statistics of the batch. Defaults to None.

        Returns:
            Tensor of the same shape.
        """
        # Flat, because Keras's normalisation only takes inputs of the rank it was built for.
        rows = tf.reshape(tf.cast(inputs, tf.float32), [-1, inputs.shape[-1]])
        normed = self.norm(rows, training=training, mask=None if mask is None else tf.reshape(mask, [-1]))
        passed = tf.cast(tf.sigmoid(tf.reshape(normed, tf.shape(inputs))), inputs.dtype)
        return passed * inputs + (1.0 - passed) * self.alpha * inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
