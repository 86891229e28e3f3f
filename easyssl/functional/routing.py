"""Dynamic routing: the steps of a sequence vote for interests, and each goes where others like it go.

Everything is computed in float32 for any input dtype.
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.masking import masked_softmax

_LARGEST_EXPONENT = 30
# Multipliers of a low-discrepancy sequence in two dimensions: powers of the inverse of the plastic number, in
# units of 2^-24.
_STEP, _INTEREST, _PERIOD = 12664746, 9560334, 1 << 24


def squash(vectors: tf.Tensor) -> tf.Tensor:
    """Shortens vectors to a length below 1: `|v|^2 / (1 + |v|^2) * v / |v|`.

    Args:
        vectors: `[..., dim]`.

    Returns:
        float32 `[..., dim]`; a vector of zeros stays so, with a finite gradient.

    Example:
        >>> [round(float(x), 4) for x in squash(tf.constant([3.0, 4.0]))]
        [0.5769, 0.7692]
    """
    vectors = tf.cast(vectors, tf.float32)
    square = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * (square / (1.0 + square) * tf.math.rsqrt(square + 1e-9))


def route(
    votes: tf.Tensor,
    valid: tf.Tensor,
    logits: tf.Tensor,
    *,
    num_iterations: int = 3,
    stop_gradient: bool = True,
    used: tf.Tensor | None = None,
) -> tf.Tensor:
    """Groups the votes of the steps of each row.

    With votes u_i of the steps and logits b_ik, each iteration computes `w_i = softmax_k(b_i)` for the valid
    steps, the interests `z_k = squash(sum_i w_ik u_i)` and, but for the last one, adds `u_i . z_k` to b_ik.

    Args:
        votes: `[batch, seq_len, dim]`, or one vote for each interest, `[batch, seq_len, num_interests, dim]`.
        valid: bool `[batch, seq_len]`.
        logits: Logits to begin with, `[batch or 1, seq_len, num_interests]`.
        num_iterations: Number of iterations, at least 1. Defaults to 3.
        stop_gradient: Whether only the last sum is differentiated, and the weights are taken as constants.
            Defaults to True.
        used: Which interests a row has, bool `[batch, num_interests]`. Defaults to None, which is all.

    Returns:
        float32 `[batch, num_interests, dim]`; zeros for interests that a row does not have, and for rows
        without a valid step.

    Example:
        >>> votes = tf.constant([[[4.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
        >>> logits = tf.constant([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
        >>> z = route(votes, tf.constant([[True, True, False]]), logits)
        >>> [[round(float(x), 2) for x in row] for row in z[0]]
        [[0.94, 0.0], [0.0, 0.94]]

    References:
        Sabour et al., "Dynamic routing between capsules", arXiv 1710.09829.
    """
    votes = tf.cast(votes, tf.float32)
    votes = tf.where(tf.reshape(valid, [*_shape(valid), *[1] * (votes.shape.rank - 2)]), votes, 0.0)
    constant = tf.stop_gradient(votes) if stop_gradient else votes
    each = "blkd" if votes.shape.rank == 4 else "bld"
    logits = tf.cast(logits, tf.float32) + tf.zeros([*_shape(valid), 1])
    mask = None if used is None else used[:, None, :]
    for iteration in range(num_iterations):
        last = iteration == num_iterations - 1
        weights = masked_softmax(logits, mask) * tf.cast(valid, tf.float32)[:, :, None]
        now = votes if last else constant
        interests = squash(tf.einsum(f"blk,{each}->bkd", weights, now))
        if not last:
            logits += tf.einsum(f"{each},bkd->blk", now, interests)
    return interests


def number_of_interests(lengths: tf.Tensor, most: int) -> tf.Tensor:
    """Returns how many interests a row of some length has: `max(1, min(most, floor(log2(length))))`.

    Args:
        lengths: int32 `[batch]`.
        most: The largest number.

    Returns:
        int32 `[batch]`.

    Example:
        >>> number_of_interests(tf.constant([0, 1, 3, 4, 8, 100]), 4).numpy().tolist()
        [1, 1, 1, 2, 3, 4]
    """
    powers = tf.constant([2**k for k in range(1, min(most, _LARGEST_EXPONENT) + 1)], tf.int32)
    reached = tf.reduce_sum(tf.cast(lengths[:, None] >= powers[None, :], tf.int32), axis=1)
    return tf.maximum(reached, 1)


def even_logits(steps: int | tf.Tensor, num_interests: int) -> tf.Tensor:
    """Spreads logits like standard normal numbers, without chance: quantiles of a low-discrepancy sequence.

    They tell interests apart where nothing may be drawn, as in a model that serves.

    Args:
        steps: Number of steps.
        num_interests: Number of interests.

    Returns:
        float32 `[steps, num_interests]`; the logits of a step do not depend on how many there are.

    Example:
        >>> logits = even_logits(500, 4)
        >>> bool(abs(tf.reduce_mean(logits)) < 0.01), bool(abs(tf.math.reduce_std(logits) - 1) < 0.01)
        (True, True)
    """
    rows, columns = tf.range(steps, dtype=tf.int64), tf.range(num_interests, dtype=tf.int64)
    # In whole numbers, so that every device agrees on where the sequence wraps around.
    place = (rows[:, None] * _STEP + columns[None, :] * _INTEREST) % _PERIOD
    return tf.math.ndtri((tf.cast(place, tf.float32) + 0.5) / _PERIOD)


def _shape(x: tf.Tensor) -> list[tf.Tensor]:
    return tf.unstack(tf.shape(x))
