"""From several embeddings to one."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras


def combine(
    rows: tf.Tensor, present: tf.Tensor, combiner: str, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Pools the embeddings of a multi-valued cell.

    With weights w and embeddings e: `sum` is sum(w e), `mean` is sum(w e) / sum(w), `sqrtn` is
    sum(w e) / sqrt(sum(w^2)). For mean and sqrtn, entries whose weight is not positive are left out.

    Args:
        rows: `[..., n, dim]`, zero where absent.
        present: Bool `[..., n]`.
        combiner: `"sum"`, `"mean"` or `"sqrtn"`.
        weights: `[..., n]`, or None for ones.

    Returns:
        `[..., dim]`; zeros where nothing is present.

    Raises:
        ValueError: If the combiner is another one.
    """
    weights = tf.cast(present, rows.dtype) if weights is None else tf.cast(weights, rows.dtype)
    weights = _effective(weights, combiner)
    total = tf.reduce_sum(rows * weights[..., tf.newaxis], axis=-2)
    return _normalize(total, weights, combiner)


def project(values: tf.Tensor, rows: tf.Tensor, combiner: str) -> tf.Tensor:
    """Embeds numbers: `combine` of all rows with the numbers as weights.

    Args:
        values: `[batch, n]`.
        rows: `[n, dim]`, one row per number.
        combiner: `"sum"`, `"mean"` or `"sqrtn"`.

    Returns:
        `[batch, dim]`.

    Raises:
        ValueError: If the combiner is another one.
    """
    weights = _effective(values, combiner)
    return _normalize(tf.matmul(weights, rows), weights, combiner)


def _effective(weights: tf.Tensor, combiner: str) -> tf.Tensor:
    if combiner not in ("sum", "mean", "sqrtn"):
        raise ValueError(f"`combiner` must be 'sum', 'mean' or 'sqrtn'. Received: combiner='{combiner}'")
    return weights if combiner == "sum" else tf.nn.relu(weights)


def _normalize(total: tf.Tensor, weights: tf.Tensor, combiner: str) -> tf.Tensor:
    if combiner == "sum":
        return total
    if combiner == "mean":
        return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=-1, keepdims=True))
    square = tf.reduce_sum(tf.square(weights), axis=-1, keepdims=True)
    # Where nothing is present, 1 keeps the root and its gradient finite.
    return total / tf.sqrt(tf.where(square > 0, square, tf.ones_like(square)))


@keras.utils.register_keras_serializable(package="easyssl")
class AttentionPooling(keras.layers.Layer):
    r"""Pools a sequence with learned weights.

    The weight of step t is the softmax over the valid steps of `w . x_t`, with one learned vector w. (A bias
    would cancel in the softmax.) The softmax runs in float32 under every dtype policy.

    Args:
        kernel_regularizer: Keras regularizer of w, or None.

    Call arguments:
        inputs: Pair of the sequence `[batch, seq_len, dim]` and its lengths, integer `[batch]`.
        training: Not read; what pools in another way may.

    Returns:
        `[batch, dim]`; zeros for a row of length 0.

    Example:
        >>> pooled = AttentionPooling()((tf.ones([2, 3, 4]), tf.constant([3, 0])))
        >>> pooled.shape
        TensorShape([2, 4])
    """

    def __init__(self, kernel_regularizer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Any) -> None:
        """Creates w."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(int(input_shape[0][-1]),),
            initializer=keras.initializers.RandomUniform(-0.05, 0.05),
            regularizer=self.kernel_regularizer,
        )
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Pools."""
        sequence, lengths = inputs
        valid = tf.sequence_mask(tf.cast(lengths, tf.int32), tf.shape(sequence)[1])
        kernel = tf.convert_to_tensor(self.kernel)
        scores = tf.cast(tf.linalg.matvec(sequence, tf.cast(kernel, sequence.dtype)), tf.float32)
        scores = tf.nn.softmax(tf.where(valid, scores, -1e30))
        weights = tf.where(valid, scores, tf.zeros_like(scores))
        return tf.einsum("bt,btd->bd", tf.cast(weights, sequence.dtype), sequence)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Drops the steps."""
        return (input_shape[0][0], input_shape[0][-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        regularizer = keras.regularizers.serialize(self.kernel_regularizer)
        return {**super().get_config(), "kernel_regularizer": regularizer}


@keras.utils.register_keras_serializable(package="easyssl")
class SumPooling(keras.layers.Layer):
    """Pools a sequence to the sum of its steps, as a WIDE group does, where each id has a weight of its own.

    Args:
        kernel_regularizer: Not used; there is no kernel.

    Call arguments:
        inputs: Pair of the sequence `[batch, seq_len, dim]` and its lengths, integer `[batch]`.
        training: Not read.

    Returns:
        `[batch, dim]`; zeros for a row of length 0.

    Example:
        >>> SumPooling()((tf.ones([1, 3, 2]), tf.constant([2]))).numpy().tolist()
        [[2.0, 2.0]]
    """

    def __init__(self, kernel_regularizer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Pools."""
        sequence, lengths = inputs
        valid = tf.sequence_mask(tf.cast(lengths, tf.int32), tf.shape(sequence)[1])
        return tf.reduce_sum(tf.where(valid[..., tf.newaxis], sequence, tf.zeros([], sequence.dtype)), axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Drops the steps."""
        return (input_shape[0][0], input_shape[0][-1])
