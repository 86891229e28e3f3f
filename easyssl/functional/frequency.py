"""How often ids come, estimated from the stream of batches in fixed memory.

Two arrays are kept for hashed ids: the step at which a bucket was seen last, and the average number of steps
between its appearances. The inverse of that gap is the probability that a batch holds the id.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_MIX = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
_STEP = 0x9E3779B97F4A7C15


def hash_buckets(ids: tf.Tensor, num_buckets: int, num_hashes: int = 1) -> tf.Tensor:
    """Hashes ids with several hash functions, the same in every process and on every device.

    Args:
        ids: Integers `[n]`.
        num_buckets: Number of buckets of each hash function.
        num_hashes: Number of hash functions. Defaults to 1.

    Returns:
        int64 `[num_hashes, n]` in [0, num_buckets).

    Example:
        >>> buckets = hash_buckets(tf.constant([7, 8, 7]), num_buckets=100, num_hashes=2)
        >>> bool(tf.reduce_all(buckets[:, 0] == buckets[:, 2])), buckets.shape
        (True, TensorShape([2, 3]))
    """
    # The finalizer of MurmurHash3; each hash function starts from another constant.
    starts = np.array([[(k * _STEP) % 2**64] for k in range(1, num_hashes + 1)], np.uint64)
    mixed = tf.bitcast(tf.cast(ids, tf.int64), tf.uint64)[None, :] + tf.constant(starts)
    shift = tf.constant(33, tf.uint64)
    for factor in _MIX:
        mixed = tf.bitwise.bitwise_xor(mixed, tf.bitwise.right_shift(mixed, shift))
        mixed *= tf.constant(factor, tf.uint64)
    return tf.cast(tf.bitwise.right_shift(mixed, shift), tf.int64) % num_buckets


def updated_gap(gap: tf.Tensor, last_step: tf.Tensor, step: tf.Tensor, rate: float) -> tf.Tensor:
    """Returns the average gap of buckets that are seen in a step.

    `B <- (1 - rate) * B + rate * (step - A)`, with the average gap B and the last step A. The first gap of a
    bucket, counted from step 0, is taken whole: averaged with a starting value it would stay biased towards
    that for about `1 / rate` appearances.

    Args:
        gap: B, float32 `[...]`.
        last_step: A, int64 `[...]`; 0 for a bucket that was never seen.
        step: The current step, from 1 on, an int64 scalar.
        rate: Weight of the newest gap, in (0, 1].

    Returns:
        float32 `[...]`.

    Example:
        >>> updated_gap(tf.constant([4.0, 0.0]), tf.constant([8, 0], tf.int64), tf.constant(10, tf.int64),
        ...             rate=0.5).numpy().tolist()
        [3.0, 10.0]

    References:
        Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys
        2019, algorithm 2.
    """
    newest = tf.cast(step - last_step, tf.float32)
    return tf.where(last_step > 0, (1.0 - rate) * gap + rate * newest, newest)


def log_probability(gaps: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Returns the log of the probability that a batch holds an id.

    Of several hash functions the largest gap counts: ids that share a bucket make its gap too small, never
    too large.

    Args:
        gaps: Average gaps, float32 `[num_hashes, n]`; 0 for a bucket that was never seen, which counts as
            seen once in the steps so far.
        step: Number of steps so far, an int64 scalar.

    Returns:
        float32 `[n]`, at most 0.

    Example:
        >>> step = tf.constant(50, tf.int64)
        >>> logs = log_probability(tf.constant([[4.0, 0.0], [2.0, 0.0]]), step)
        >>> [round(float(p), 3) for p in tf.exp(logs)]
        [0.25, 0.02]
    """
    gaps = tf.where(gaps > 0.0, gaps, tf.cast(step, tf.float32))
    return -tf.math.log(tf.maximum(tf.reduce_max(gaps, axis=0), 1.0))
