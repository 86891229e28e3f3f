"""Numbers as sines and cosines of learned frequencies."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.activations import activation, canonical_activation
from easyssl.functional.initial import glorot_limit
from easyssl.functional.numbers import waves
from easyssl.layers.building import build_sublayer, check_positive
from easyssl.layers.dice import Dice
from easyssl.layers.number_outputs import float32_weight, num_features, number_outputs
from easyssl.registry import register


@register("PeriodicEmbedding")
class PeriodicEmbedding(keras.layers.Layer):
    """Embeds each number by sines and cosines of learned frequencies.

    `e_i = [sin(2 pi c_i x_i), cos(2 pi c_i x_i)]`, where each of the features has `embedding_dim / 2`
    frequencies c of its own, normally distributed at first. With the linear layer each feature has a dense
    layer of its own on that, with bias and activation.

    The waves are computed in float32 under every dtype policy, of numbers as they come in.

    Args:
        embedding_dim: Width per feature, even.
        sigma: Standard deviation of the frequencies at first, positive. The most important choice: for
            numbers of about one size, try 0.01 to 1.
        add_linear_layer: Whether there are dense layers. Defaults to True.
        linear_activation: Their activation: a name of `easyssl.functional.activation_names()`. Defaults to
            "relu".
        output_3d_tensor: Whether to return `[batch, num_features, embedding_dim]`, too. Defaults to False.
        output_tensor_list: Whether to return a list of `[batch, embedding_dim]`, too; goes before
            `output_3d_tensor`. Defaults to False.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a width that is odd or not positive, a `sigma` that is not positive, or an unknown
            activation.

    Example:
        >>> layer = PeriodicEmbedding(embedding_dim=4, sigma=0.1, output_tensor_list=True)
        >>> joined, fields = layer(tf.constant([[0.5, 20.0, 3.0]]))
        >>> joined.shape, len(fields), fields[0].shape
        (TensorShape([1, 12]), 3, TensorShape([1, 4]))

    References:
        Gorishniy et al., "On embeddings for numerical features in tabular deep learning", arXiv 2203.05556.
    """

    def __init__(
        self,
        embedding_dim: int,
        sigma: float,
        add_linear_layer: bool = True,
        linear_activation: str = "relu",
        output_3d_tensor: bool = False,
        output_tensor_list: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # half precision has too few digits for the phase of a wave
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.sigma = sigma
        self.add_linear_layer = add_linear_layer
        self.linear_activation = canonical_activation(linear_activation)
        self.output_3d_tensor = output_3d_tensor
        self.output_tensor_list = output_tensor_list
        self.supports_masking = True
        check_positive("PeriodicEmbedding", embedding_dim=embedding_dim)
        if embedding_dim % 2:
            raise ValueError(
                f"PeriodicEmbedding: `embedding_dim` must be even. Received: embedding_dim={embedding_dim}"
            )
        if not sigma > 0:
            raise ValueError(f"PeriodicEmbedding: `sigma` must be positive. Received: sigma={sigma}")
        is_dice = self.linear_activation == "dice"
        self.dice = Dice(dtype=self.dtype_policy, name="dice") if is_dice and add_linear_layer else None
        self._activation = activation("linear" if is_dice else self.linear_activation)

    def build(self, input_shape: Any) -> None:
        """Creates the frequencies and the dense layers."""
        count = num_features(self, input_shape)
        dim = self.embedding_dim
        normal = keras.initializers.RandomNormal(stddev=self.sigma)
        self.coefficients = float32_weight(self, "coefficients", (count, dim // 2), normal)
        if self.add_linear_layer:
            limit = glorot_limit(dim, dim)
            uniform = keras.initializers.RandomUniform(-limit, limit)
            self.kernel = self.add_weight(name="kernel", shape=(count, dim, dim), initializer=uniform)
            self.bias = self.add_weight(name="bias", shape=(count, dim), initializer="zeros")
        if self.dice is not None:
            build_sublayer(self.dice, (None, count, dim))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> Any:
        """Embeds.

        Args:
            inputs: Numbers `[batch, num_features]`.
            training: Whether the activation "dice" uses the statistics of the batch. Defaults to None.

        Returns:
            `[batch, num_features * embedding_dim]`, or a tuple of that and the form that was asked for.

        Raises:
            ValueError: For an input that is no matrix.
        """
        embedded = tf.cast(waves(inputs, tf.convert_to_tensor(self.coefficients)), self.compute_dtype)
        if self.add_linear_layer:
            kernel, bias = (
                tf.cast(tf.convert_to_tensor(w), embedded.dtype) for w in (self.kernel, self.bias)
            )
            embedded = self._activation(tf.einsum("bnd,nde->bne", embedded, kernel) + bias)
            if self.dice is not None:
                embedded = self.dice(embedded, training=training)
        return number_outputs(embedded, self.output_tensor_list, self.output_3d_tensor)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "sigma": self.sigma,
            "add_linear_layer": self.add_linear_layer,
            "linear_activation": self.linear_activation,
            "output_3d_tensor": self.output_3d_tensor,
            "output_tensor_list": self.output_tensor_list,
        }
