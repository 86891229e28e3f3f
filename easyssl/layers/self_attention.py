"""Multi-head attention of a sequence to itself."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.masking import masked_softmax
from easyssl.layers.building import build_sublayer, check_positive, input_shapes, last_dim
from easyssl.layers.dropout import Dropout


@keras.utils.register_keras_serializable(package="easyssl")
class MultiHeadSelfAttention(keras.layers.Layer):
    """Lets each step gather from the valid steps of its row.

    The output is the projection of `softmax(Q K^T / sqrt(dim / num_heads)) V`, all heads side by side. The
    softmax runs in float32, and a row without a valid step gathers zeros. The mask is passed on.

    Args:
        num_heads: Number of heads; divides the width of the input.
        dropout: Dropout rate of the attention weights. Defaults to 0.0.
        initializer_range: Standard deviation of the kernels' truncated normal initializer. Defaults to 0.02.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If `num_heads` is not positive, or at build if it does not divide the width.

    Example:
        >>> layer = MultiHeadSelfAttention(num_heads=2)
        >>> layer(tf.zeros([3, 5, 8]), mask=tf.sequence_mask([5, 2, 0], 5)).shape
        TensorShape([3, 5, 8])

    References:
        Vaswani et al., "Attention is all you need", arXiv 1706.03762.
    """

    def __init__(
        self, num_heads: int, dropout: float = 0.0, initializer_range: float = 0.02, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.supports_masking = True
        check_positive("MultiHeadSelfAttention", num_heads=num_heads)
        self.weights_dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape: Any) -> None:
        """Creates the four projections."""
        (shape,) = input_shapes(input_shape)
        dim = last_dim(shape, self)
        if dim % self.num_heads:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': the width must be a multiple of the number of heads. "
                f"Received: width={dim}, num_heads={self.num_heads}"
            )
        for name in ("query", "key", "value", "output"):
            dense = keras.layers.Dense(
                dim,
                kernel_initializer=keras.initializers.TruncatedNormal(stddev=self.initializer_range),
                dtype=self.dtype_policy,
                name=name,
            )
            setattr(self, f"{name}_dense", dense)
            build_sublayer(dense, shape)
        build_sublayer(self.weights_dropout, (shape[0], self.num_heads, shape[1], shape[1]))
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, mask: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Attends.

        Args:
            inputs: `[batch, seq_len, dim]`.
            mask: bool `[batch, seq_len]`, which steps may be attended to. Defaults to None, which is all.
            training: Whether to drop attention weights. Defaults to None.

        Returns:
            `[batch, seq_len, dim]`.
        """
        scale = 1.0 / math.sqrt(inputs.shape[-1] // self.num_heads)
        query = self._heads(
            self.query_dense(inputs) * scale
        )  # scaled first: the scores stay small in float16
        key = self._heads(self.key_dense(inputs))
        value = self._heads(self.value_dense(inputs))
        scores = tf.einsum("bqhd,bkhd->bhqk", query, key)
        weights = masked_softmax(scores, None if mask is None else mask[:, None, None, :])
        weights = self.weights_dropout(weights, training=training)
        gathered = tf.einsum("bhqk,bkhd->bqhd", weights, value)
        return self.output_dense(tf.reshape(gathered, tf.shape(inputs)))

    def _heads(self, x: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(x)
        return tf.reshape(x, [shape[0], shape[1], self.num_heads, x.shape[-1] // self.num_heads])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "initializer_range": self.initializer_range,
        }
