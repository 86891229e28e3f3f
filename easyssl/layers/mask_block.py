"""The instance-guided mask of MaskNet."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.building import build_sublayer, check_positive, input_shapes, last_dim
from easyssl.layers.layer_norm import LayerNorm
from easyssl.registry import register

_EPSILON = 1e-3


@register("MaskBlock")
class MaskBlock(keras.layers.Layer):
    """Multiplies one input with a mask that a small network makes of another.

    `v = net * (W2 relu(W1 m + b1) + b2)`, with `net` normalised over the last axis if wanted. The hidden
    layer has the width `int(reduction_factor * width of m)` or `aggregation_size`. With `projection_dim`, a
    matrix without bias first brings m to that width. Given an `output_size`, the output is
    `relu(layer_norm(W3 v))`, without a bias of W3; otherwise v itself. Both normalisations have epsilon 1e-3.

    EasyRec's documentation says that `input_layer_norm` is on by default; in its program and here it is off.
    With neither `reduction_factor` nor `aggregation_size` it builds a layer of width 0; here that is an
    error.

    Args:
        reduction_factor: Hidden width as a factor of the width of m; goes before `aggregation_size`. Defaults
            to None.
        output_size: Width of the output; None returns v. Defaults to None.
        aggregation_size: Hidden width. Defaults to None.
        input_layer_norm: Whether `net` is normalised first. Defaults to False.
        projection_dim: Width that m is brought to before W1; None for no such matrix. Defaults to None.
        kernel_regularizer: Keras regularizer of W1 and of the projection. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive, and if there is no hidden width.

    Example:
        >>> layer = MaskBlock(reduction_factor=0.5, output_size=4)
        >>> layer([tf.zeros([3, 6]), tf.zeros([3, 8])]).shape
        TensorShape([3, 4])

    References:
        Wang et al., "MaskNet: introducing feature-wise multiplication to CTR ranking models by
        instance-guided mask", arXiv 2102.07619.
    """

    def __init__(
        self,
        reduction_factor: float | None = None,
        output_size: int | None = None,
        aggregation_size: int | None = None,
        input_layer_norm: bool = False,
        projection_dim: int | None = None,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reduction_factor = reduction_factor
        self.output_size = output_size
        self.aggregation_size = aggregation_size
        self.input_layer_norm = input_layer_norm
        self.projection_dim = projection_dim
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self._check()

    def _check(self) -> None:
        for name in ("output_size", "aggregation_size", "projection_dim"):
            if getattr(self, name) is not None:
                check_positive("MaskBlock", **{name: getattr(self, name)})
        factor = self.reduction_factor
        if factor is None and self.aggregation_size is None:
            raise ValueError("MaskBlock: set `reduction_factor` or `aggregation_size`. Received: neither")
        if factor is not None and not factor > 0:
            raise ValueError(
                f"MaskBlock: `reduction_factor` must be positive. Received: reduction_factor={factor}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        net, mask = self._shapes(input_shape)
        width = last_dim(net, self)
        policy = self.dtype_policy
        self.input_norm = self.projection = None
        if self.input_layer_norm:
            self.input_norm = LayerNorm(_EPSILON, dtype=policy, name="input_norm")
        if self.projection_dim is not None:
            self.projection = self._first_dense(self.projection_dim, "projection", use_bias=False)
        self.aggregation = self._first_dense(self._hidden_width(mask), "aggregation")
        self.mask_dense = keras.layers.Dense(width, dtype=policy, name="mask_dense")
        self.output_dense = self.output_norm = None
        if self.output_size is not None:
            self.output_dense = keras.layers.Dense(
                self.output_size, use_bias=False, dtype=policy, name="output_dense"
            )
            self.output_norm = LayerNorm(_EPSILON, dtype=policy, name="output_norm")
        self._build_parts(net, mask)
        super().build(input_shape)

    def _build_parts(self, net: Any, mask: Any) -> None:
        for layer in (self.projection, self.aggregation, self.mask_dense):
            if layer is not None:
                build_sublayer(layer, mask)
                mask = (*mask[:-1], layer.units)
        for layer in (self.input_norm, self.output_dense):
            if layer is not None:
                build_sublayer(layer, net)
        if self.output_norm is not None:
            build_sublayer(self.output_norm, (*net[:-1], self.output_size))

    def _first_dense(self, units: int, name: str, use_bias: bool = True) -> keras.layers.Layer:
        return keras.layers.Dense(
            units,
            activation="relu" if use_bias else None,
            use_bias=use_bias,
            kernel_initializer="he_uniform",
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def _shapes(self, input_shape: Any) -> tuple[Any, Any]:
        shapes = input_shapes(input_shape)
        if not 1 <= len(shapes) <= 2:
            raise ValueError(
                f"MaskBlock '{self.name}' takes one input, or the one to multiply and that of the mask. "
                f"Received shapes: {shapes}"
            )
        return shapes[0], shapes[-1]

    def _hidden_width(self, mask: Any) -> int:
        if self.reduction_factor is None:
            return int(self.aggregation_size or 0)
        width = int(self.reduction_factor * last_dim(mask, self))
        if width < 1:
            raise ValueError(
                f"MaskBlock '{self.name}': reduction_factor={self.reduction_factor} leaves no hidden unit. "
                f"Received: a mask input of width {mask[-1]}"
            )
        return width

    def call(self, inputs: Any) -> tf.Tensor:
        """Multiplies.

        Args:
            inputs: `net` `[batch, dim]` and `m` `[batch, mask_dim]`, or one tensor for both.

        Returns:
            `[batch, output_size]`, or `[batch, dim]` without an `output_size`.

        Raises:
            ValueError: For more than two inputs, or a `reduction_factor` that leaves no hidden unit.
        """
        inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        net, hidden = inputs[0], inputs[-1]
        if self.projection is not None:
            hidden = self.projection(hidden)
        net = net if self.input_norm is None else self.input_norm(net)
        masked = net * self.mask_dense(self.aggregation(hidden))
        if self.output_dense is None or self.output_norm is None:
            return masked
        return tf.nn.relu(self.output_norm(self.output_dense(masked)))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        names = ("reduction_factor", "output_size", "aggregation_size", "input_layer_norm", "projection_dim")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
