"""The index of the largest entry, with one answer on every device."""

from __future__ import annotations

import tensorflow as tf


def first_argmax(values: tf.Tensor) -> tf.Tensor:
    """Returns where the last axis is largest; of equal entries the first.

    `tf.argmax` leaves open which of equal entries it takes.

    Args:
        values: `[..., n]`, with n > 0.

    Returns:
        int32 `[...]`; no gradient flows. Where the largest entry is NaN, n - 1.

    Example:
        >>> first_argmax(tf.constant([[1.0, 3.0, 3.0], [0.0, -1.0, -2.0]])).numpy().tolist()
        [1, 0]
    """
    values = tf.stop_gradient(values)
    size = tf.shape(values)[-1]
    largest = values >= tf.reduce_max(values, axis=-1, keepdims=True)
    return tf.reduce_min(tf.where(largest, tf.range(size), size - 1), axis=-1)
