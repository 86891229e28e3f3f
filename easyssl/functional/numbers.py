"""Numbers as vectors: waves, soft bins and digits."""

from __future__ import annotations

import math

import tensorflow as tf

_LARGEST = 2.0**31 - 128.0  # of the float32 numbers that fit into an int32


def waves(x: tf.Tensor, coefficients: tf.Tensor) -> tf.Tensor:
    """Returns `[sin(2 pi c x), cos(2 pi c x)]` in float32.

    Args:
        x: Numbers `[batch, num_features]`.
        coefficients: c, `[num_features, num_waves]`.

    Returns:
        float32 `[batch, num_features, 2 * num_waves]`: all sines, then all cosines.

    Example:
        >>> waves(tf.constant([[0.25]]), tf.constant([[1.0]])).numpy().round(4).tolist()
        [[[1.0, -0.0]]]

    References:
        Gorishniy et al., "On embeddings for numerical features in tabular deep learning", arXiv 2203.05556.
    """
    angle = 2.0 * math.pi * tf.cast(coefficients, tf.float32) * tf.cast(x, tf.float32)[:, :, None]
    return tf.concat([tf.sin(angle), tf.cos(angle)], axis=-1)


def soft_bins(
    x: tf.Tensor, slopes: tf.Tensor, mixing: tf.Tensor, keep: float, temperature: float
) -> tf.Tensor:
    """Returns how much each number belongs to each of its feature's bins, `softmax(u / temperature)`.

    `h = leaky_relu(w x)` with the slope 0.2, and `u = M h + keep * h`.

    Args:
        x: Numbers `[batch, num_features]`.
        slopes: w, `[num_features, num_bins]`.
        mixing: M, `[num_features, num_bins, num_bins]`.
        keep: Weight of the skip connection.
        temperature: Divisor of the scores, positive.

    Returns:
        float32 `[batch, num_features, num_bins]`, of sum 1 over the last axis.

    References:
        Guo et al., "An embedding learning framework for numerical features in CTR prediction", arXiv
        2012.08986, equations 6 to 8.
    """
    slopes, mixing = tf.cast(slopes, tf.float32), tf.cast(mixing, tf.float32)
    hidden = tf.nn.leaky_relu(slopes * tf.cast(x, tf.float32)[:, :, None], alpha=0.2)
    scores = tf.einsum("nkj,bnj->bnk", mixing, hidden) + keep * hidden
    return tf.nn.softmax(scores / temperature, axis=-1)


def num_digits(base: int) -> int:
    """Returns how many digits the largest number of 32 bits has in a base.

    Example:
        >>> num_digits(2), num_digits(10)
        (32, 10)
    """
    count, rest = 0, 2**32 - 1
    while rest:
        count, rest = count + 1, rest // base
    return count


def whole_numbers(x: tf.Tensor, multiplier: float) -> tf.Tensor:
    """Returns `x * multiplier` cut to whole numbers, as the 32 bits of an int32 read without sign.

    The cut is towards 0. A negative number -k is 2^32 - k, as in two's complement, so that it has digits of
    its own. Numbers beyond the range of an int32 are the nearest in it, and NaN is 0.

    Args:
        x: Numbers of any shape.
        multiplier: Their factor.

    Returns:
        int64, the shape of `x`, in [0, 2^32).

    Example:
        >>> whole_numbers(tf.constant([1.29, -1.0]), 10.0).numpy().tolist()
        [12, 4294967286]
    """
    scaled = tf.cast(x, tf.float32) * multiplier
    scaled = tf.where(tf.math.is_nan(scaled), tf.zeros([], tf.float32), scaled)
    whole = tf.cast(tf.clip_by_value(scaled, -(2.0**31), _LARGEST), tf.int64)
    return tf.where(whole < 0, whole + 2**32, whole)


def digits(numbers: tf.Tensor, base: int) -> tf.Tensor:
    """Returns the digits of whole numbers, the lowest first, with zeros up to the length of the largest one.

    Args:
        numbers: int64 of any shape, in [0, 2^32).
        base: At least 2.

    Returns:
        int64, the shape of `numbers` with one more axis of `num_digits(base)`.

    Example:
        >>> digits(tf.constant([130], tf.int64), 100).numpy().tolist()
        [[30, 1, 0, 0, 0]]
    """
    powers = tf.constant([base**position for position in range(num_digits(base))], tf.int64)
    return (numbers[..., None] // powers) % base
