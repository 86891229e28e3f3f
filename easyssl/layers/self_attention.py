"""Multi-head attention of a sequence to itself."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.heads import pack_heads, unpack_heads
from easyssl.functional.lanes import seat_rows, unseat_rows
from easyssl.functional.masking import EXCLUDED, masked_softmax
from easyssl.functional.packing import Packing, dense_packing, unpack
from easyssl.functional.windows import with_before
from easyssl.layers.building import build_sublayer, check_positive, input_shapes, last_dim
from easyssl.layers.dropout import Dropout
from easyssl.layers.scaled_dense import scaled_dense


@keras.utils.register_keras_serializable(package="easyssl")
class MultiHeadSelfAttention(keras.layers.Layer):
    """Lets each step gather from the valid steps of its row.

    The output is the projection of `softmax(Q K^T / sqrt(dim / num_heads)) V`, all heads side by side. The
    softmax runs in float32, and a row without a valid step gathers zeros. The mask is passed on.

    Args:
        num_heads: Number of heads; divides the width of the input.
        dropout: Dropout rate of the attention weights. Defaults to 0.0.
        initializer_range: Standard deviation of the kernels' truncated normal initializer. Defaults to 0.02.
        causal: Whether steps gather from themselves and earlier steps only. Defaults to False.
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
        self,
        num_heads: int,
        dropout: float = 0.0,
        initializer_range: float = 0.02,
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.causal = causal
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
        self,
        inputs: tf.Tensor,
        mask: tf.Tensor | None = None,
        training: bool | None = None,
        packing: Packing | None = None,
        queries: tf.Tensor | None = None,
        factor: float = 1.0,
    ) -> tf.Tensor:
        """Attends.

        Args:
            inputs: `[batch, seq_len, dim]`, or the tokens `[tokens, dim]` of a packing.
            mask: bool `[batch, seq_len]`, which steps may be attended to. Defaults to None, which is all. A
                packing has its own.
            training: Whether to drop attention weights. Defaults to None.
            packing: Where the tokens are. Defaults to None.
            queries: `[batch, dim]`, the only step of each row that gathers. It may gather from all valid
                steps, so if the attention is causal it has to be the last one. Defaults to None, which is
                all.
            factor: What the result is multiplied by. Defaults to 1.0.

        Returns:
            A tensor like the inputs, or like the queries.
        """
        if queries is not None:
            return self._gather_for_one(queries, inputs, mask, training, packing, factor)
        dim = inputs.shape[-1]
        projected = tf.matmul(tf.reshape(inputs, [-1, dim]), self._kernels(inputs.dtype))
        projected = tf.nn.bias_add(projected, self._biases(inputs.dtype))
        if packing is None:
            packing = dense_packing(tf.ones(tf.shape(inputs)[:2], tf.bool) if mask is None else mask)
        packing, excluded, before = _seen(packing, self.causal)
        query, key, value = unpack_heads(projected, packing, 3, self.num_heads)
        if before is not None:
            key, value = with_before(key, before), with_before(value, before)
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        weights = tf.cast(tf.nn.softmax(scores + excluded), inputs.dtype)
        weights = self.weights_dropout(weights, training=training)
        gathered = pack_heads(tf.matmul(weights, value), packing)
        return tf.reshape(scaled_dense(self.output_dense, gathered, factor), tf.shape(inputs))

    def _gather_for_one(
        self,
        query: tf.Tensor,
        inputs: tf.Tensor,
        mask: tf.Tensor | None,
        training: bool | None,
        packing: Packing | None,
        factor: float,
    ) -> tf.Tensor:
        """Attends from one step of each row, without a projection of every key and value.

        With `q W_k^T` in place of the keys and the gathered inputs in place of the values, the cost of a step
        of the sequence is `heads * dim` instead of `dim * dim`.
        """
        shape, dtype, dim = [-1, self.num_heads, self._head_dim], inputs.dtype, inputs.shape[-1]
        kernels = {name: self._split_kernel(name, dtype) for name in ("key", "value")}
        biases = {name: self._part(name, "bias", dtype) for name in ("key", "value")}
        query = tf.reshape(self.query_dense(query) * self._scale, shape)
        probes = tf.einsum("bhe,dhe->bhd", query, kernels["key"])
        constant = tf.reduce_sum(query * tf.reshape(biases["key"], shape[1:]), axis=-1, keepdims=True)
        if packing is None or packing.dense:
            if packing is not None:
                inputs, mask = unpack(inputs, packing), packing.mask
            scores = tf.matmul(probes, inputs, transpose_b=True) + constant
            weights = masked_softmax(scores, None if mask is None else mask[:, None, :])
            weights = self.weights_dropout(weights, training=training)
            gathered = tf.matmul(weights, inputs)
        else:
            lanes = packing.lanes
            inputs = unpack(inputs, lanes.packing)
            width, seats = tf.shape(inputs)[1], 2 * self.num_heads
            probes = tf.reshape(seat_rows(probes, lanes), [-1, seats, dim])
            scores = tf.matmul(probes, inputs, transpose_b=True)
            scores = tf.reshape(scores, [-1, 2, self.num_heads, width]) + seat_rows(constant, lanes)
            own = lanes.rows[:, :, None, None] == lanes.owner[:, None, None, :]
            weights = self.weights_dropout(masked_softmax(scores, own), training=training)
            gathered = tf.matmul(tf.reshape(weights, [-1, seats, width]), inputs)
            gathered = unseat_rows(tf.reshape(gathered, [-1, 2, self.num_heads, dim]), lanes)
            weights = unseat_rows(weights, lanes)
        total = tf.reduce_sum(weights, axis=-1, keepdims=True)
        gathered = tf.einsum("bhd,dhe->bhe", gathered, kernels["value"])
        gathered += total * tf.reshape(biases["value"], shape[1:])
        return scaled_dense(self.output_dense, tf.reshape(gathered, [-1, dim]), factor)

    @property
    def _head_dim(self) -> int:
        return self.query_dense.units // self.num_heads

    @property
    def _scale(self) -> float:
        return 1.0 / math.sqrt(self._head_dim)

    def _kernels(self, dtype: Any) -> tf.Tensor:
        """Query, key and value side by side; the query is scaled first, so that float16 holds the scores."""
        query, key, value = (self._part(name, "kernel", dtype) for name in ("query", "key", "value"))
        return tf.concat([query * self._scale, key, value], axis=1)

    def _biases(self, dtype: Any) -> tf.Tensor:
        query, key, value = (self._part(name, "bias", dtype) for name in ("query", "key", "value"))
        return tf.concat([query * self._scale, key, value], axis=0)

    def _split_kernel(self, name: str, dtype: Any) -> tf.Tensor:
        return tf.reshape(self._part(name, "kernel", dtype), [-1, self.num_heads, self._head_dim])

    def _part(self, name: str, weight: str, dtype: Any) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(getattr(getattr(self, f"{name}_dense"), weight)), dtype)

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
            "causal": self.causal,
        }


def _seen(packing: Packing, causal: bool) -> tuple[Packing, tf.Tensor, tf.Tensor | None]:
    """Returns where attention has the tokens, and what each of them sees.

    That is what to add to scores for what steps must not see, and how many slots before its own ones a chunk
    of tokens sees, if there are any.
    """
    if packing.dense:
        # Enough of a mask, because the steps of a row without a valid one are not read.
        excluded = tf.where(packing.mask, 0.0, EXCLUDED)[None, :, None, :]
        if causal:
            steps = tf.range(tf.shape(packing.mask)[1])
            excluded += tf.where(steps[:, None] >= steps[None, :], 0.0, EXCLUDED)
        return packing, excluded, None
    if causal:
        windows = packing.windows
        return windows.packing, windows.excluded[None], windows.before
    return packing.lanes.packing, packing.lanes.excluded[None], None
