"""How the losses of rows, pairs and sessions become one number."""

from __future__ import annotations

import tensorflow as tf


def mean_of_nonzero(losses: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Returns `sum(w * l) / count(w != 0)`, the weighted mean that configs of this format mean.

    Doubling all weights doubles the loss, unlike with a division by the sum of weights.

    Args:
        losses: `[batch]`.
        weights: `[batch]`, or `None` for ones.

    Returns:
        float32 scalar; 0 if no weight differs from 0.

    Example:
        >>> float(mean_of_nonzero(tf.constant([1.0, 3.0, 5.0]), tf.constant([2.0, 1.0, 0.0])))
        2.5
    """
    losses = tf.cast(losses, tf.float32)
    weights = tf.ones_like(losses) if weights is None else tf.cast(tf.reshape(weights, [-1]), tf.float32)
    counts = weights != 0.0
    total = tf.reduce_sum(tf.where(counts, losses, 0.0) * weights)
    return total / tf.maximum(tf.reduce_sum(tf.cast(counts, tf.float32)), 1.0)


def flat(x: tf.Tensor) -> tf.Tensor:
    """Returns float32 `[n]` of any shape with n entries."""
    return tf.reshape(tf.cast(x, tf.float32), [-1])
