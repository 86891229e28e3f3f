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


def hardest_mean(values: tf.Tensor, counts: tf.Tensor, ratio: float) -> tf.Tensor:
    """Returns the mean of the positive values among the `rint(n * ratio)` largest ones.

    The smallest value that still belongs to them is found bit by bit, which takes 31 passes over the values
    but no sorting. Equal values at that border share what is left of the places.

    Args:
        values: Any shape, not negative where they count.
        counts: bool, of the same shape: which values there are; n is their number.
        ratio: Share of them, in (0, 1].

    Returns:
        float32 scalar; 0 if none is positive.

    Example:
        >>> values, counts = tf.constant([1.0, 4.0, 3.0, 9.0]), tf.constant([True, True, True, False])
        >>> float(hardest_mean(values, counts, 0.7))  # 2 of 3
        3.5
    """
    values = tf.where(counts, tf.cast(values, tf.float32), 0.0)
    number = tf.round(tf.reduce_sum(tf.cast(counts, tf.float32)) * ratio)
    # The bits of numbers that are not negative are in the order of the numbers.
    bits = tf.bitcast(tf.stop_gradient(values), tf.int32)

    def step(i: tf.Tensor, border: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        higher = border + tf.bitwise.left_shift(tf.constant(1), i)
        enough = tf.reduce_sum(tf.cast(bits >= higher, tf.float32)) >= number
        return i - 1, tf.where(enough, higher, border)

    _, border = tf.while_loop(lambda i, _: i >= 0, step, (tf.constant(30), tf.constant(0)))
    above, equal = (tf.cast(mask & (bits > 0), tf.float32) for mask in (bits > border, bits == border))
    left = tf.math.divide_no_nan(number - tf.reduce_sum(above), tf.reduce_sum(equal))
    places = above + tf.clip_by_value(left, 0.0, 1.0) * equal
    return tf.math.divide_no_nan(tf.reduce_sum(places * values), tf.reduce_sum(places))


def smoothed(labels: tf.Tensor, share: float) -> tf.Tensor:
    """Returns `y * (1 - share) + share / 2`, float32 `[n]`."""
    return flat(labels) * (1.0 - share) + 0.5 * share
