"""Highway layers: a learned gate between a transform and its input."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.activations import canonical_activation
from easyssl.layers.building import build_sublayer, check_positive, check_rate, input_shapes, last_dim
from easyssl.layers.mlp import MLP
from easyssl.registry import register


@register("Highway")
class Highway(keras.layers.Layer):
    """Mixes its input with a transform of it, entry by entry.

    `t = sigmoid(W_t x + b_t)`, `h = dropout(act(W_h x + b_h))`, `x = t * h + (1 - t) * x`, as often as there
    are layers, each with weights of its own. `b_t` starts at `init_gate_bias`; a negative one lets the input
    pass at first. If `emb_size` differs from the input's width, a dense layer projects the input first. Acts
    on the last axis; masks pass through.

    EasyRec's documentation gives "gelu" as the default activation; its program and this layer have "relu".

    Args:
        emb_size: Width; None for that of the input. Defaults to None.
        activation: Activation of the transform: a name of `easyssl.functional.activation_names()`. Defaults
            to "relu".
        dropout_rate: Dropout rate of the transform; None for no dropout. Defaults to None.
        init_gate_bias: What the gate's bias starts at. Defaults to -3.0.
        num_layers: Number of layers. Defaults to 1.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive, a rate outside of [0, 1), or an unknown activation.

    Example:
        >>> Highway(emb_size=16, num_layers=2)(tf.zeros([8, 24])).shape
        TensorShape([8, 16])

    References:
        Srivastava et al., "Highway networks", arXiv 1505.00387.
    """

    def __init__(
        self,
        emb_size: int | None = None,
        activation: str = "relu",
        dropout_rate: float | None = None,
        init_gate_bias: float = -3.0,
        num_layers: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.emb_size = emb_size
        self.activation = canonical_activation(activation)
        self.dropout_rate = dropout_rate
        self.init_gate_bias = init_gate_bias
        self.num_layers = num_layers
        self.supports_masking = True
        check_positive("Highway", num_layers=num_layers)
        if emb_size is not None:
            check_positive("Highway", emb_size=emb_size)
        if dropout_rate is not None:
            check_rate("Highway", "dropout_rate", dropout_rate)

    def build(self, input_shape: Any) -> None:
        """Creates the projection, if one is needed, and the weights of each layer."""
        (shape,) = input_shapes(input_shape)
        width = self.emb_size or last_dim(shape, self)
        self.projection = None
        if width != last_dim(shape, self):
            self.projection = keras.layers.Dense(width, dtype=self.dtype_policy, name="projection")
            build_sublayer(self.projection, shape)
        self.gates = [self._gate(width, index) for index in range(self.num_layers)]
        self.transforms = [self._transform(width, index) for index in range(self.num_layers)]
        for layer in (*self.gates, *self.transforms):
            build_sublayer(layer, (*shape[:-1], width))
        super().build(input_shape)

    def _gate(self, width: int, index: int) -> keras.layers.Layer:
        return keras.layers.Dense(
            width,
            activation="sigmoid",
            bias_initializer=keras.initializers.Constant(self.init_gate_bias),
            dtype=self.dtype_policy,
            name=f"gate_{index}",
        )

    def _transform(self, width: int, index: int) -> MLP:
        return MLP(
            [width],
            dropout_ratio=[self.dropout_rate or 0.0],
            use_final_bn=False,
            final_activation=self.activation,
            use_final_bias=True,
            initializer="glorot_uniform",
            dtype=self.dtype_policy,
            name=f"transform_{index}",
        )

    def call(
        self, inputs: tf.Tensor, mask: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Applies the layers in order.

        Args:
            inputs: `[batch, ..., dim]`.
            mask: bool, the shape of `inputs` without the last axis. Defaults to None.
            training: Whether to drop entries. Defaults to None, which is False.

        Returns:
            `[batch, ..., emb_size]`.
        """
        x = inputs if self.projection is None else self.projection(inputs)
        for gate, transform in zip(self.gates, self.transforms, strict=True):
            x += gate(x) * (transform(x, mask=mask, training=training) - x)
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape with the width of the layers."""
        (shape,) = input_shapes(input_shape)
        return (*shape[:-1], self.emb_size or shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "emb_size": self.emb_size,
            "activation": self.activation,
            "dropout_rate": self.dropout_rate,
            "init_gate_bias": self.init_gate_bias,
            "num_layers": self.num_layers,
        }
