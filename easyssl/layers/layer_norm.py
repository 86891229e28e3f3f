"""Layer normalisation in float32 for tensors of any rank."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.normalization import layer_norm
from easyssl.layers.building import input_shapes, last_dim


@keras.utils.register_keras_serializable(package="easyssl")
class LayerNorm(keras.layers.Layer):
    """Layer normalisation of the last axis, `gamma * (x - mean) / sqrt(variance + epsilon) + beta`.

    Unlike Keras's, it computes in float32 under every policy, where also a very small epsilon exists, takes
    inputs of another rank than it was built for, and has a closed-form gradient. Masks pass through.

    Args:
        epsilon: Added to the variance. Defaults to 1e-12.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Example:
        >>> LayerNorm()(tf.constant([[1.0, 3.0]])).numpy().round(4).tolist()
        [[-1.0, 1.0]]

    References:
        Ba et al., "Layer normalization", arXiv 1607.06450.
    """

    def __init__(self, epsilon: float = 1e-12, **kwargs: Any) -> None:
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates `gamma` and `beta`."""
        (shape,) = input_shapes(input_shape)
        dim = last_dim(shape, self)
        options = {"shape": (dim,), "dtype": "float32", "autocast": False}
        if not hasattr(keras, "ops"):
            options["experimental_autocast"] = options.pop("autocast")
        self.gamma = self.add_weight(name="gamma", initializer="ones", **options)
        self.beta = self.add_weight(name="beta", initializer="zeros", **options)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, factor: float = 1.0) -> tf.Tensor:
        """Normalises.

        Args:
            inputs: `[..., dim]`.
            factor: What the result is multiplied by. Defaults to 1.0.

        Returns:
            A tensor like the input.
        """
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        if factor != 1.0:
            gamma, beta = gamma * factor, beta * factor
        return layer_norm(inputs, gamma, beta, self.epsilon)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
