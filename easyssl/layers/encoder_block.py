"""One transformer layer."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.activations import activation as activation_function
from easyssl.functional.activations import canonical_activation
from easyssl.functional.packing import Packing
from easyssl.layers.building import build_sublayer, check_positive, input_shapes, last_dim
from easyssl.layers.dice import Dice
from easyssl.layers.dropout import Dropout
from easyssl.layers.layer_norm import LayerNorm
from easyssl.layers.scaled_dense import scaled_dense
from easyssl.layers.self_attention import MultiHeadSelfAttention

_NORM_POSITIONS = ("post", "pre")


@keras.utils.register_keras_serializable(package="easyssl")
class EncoderBlock(keras.layers.Layer):
    """Self-attention and a feed-forward network, each with dropout, residual and layer normalisation.

    With `ffn(h) = dense(activation(dense(h)))` the block computes

    - "post": `h = LN(x + drop(attention(x)))`, `y = LN(h + drop(ffn(h)))`, or
    - "pre": `h = x + drop(attention(LN(x)))`, `y = h + drop(ffn(LN(h)))`, where what follows the last block
      has to normalise.

    Normalisation runs in float32, where a very small epsilon still exists. The mask is passed on.

    Args:
        num_heads: Number of attention heads; divides the width of the input.
        intermediate_size: Width inside of the feed-forward network.
        activation: Activation inside of the feed-forward network. Defaults to "gelu".
        dropout: Dropout rate before each residual. Defaults to 0.1.
        attention_dropout: Dropout rate of the attention weights. Defaults to 0.1.
        initializer_range: Standard deviation of the kernels' truncated normal initializer. Defaults to 0.02.
        epsilon: Added to the variance in the normalisation. Defaults to 1e-12.
        causal: Whether steps attend to themselves and earlier steps only. Defaults to False.
        norm_position: "post" or "pre". Defaults to "post".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a size that is not positive, an unknown activation or `norm_position`, or at build if
            the heads do not divide the width.

    Example:
        >>> block = EncoderBlock(num_heads=2, intermediate_size=16)
        >>> block(tf.zeros([3, 5, 8]), mask=tf.sequence_mask([5, 2, 0], 5)).shape
        TensorShape([3, 5, 8])

    References:
        Vaswani et al., "Attention is all you need", arXiv 1706.03762.
        Xiong et al., "On layer normalization in the transformer architecture", arXiv 2002.04745.
    """

    def __init__(
        self,
        num_heads: int,
        intermediate_size: int,
        activation: str = "gelu",
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        initializer_range: float = 0.02,
        epsilon: float = 1e-12,
        causal: bool = False,
        norm_position: Literal["post", "pre"] = "post",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.intermediate_size = intermediate_size
        self.activation = canonical_activation(activation)
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range
        self.epsilon = epsilon
        self.causal = causal
        self.norm_position = norm_position
        self.supports_masking = True
        check_positive("EncoderBlock", intermediate_size=intermediate_size)
        if norm_position not in _NORM_POSITIONS:
            raise ValueError(
                f"EncoderBlock: unknown norm_position '{norm_position}'"
                f"{nearest(norm_position, _NORM_POSITIONS)}"
            )
        policy = self.dtype_policy
        self.attention = MultiHeadSelfAttention(
            num_heads, attention_dropout, initializer_range, causal, dtype=policy, name="attention"
        )
        self.attention_residual = self._residual("attention_residual")
        self.intermediate = self._dense(intermediate_size, "intermediate")
        self.dice = Dice(dtype=policy, name="dice") if self.activation == "dice" else None
        self.output_residual = self._residual("output_residual")

    def _residual(self, name: str) -> _Residual:
        pre = self.norm_position == "pre"
        return _Residual(self.dropout, self.epsilon, pre, dtype=self.dtype_policy, name=name)

    def _dense(self, units: int, name: str) -> Any:
        return keras.layers.Dense(
            units,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=self.initializer_range),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        (shape,) = input_shapes(input_shape)
        inner = (*shape[:-1], self.intermediate_size)
        self.output_dense = self._dense(last_dim(shape, self), "output")
        for layer in (self.attention, self.attention_residual, self.intermediate, self.output_residual):
            build_sublayer(layer, shape)
        build_sublayer(self.output_dense, inner)
        if self.dice is not None:
            build_sublayer(self.dice, inner)
        super().build(input_shape)

    def call(
        self,
        inputs: tf.Tensor,
        mask: tf.Tensor | None = None,
        training: bool | None = None,
        packing: Packing | None = None,
        queries: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Encodes.

        Args:
            inputs: `[batch, seq_len, dim]`, or the tokens `[tokens, dim]` of a packing.
            mask: bool `[batch, seq_len]`, which steps are valid. Defaults to None, which is all.
            training: Whether to drop. Defaults to None.
            packing: Where the tokens are. Defaults to None.
            queries: `[batch, dim]`, the only step of each row that is encoded, the last one if the block is
                causal. Defaults to None, which is all.

        Returns:
            A tensor like the inputs, or like the queries; invalid steps hold values that no valid step
            depends on.
        """
        before = self.attention_residual.before
        attended = self.attention(
            before(inputs),
            mask=mask,
            training=training,
            packing=packing,
            queries=None if queries is None else before(queries),
            factor=self.attention_residual.dropout.factor(training),
        )
        inputs = inputs if queries is None else queries
        hidden = self.attention_residual(inputs, attended, training=training)
        inner = self.intermediate(self.output_residual.before(hidden))
        if self.dice is None:
            inner = activation_function(self.activation)(inner)
        else:
            inner = self.dice(inner, mask=_valid(mask, packing, queries), training=training)
        update = scaled_dense(self.output_dense, inner, self.output_residual.dropout.factor(training))
        return self.output_residual(hidden, update, training=training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_size": self.intermediate_size,
            "activation": self.activation,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "initializer_range": self.initializer_range,
            "epsilon": self.epsilon,
            "causal": self.causal,
            "norm_position": self.norm_position,
        }


def _valid(mask: tf.Tensor | None, packing: Packing | None, queries: tf.Tensor | None) -> tf.Tensor | None:
    """Returns which of the encoded steps are valid."""
    if packing is not None:
        mask = packing.mask
        if queries is None:
            return tf.gather_nd(mask, packing.coordinates)
    return mask if mask is None or queries is None else tf.reduce_any(mask, axis=1)


class _Residual(keras.layers.Layer):
    """`LN(x + drop(update))`; or, if `pre`, `x + drop(update)` with an update computed from `before(x)`.

    The update comes multiplied by the dropout's factor.
    """

    def __init__(self, dropout: float, epsilon: float, pre: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.pre = pre
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")
        self.norm = LayerNorm(epsilon, dtype=self.dtype_policy, name="norm")

    def build(self, input_shape: Any) -> None:
        (shape,) = input_shapes(input_shape)
        build_sublayer(self.dropout, shape)
        build_sublayer(self.norm, shape)
        super().build(input_shape)

    def before(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns what the update is computed from."""
        return self.norm(inputs) if self.pre else inputs

    def call(self, inputs: tf.Tensor, update: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        update = self.dropout(update, training=training, scaled=True)
        total = tf.cast(inputs, tf.float32) + tf.cast(update, tf.float32)
        return tf.cast(total if self.pre else self.norm(total), inputs.dtype)
