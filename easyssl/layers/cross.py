"""The cross layer of Deep & Cross Network."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.activations import activation, canonical_activation
from easyssl.layers.building import (
    build_sublayer,
    check_positive,
    fit_together,
    get_initializer,
    input_shapes,
    last_dim,
)
from easyssl.registry import register


@register("Cross")
class Cross(keras.layers.Layer):
    """Multiplies the first layer's input with a dense layer of the current one, and adds the latter.

    `y = x0 * (act(W x + b) + diag_scale * x) + x`, of the width of `x`. With `projection_dim` W is `U V` of
    that rank. A deep network of them is a stack in which every layer gets the same `x0`: a `recurrent` layer
    with the input `[x, x]` and `fixed_input_index: 0`.

    Values and parameters are those of `tensorflow_recommenders.layers.dcn.Cross`, which the tests compare it
    with. That class cannot stand in for this one: it is a layer of tf_keras only.

    A model's `l2_regularization` does not reach the kernel, only an own `kernel_regularizer` does.

    Args:
        projection_dim: Rank of W; None for a full matrix. Defaults to None.
        diag_scale: Added to the diagonal of W, at least 0. Defaults to 0.0.
        use_bias: Whether there is b. Defaults to True.
        preactivation: Activation of the dense layer, before the product; None for none. Defaults to None.
        kernel_initializer: Keras initializer of W, or of U and V. Defaults to "truncated_normal".
        bias_initializer: Keras initializer of b. Defaults to "zeros".
        kernel_regularizer: Keras regularizer of W, or of U and V. Defaults to None.
        bias_regularizer: Keras regularizer of b. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a `projection_dim` that is not positive, a negative `diag_scale`, or an unknown
            activation.

    Example:
        >>> layer = Cross(kernel_initializer="ones")
        >>> x0, x = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]])
        >>> layer([x0, x]).numpy().tolist()  # 1 * (3 + 4) + 3, 2 * (3 + 4) + 4
        [[10.0, 18.0]]

    References:
        Wang et al., "DCN V2: improved deep & cross network and practical lessons for web-scale learning to
        rank systems", arXiv 2008.13535.
    """

    l2_of_model: ClassVar[bool] = False

    def __init__(
        self,
        projection_dim: int | None = None,
        diag_scale: float = 0.0,
        use_bias: bool = True,
        preactivation: str | None = None,
        kernel_initializer: Any = "truncated_normal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.projection_dim = projection_dim
        self.diag_scale = diag_scale
        self.use_bias = use_bias
        self.preactivation = canonical_activation(preactivation)
        self.kernel_initializer = get_initializer("Cross", kernel_initializer)
        self.bias_initializer = get_initializer("Cross", bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.supports_masking = True
        self.activation = activation(self.preactivation)
        if projection_dim is not None:
            check_positive("Cross", projection_dim=projection_dim)
        if diag_scale < 0:
            raise ValueError(f"Cross: `diag_scale` must not be negative. Received: diag_scale={diag_scale}")

    def build(self, input_shape: Any) -> None:
        """Creates W, or U and V, and b."""
        shapes = input_shapes(input_shape)
        width = last_dim(shapes[-1], self)
        if len(shapes) > 2 or not fit_together(*(shape[-1] for shape in shapes)):
            raise ValueError(
                f"Cross '{self.name}' takes one input, or two of one width. Received shapes: {shapes}"
            )
        self.projection = None
        if self.projection_dim is not None:
            self.projection = self._dense(self.projection_dim, "projection", use_bias=False)
            build_sublayer(self.projection, shapes[-1])
        self.dense = self._dense(width, "dense", use_bias=self.use_bias)
        build_sublayer(self.dense, (*shapes[-1][:-1], self.projection_dim or width))
        super().build(input_shape)

    def _dense(self, units: int, name: str, use_bias: bool) -> keras.layers.Layer:
        # U and V must not start from the same random numbers, which one initializer object would give them.
        initializer = keras.initializers.serialize(self.kernel_initializer)
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=keras.initializers.deserialize(initializer),
            bias_initializer=self.bias_initializer,
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs: Any) -> tf.Tensor:
        """Crosses.

        Args:
            inputs: `x0` and `x`, each `[batch, dim]`, or one tensor for both.

        Returns:
            `[batch, dim]`.

        Raises:
            ValueError: For more than two inputs, or two of different widths.
        """
        inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        first, x = inputs[0], inputs[-1]
        factor = self.activation(self.dense(x if self.projection is None else self.projection(x)))
        if self.diag_scale:
            factor += self.diag_scale * x
        return first * factor + x

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizers = {
            name: regularizer and keras.regularizers.serialize(regularizer)
            for name, regularizer in (
                ("kernel_regularizer", self.kernel_regularizer),
                ("bias_regularizer", self.bias_regularizer),
            )
        }
        return {
            **super().get_config(),
            "projection_dim": self.projection_dim,
            "diag_scale": self.diag_scale,
            "use_bias": self.use_bias,
            "preactivation": self.preactivation,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            **regularizers,
        }
