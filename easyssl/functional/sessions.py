"""Softmax over the rows of each session of a batch, in time and memory proportional to the rows."""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.masking import EXCLUDED


def session_index(ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Numbers the sessions of a batch.

    Args:
        ids: int `[batch]`; rows of equal ids are a session.

    Returns:
        int32 `[batch]`, the number of each row's session from 0, and how many sessions there are, a float32
        scalar.

    Example:
        >>> index, count = session_index(tf.constant([7, 3, 7]))
        >>> index.numpy().tolist(), float(count)
        ([1, 0, 1], 2.0)
    """
    ids = tf.reshape(ids, [-1])
    order = tf.argsort(ids, stable=True)
    ordered = tf.gather(ids, order)
    starts = tf.concat([tf.ones_like(ordered[:1], tf.bool), ordered[1:] != ordered[:-1]], axis=0)
    # In float32, which has a kernel on GPUs.
    numbers = tf.cumsum(tf.cast(starts, tf.float32)) - 1.0
    index = tf.cast(tf.gather(numbers, tf.argsort(order)), tf.int32)
    return index, tf.reduce_sum(tf.cast(starts, tf.float32))


def session_logsumexp(values: tf.Tensor, index: tf.Tensor, counted: tf.Tensor | None = None) -> tf.Tensor:
    """Returns, for each row, the logsumexp over the rows of its session.

    Args:
        values: float32 `[batch]`.
        index: int32 `[batch]` from `session_index`.
        counted: bool `[batch]`, which rows are summed up. Defaults to None, which is all.

    Returns:
        float32 `[batch]`; where nothing is summed up, `EXCLUDED`.

    Example:
        >>> sums = session_logsumexp(tf.zeros([3]), tf.constant([0, 0, 1]))
        >>> [round(float(value), 4) for value in sums]  # log(2) and log(1)
        [0.6931, 0.6931, 0.0]
    """
    counted = tf.ones_like(values, tf.bool) if counted is None else counted
    rows = tf.shape(values)[0]
    shown = tf.where(counted, values, EXCLUDED)
    largest = tf.math.unsorted_segment_max(tf.stop_gradient(shown), index, rows)
    largest = tf.gather(largest, index)
    exponentials = tf.where(counted, tf.exp(tf.where(counted, values - largest, 0.0)), 0.0)
    sums = tf.gather(tf.math.unsorted_segment_sum(exponentials, index, rows), index)
    there = sums > 0.0
    return tf.where(there, tf.math.log(tf.where(there, sums, 1.0)) + largest, EXCLUDED)


def session_sum(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Returns, for each row, the sum over the rows of its session.

    Args:
        values: float32 `[batch]`.
        index: int32 `[batch]` from `session_index`.
    """
    return tf.gather(tf.math.unsorted_segment_sum(values, index, tf.shape(values)[0]), index)
