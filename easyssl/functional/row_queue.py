"""A queue of the rows of recent batches, as a function of its content."""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.replicas import gather_rows


def push_rows(queue: tf.Tensor, rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Puts the rows of a batch in front of a queue, and drops as many at its end.

    Under a distribution strategy the rows of all replicas are put in front, so that the queue stays the same
    on all of them.

    Args:
        queue: float32 `[size, ...]`, the newest row first.
        rows: `[batch, ...]`; those that are not finite are left out. No gradient flows.
        weights: `[batch]`; rows of weight 0 are left out.

    Returns:
        float32 `[size, ...]`. Of more rows than `size` the first ones are kept.

    Example:
        >>> queue, rows = tf.constant([[1.0], [2.0], [3.0]]), tf.constant([[7.0], [8.0]])
        >>> push_rows(queue, rows, tf.constant([0.0, 1.0])).numpy().tolist()
        [[8.0], [1.0], [2.0]]
    """
    rows = gather_rows(tf.cast(tf.stop_gradient(rows), tf.float32))
    finite = tf.reduce_all(tf.math.is_finite(rows), axis=list(range(1, rows.shape.rank)))
    kept = tf.cast((gather_rows(weights) > 0.0) & finite, tf.int32)
    order = tf.argsort(kept, direction="DESCENDING", stable=True)
    size, number, new = tf.shape(queue)[0], tf.shape(order)[0], tf.reduce_sum(kept)
    slots = tf.range(size)
    chosen = tf.gather(order, tf.minimum(slots, number - 1))
    source = tf.where(slots < new, chosen, number + slots - new)
    return tf.gather(tf.concat([rows, queue], axis=0), tf.minimum(source, number + size - 1))
