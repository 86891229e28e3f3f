"""Multi-head attention between two sequences."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.masking import masked_softmax
from easyssl.layers.attention_inputs import (
    attention_inputs,
    check_attention_inputs,
    only_valid,
    value_mask,
    visible_steps,
)
from easyssl.layers.building import (
    Shape,
    build_sublayer,
    check_positive,
    check_rate,
    fit_together,
    get_initializer,
)
from easyssl.layers.dropout import Dropout
from easyssl.registry import register


@register("MultiHeadAttention")
class MultiHeadAttention(keras.layers.Layer):
    """Lets each step of a query gather from the steps of a value, in several ways at once.

    Head h gathers `drop(softmax(Q_h K_h^T / sqrt(key_dim))) V_h` with `Q_h = W_qh query + b_qh`,
    `K_h = W_kh key + b_kh` and `V_h = W_vh value + b_vh`; a dense layer on all heads side by side gives the
    output.

    The last input may hold lengths: steps of value and key behind them do not count, and a row of length 0
    gives zeros. (EasyRec has no such input, and attends to padding.) A Keras mask of the value acts in the
    same way; that of the query is passed on. The softmax runs in float32 under every policy.

    A config's `MultiHeadAttention` is this one, not Keras's. For a sequence and itself without padding,
    `MultiHeadSelfAttention` and the encoders compute less.

    Args:
        num_heads: Number of heads.
        key_dim: Width of query and key in each head.
        value_dim: Width of the value in each head. Defaults to None, which is `key_dim`.
        dropout: Dropout rate of the weights. Defaults to 0.0.
        use_bias: Whether the dense layers have a bias. Defaults to True.
        return_attention_scores: Whether the weights are handed out, too. Defaults to False.
        use_causal_mask: Whether a step sees only itself and earlier ones. Defaults to False.
        output_shape: Width of the output. Defaults to None, which is that of the query.
        attention_axes: Axes that attention runs over. As inputs have one axis of steps, only [1] and None,
            which is the same, are there. Defaults to None.
        kernel_initializer: Keras name of the kernels' initializer. Defaults to "glorot_uniform".
        bias_initializer: Keras name of the biases' initializer. Defaults to "zeros".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a size that is not positive, a rate outside of [0, 1), other axes, or an unknown
            initializer.

    Example:
        >>> layer = MultiHeadAttention(num_heads=2, key_dim=4)
        >>> query, value, lengths = tf.zeros([3, 1, 6]), tf.zeros([3, 5, 8]), tf.constant([5, 2, 0])
        >>> layer([query, value, lengths]).shape
        TensorShape([3, 1, 6])

    References:
        Vaswani et al., "Attention is all you need", arXiv 1706.03762.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
        output_shape: int | None = None,
        attention_axes: list[int] | None = None,
        kernel_initializer: str = "glorot_uniform",
        bias_initializer: str = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.dropout = dropout
        self.use_bias = use_bias
        self.return_attention_scores = return_attention_scores
        self.use_causal_mask = use_causal_mask
        self.output_width = output_shape  # Keras has a property of the other name
        self.attention_axes = None if attention_axes is None else tuple(attention_axes)
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.supports_masking = True
        sizes = {"num_heads": num_heads, "key_dim": key_dim, "value_dim": value_dim}
        sizes["output_shape"] = output_shape
        check_positive("MultiHeadAttention", **{k: v for k, v in sizes.items() if v is not None})
        check_rate("MultiHeadAttention", "dropout", dropout)
        if self.attention_axes not in (None, (), (1,)):
            raise ValueError(
                "MultiHeadAttention: inputs are [batch, steps, dim], so attention runs over axis 1. "
                f"Received: attention_axes={list(self.attention_axes or ())}"
            )
        for initializer in (kernel_initializer, bias_initializer):
            get_initializer("MultiHeadAttention", initializer)
        self.weights_dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape: Any) -> None:
        """Creates the four dense layers."""
        query, value, key = check_attention_inputs(self, input_shape)
        if not fit_together(value[1], key[1]):
            raise ValueError(
                f"MultiHeadAttention '{self.name}': value and key have as many steps. Received shapes: "
                f"value {value}, key {key}"
            )
        gathered = self.num_heads * (self.value_dim or self.key_dim)
        self.query_dense = self._dense("query", self.num_heads * self.key_dim, query)
        self.key_dense = self._dense("key", self.num_heads * self.key_dim, key)
        self.value_dense = self._dense("value", gathered, value)
        self.output_dense = self._dense("output", self.output_width or query[2] or 0, (*query[:2], gathered))
        build_sublayer(self.weights_dropout, (query[0], self.num_heads, query[1], value[1]))
        super().build(input_shape)

    def _dense(self, name: str, units: int, shape: Shape) -> Any:
        dense = keras.layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=keras.initializers.get(self.kernel_initializer),
            bias_initializer=keras.initializers.get(self.bias_initializer),
            dtype=self.dtype_policy,
            name=name,
        )
        build_sublayer(dense, shape)
        return dense

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Attends.

        Args:
            inputs: A list of query `[batch, query_steps, query_dim]`, value `[batch, steps, value_dim]`, if
                wanted key `[batch, steps, key_dim]`, which is the value otherwise, and if wanted lengths
                `[batch]`.
            mask: Keras's masks of the inputs. Defaults to None.
            training: Whether to drop weights. Defaults to None.

        Returns:
            `[batch, query_steps, output_shape]`; with `return_attention_scores` a tuple of it and of the
            weights `[batch, num_heads, query_steps, steps]`.
        """
        query, value, key, lengths = attention_inputs(inputs)
        valid = value_mask(value, lengths, mask)
        value, key = only_valid(value, valid), only_valid(key, valid)
        visible = visible_steps(valid, self.use_causal_mask, query, value)
        # The query is scaled first, so that float16 holds the scores.
        heads = self._heads(self.query_dense(query) / math.sqrt(self.key_dim))
        scores = tf.matmul(heads, self._heads(self.key_dense(key)), transpose_b=True)
        weights = masked_softmax(scores, None if visible is None else visible[:, None])
        weights = self.weights_dropout(weights, training=training)
        gathered = tf.matmul(weights, self._heads(self.value_dense(value)))
        gathered = tf.transpose(gathered, [0, 2, 1, 3])
        shape = tf.concat([tf.shape(query)[:2], [self.num_heads * gathered.shape[3]]], axis=0)
        output = self.output_dense(tf.reshape(gathered, shape))
        if valid is not None:
            some = tf.reduce_any(valid, axis=1)[:, None, None]
            output = tf.where(some, output, tf.zeros([], output.dtype))
        return (output, weights) if self.return_attention_scores else output

    def _heads(self, x: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, num_heads, steps, width]` of `[batch, steps, num_heads * width]`."""
        width = x.shape[-1] // self.num_heads
        split = tf.reshape(x, tf.concat([tf.shape(x)[:2], [self.num_heads, width]], axis=0))
        return tf.transpose(split, [0, 2, 1, 3])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Returns the query's mask, for the output; there is none for the weights."""
        told = mask[0] if isinstance(mask, list | tuple) else None
        return [told, None] if told is not None and self.return_attention_scores else told

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = (
            "num_heads",
            "key_dim",
            "value_dim",
            "dropout",
            "use_bias",
            "return_attention_scores",
            "use_causal_mask",
            "kernel_initializer",
            "bias_initializer",
        )
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "output_shape": self.output_width,
            "attention_axes": None if self.attention_axes is None else list(self.attention_axes),
        }
