"""The multi-layer perceptron of configs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.activations import activation as activation_function
from easyssl.functional.activations import canonical_activation
from easyssl.layers.building import (
    build_sublayer,
    check_positive,
    check_rate,
    get_initializer,
    input_shapes,
    last_dim,
)
from easyssl.layers.dice import Dice
from easyssl.layers.dropout import Dropout
from easyssl.registry import register


@register("MLP")
class MLP(keras.layers.Layer):
    """Dense layers with batch normalisation, activation and dropout, on the last axis.

    Each layer is dense, batch normalisation, activation, dropout; with `use_bn_after_activation` it is dense,
    activation, batch normalisation, dropout. The last layer has switches of its own, and by default it is
    normalised and activated like the others.

    Masks pass through, and masked steps do not enter the batch statistics.

    Args:
        hidden_units: Width of each layer, at least one.
        dropout_ratio: Dropout rate of each layer; missing trailing entries are 0. Defaults to None.
        activation: Activation of the hidden layers: a name of `easyssl.functional.activation_names()`.
            Defaults to "relu".
        use_bn: Whether hidden layers are normalised. Defaults to True.
        use_final_bn: Whether the last layer is normalised. Defaults to True.
        final_activation: Activation of the last layer; "linear" for none. Defaults to "relu".
        use_bias: Whether hidden layers have a bias. Defaults to False.
        initializer: Keras name of the kernels' initializer. Defaults to "he_uniform".
        use_bn_after_activation: Whether normalisation comes after the activation. Defaults to False.
        use_final_bias: Whether the last layer has a bias. Defaults to False.
        add_to_outputs: Whether a model that holds the layer shows its output among the predictions; the layer
            itself does nothing with it. Defaults to False.
        kernel_regularizer: Keras regularizer of the kernels. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an empty `hidden_units`, more dropout rates than layers, a rate outside of [0, 1), or
            an unknown activation or initializer.

    Example:
        >>> MLP([64, 16])(tf.zeros([8, 32])).shape
        TensorShape([8, 16])
        >>> inputs = keras.Input([32])
        >>> model = keras.Model(inputs, MLP([64, 1], use_final_bn=False, final_activation="linear")(inputs))
    """

    def __init__(
        self,
        hidden_units: list[int],
        dropout_ratio: list[float] | None = None,
        activation: str = "relu",
        use_bn: bool = True,
        use_final_bn: bool = True,
        final_activation: str = "relu",
        use_bias: bool = False,
        initializer: str = "he_uniform",
        use_bn_after_activation: bool = False,
        use_final_bias: bool = False,
        add_to_outputs: bool = False,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)
        self.dropout_ratio = tuple(dropout_ratio or ())
        self.activation = activation
        self.use_bn = use_bn
        self.use_final_bn = use_final_bn
        self.final_activation = final_activation
        self.use_bias = use_bias
        self.initializer = initializer
        self.use_bn_after_activation = use_bn_after_activation
        self.use_final_bias = use_final_bias
        self.add_to_outputs = add_to_outputs
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self._check()
        self.blocks = [self._block(index) for index in range(len(self.hidden_units))]

    def _check(self) -> None:
        if not self.hidden_units:
            raise ValueError("MLP: `hidden_units` must name at least one layer. Received: hidden_units=[]")
        for units in self.hidden_units:
            check_positive("MLP", hidden_units=units)
        if len(self.dropout_ratio) > len(self.hidden_units):
            raise ValueError(
                f"MLP: `dropout_ratio` has more entries than there are layers. Received: "
                f"dropout_ratio={list(self.dropout_ratio)}, hidden_units={list(self.hidden_units)}"
            )
        for rate in self.dropout_ratio:
            check_rate("MLP", "dropout_ratio", rate)

    def _block(self, index: int) -> _Block:
        final = index == len(self.hidden_units) - 1
        return _Block(
            self.hidden_units[index],
            use_bias=self.use_final_bias if final else self.use_bias,
            use_bn=self.use_final_bn if final else self.use_bn,
            bn_last=self.use_bn_after_activation,
            activation=canonical_activation(self.final_activation if final else self.activation),
            dropout=self.dropout_ratio[index] if index < len(self.dropout_ratio) else 0.0,
            initializer=self.initializer,
            regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=f"layer_{index}",
        )

    def build(self, input_shape: Any) -> None:
        """Creates the weights of all layers."""
        (shape,) = input_shapes(input_shape)
        last_dim(shape, self)
        for block in self.blocks:
            build_sublayer(block, shape)
            shape = (*shape[:-1], block.dense.units)
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, mask: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Applies the layers in order.

        Args:
            inputs: `[batch, ..., dim]`.
            mask: bool, the shape of `inputs` without the last axis. Defaults to None.
            training: Whether to drop entries and to use the statistics of the batch. Defaults to None.

        Returns:
            `[batch, ..., hidden_units[-1]]`.
        """
        x = inputs
        for block in self.blocks:
            x = block(x, mask=mask, training=training)
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape with the last layer's width."""
        (shape,) = input_shapes(input_shape)
        return (*shape[:-1], self.hidden_units[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "dropout_ratio": list(self.dropout_ratio),
            "activation": self.activation,
            "use_bn": self.use_bn,
            "use_final_bn": self.use_final_bn,
            "final_activation": self.final_activation,
            "use_bias": self.use_bias,
            "initializer": self.initializer,
            "use_bn_after_activation": self.use_bn_after_activation,
            "use_final_bias": self.use_final_bias,
            "add_to_outputs": self.add_to_outputs,
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }


class _Block(keras.layers.Layer):
    """One layer of an MLP: dense, batch normalisation, activation, dropout."""

    def __init__(
        self,
        units: int,
        *,
        use_bias: bool,
        use_bn: bool,
        bn_last: bool,
        activation: str,
        dropout: float,
        initializer: str,
        regularizer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        policy = self.dtype_policy
        self.dense = keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=get_initializer("MLP", initializer),
            kernel_regularizer=regularizer,
            dtype=policy,
            name="dense",
        )
        self.norm = keras.layers.BatchNormalization(dtype=policy, name="norm") if use_bn else None
        self.bn_last = bn_last
        self.dice = Dice(dtype=policy, name="dice") if activation == "dice" else None
        self.activation = activation_function("linear" if self.dice else activation)
        self.dropout = Dropout(dropout, dtype=policy, name="dropout") if dropout > 0 else None

    def build(self, input_shape: Any) -> None:
        (shape,) = input_shapes(input_shape)
        build_sublayer(self.dense, shape)
        for layer in (self.norm, self.dice, self.dropout):
            if layer is not None:
                build_sublayer(layer, (*shape[:-1], self.dense.units))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, mask: tf.Tensor | None, training: bool | None) -> tf.Tensor:
        x = self.dense(inputs)
        if self.norm is not None and not self.bn_last:
            x = self.norm(x, training=training, mask=mask)
        x = self.activation(x) if self.dice is None else self.dice(x, training=training, mask=mask)
        if self.norm is not None and self.bn_last:
            x = self.norm(x, training=training, mask=mask)
        return x if self.dropout is None else self.dropout(x, training=training)
