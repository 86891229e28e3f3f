"""The gate of PPNet."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.activations import canonical_activation
from easyssl.layers.building import build_sublayer, check_positive, check_rate, input_shapes
from easyssl.layers.mlp import MLP


@keras.utils.register_keras_serializable(package="easyssl")
class GateNN(keras.layers.Layer):
    """Two dense layers that end in twice a sigmoid: factors between 0 and 2.

    `2 * sigmoid(W2 dropout(act(W1 g)))`, both layers with a bias, or with batch normalisation in its place.
    The kernels start as "he_uniform".

    EasyRec's documentation says that `use_bn` is on by default; in its program and here it is off.

    Args:
        output_dim: Number of factors.
        hidden_dim: Width of the hidden layer; None for `output_dim`. Defaults to None.
        activation: Activation of the hidden layer: a name of `easyssl.functional.activation_names()`.
            Defaults to "relu".
        use_bn: Whether both layers are normalised and have no bias. Defaults to False.
        dropout_rate: Dropout rate of the hidden layer; None for no dropout. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive, a rate outside of [0, 1), or an unknown activation.

    Example:
        >>> GateNN(4)(tf.zeros([1, 3])).numpy().tolist()
        [[1.0, 1.0, 1.0, 1.0]]

    References:
        Chang et al., "PEPNet: parameter and embedding personalized network for infusing with personalized
        prior information", arXiv 2302.01115.
    """

    def __init__(
        self,
        output_dim: int,
        hidden_dim: int | None = None,
        activation: str = "relu",
        use_bn: bool = False,
        dropout_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_dim = output_dim
        self.hidden_dim = hidden_dim
        self.activation = canonical_activation(activation)
        self.use_bn = use_bn
        self.dropout_rate = dropout_rate
        self.supports_masking = True
        check_positive("GateNN", output_dim=output_dim)
        if hidden_dim is not None:
            check_positive("GateNN", hidden_dim=hidden_dim)
        if dropout_rate is not None:
            check_rate("GateNN", "dropout_rate", dropout_rate)
        self.mlp = MLP(
            [hidden_dim or output_dim, output_dim],
            dropout_ratio=[dropout_rate or 0.0],
            activation=self.activation,
            use_bn=use_bn,
            use_final_bn=use_bn,
            final_activation="sigmoid",
            use_bias=not use_bn,
            use_final_bias=not use_bn,
            dtype=self.dtype_policy,
            name="mlp",
        )

    def build(self, input_shape: Any) -> None:
        """Creates the weights of both layers."""
        (shape,) = input_shapes(input_shape)
        build_sublayer(self.mlp, shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the factors.

        Args:
            inputs: `[batch, dim]`.
            training: Whether to drop entries and to use the statistics of the batch. Defaults to None.

        Returns:
            `[batch, output_dim]`.
        """
        return 2.0 * self.mlp(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "output_dim": self.output_dim,
            "hidden_dim": self.hidden_dim,
            "activation": self.activation,
            "use_bn": self.use_bn,
            "dropout_rate": self.dropout_rate,
        }
