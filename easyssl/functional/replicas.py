"""Sums and rows of all replicas of a distribution strategy; without several replicas, of the only one."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

# The `aggregation` of a weight whose new value is the same on all replicas anyway.
SAME_ON_REPLICAS = (
    "only_first_replica" if hasattr(keras, "ops") else tf.VariableAggregation.ONLY_FIRST_REPLICA
)


def replica_context() -> Any:
    """Returns TensorFlow's replica context where there are several replicas, else None."""
    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def num_replicas() -> int:
    """Returns how many replicas take part in the step."""
    context = replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def replica_sum(value: tf.Tensor) -> tf.Tensor:
    """Adds up a tensor over the replicas.

    Args:
        value: Tensor of one shape on all replicas.

    Returns:
        The sum, the same on all replicas; gradients are summed, too.

    Example:
        >>> float(replica_sum(tf.constant(3.0)))
        3.0
    """
    context = replica_context()
    return value if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def gather_rows(value: tf.Tensor) -> tf.Tensor:
    """Concatenates the rows of all replicas.

    Args:
        value: `[rows, ...]`; the number of rows may differ between replicas.

    Returns:
        `[rows of all replicas, ...]`, the same on all replicas. A row's gradient is the sum of what it gets
        on the replicas.

    Example:
        >>> gather_rows(tf.constant([[1.0], [2.0]])).shape
        TensorShape([2, 1])
    """
    context = replica_context()
    return value if context is None else context.all_gather(value, axis=0)


def first_row(rows: tf.Tensor) -> tf.Tensor:
    """Returns where the rows of this replica begin in what `gather_rows` gives.

    Args:
        rows: Number of rows of this replica, an int32 scalar.

    Returns:
        int32 scalar: how many rows the replicas before this one have.

    Example:
        >>> int(first_row(tf.constant(2)))
        0
    """
    context = replica_context()
    if context is None:
        return tf.constant(0)
    counts = context.all_gather(tf.reshape(rows, [1]), axis=0)
    before = tf.range(tf.size(counts)) < context.replica_id_in_sync_group
    return tf.reduce_sum(tf.where(before, counts, 0))


def replica_logsumexp(values: tf.Tensor) -> tf.Tensor:
    """Log of the sum of exponentials over the first axis and over the replicas.

    Args:
        values: `[rows, columns]`; the number of rows may differ between replicas.

    Returns:
        `[columns]`, the same on all replicas.

    Example:
        >>> [round(float(x), 4) for x in replica_logsumexp(tf.math.log([[1.0, 2.0], [3.0, 4.0]]))]
        [1.3863, 1.7918]
    """
    local = tf.reduce_logsumexp(values, axis=0)
    context = replica_context()
    # Gathered and not summed: there is no maximum over replicas that would keep the exponentials in range.
    return local if context is None else tf.reduce_logsumexp(context.all_gather(local[None], axis=0), axis=0)
