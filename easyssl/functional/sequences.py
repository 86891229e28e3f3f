"""Right-padded sequences: keeping the last steps, appending one, turning around, and reading out."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.functional.masking import length_mask, select_position

READOUTS = ("last", "mean", "sequence")


def last_steps(sequence: tf.Tensor, lengths: tf.Tensor, limit: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Keeps the last valid steps of each row.

    Args:
        sequence: `[batch, seq_len, ...]`.
        lengths: int32 `[batch]`, from 0 to `seq_len`.
        limit: How many steps are kept at most, at least 1.

    Returns:
        The kept steps, moved to the front, `[batch, min(seq_len, limit), ...]`, and their number, int32
        `[batch]`. Gradients reach the kept steps only, and need no scatter.

    Example:
        >>> x, lengths = last_steps(tf.constant([[1, 2, 3], [4, 0, 0]]), tf.constant([3, 1]), 2)
        >>> x.numpy().tolist(), lengths.numpy().tolist()
        ([[2, 3], [4, 0]], [2, 1])
    """
    kept = tf.minimum(lengths, limit)
    if sequence.shape[1] is not None and sequence.shape[1] <= limit:
        return sequence, kept
    first = (lengths - kept)[:, None]
    count = tf.shape(sequence)[1]
    size = tf.minimum(count, limit)

    @tf.custom_gradient
    def moved(x: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            target = tf.range(count)[None, :] - first
            inside = (target >= 0) & (target < size)
            spread = tf.gather(upstream, tf.clip_by_value(target, 0, size - 1), batch_dims=1)
            return tf.where(_like(inside, spread), spread, tf.zeros([], spread.dtype))

        return tf.gather(x, first + tf.range(size)[None, :], batch_dims=1), gradient

    return moved(sequence), kept


def append_step(sequence: tf.Tensor, lengths: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Puts one more step behind the last valid one of each row.

    Args:
        sequence: `[batch, seq_len, ...]`.
        lengths: int32 `[batch]`, from 0 to `seq_len`.
        step: `[...]`, the same for all rows.

    Returns:
        `[batch, seq_len + 1, ...]`, where step `lengths[b]` of row b is the new one.

    Example:
        >>> append_step(tf.constant([[1, 2], [3, 0]]), tf.constant([2, 1]), tf.constant(9)).numpy().tolist()
        [[1, 2, 9], [3, 9, 0]]
    """
    padding = [[0, 0], [0, 1]] + [[0, 0]] * (sequence.shape.rank - 2)
    longer = tf.pad(sequence, padding)
    new = tf.range(tf.shape(longer)[1])[None, :] == lengths[:, None]
    return tf.where(_like(new, longer), step, longer)


def read_out(steps: tf.Tensor, lengths: tf.Tensor, output: str) -> tf.Tensor:
    """Returns what is read of the states of a sequence.

    Args:
        steps: `[batch, seq_len, dim]`; steps that are not valid do not matter, not even NaN.
        lengths: int32 `[batch]`, from 0 to `seq_len`.
        output: "last" for the last valid step, "mean" for the mean of the valid steps, computed in float32,
            or "sequence" for all steps.

    Returns:
        `[batch, dim]`, with zeros for rows of length 0; or `[batch, seq_len, dim]`, with zeros for steps
        that are not valid.

    Example:
        >>> steps = tf.constant([[[1.0], [3.0], [5.0]], [[7.0], [7.0], [7.0]]])
        >>> read_out(steps, tf.constant([2, 0]), "last")[:, 0].numpy().tolist()
        [3.0, 0.0]
        >>> read_out(steps, tf.constant([2, 0]), "mean")[:, 0].numpy().tolist()
        [2.0, 0.0]
    """
    if output == "last":
        return select_position(steps, lengths - 1)
    valid = length_mask(lengths, tf.shape(steps)[1])[:, :, None]
    steps = tf.where(valid, steps, tf.zeros([], steps.dtype))
    if output == "sequence":
        return steps
    total = tf.reduce_sum(tf.cast(steps, tf.float32), axis=1)
    count = tf.maximum(tf.cast(lengths, tf.float32), 1.0)
    return tf.cast(total / count[:, None], steps.dtype)


def reverse_steps(sequence: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Turns the valid steps of each row around; padding stays where it is.

    Args:
        sequence: `[batch, seq_len, ...]`.
        lengths: int32 `[batch]`, from 0 to `seq_len`.

    Returns:
        Tensor like `sequence`. The gradient is turned around, too, and needs no scatter.

    Example:
        >>> reverse_steps(tf.constant([[1, 2, 3], [4, 5, 6]]), tf.constant([3, 2])).numpy().tolist()
        [[3, 2, 1], [5, 4, 6]]
    """
    steps = tf.range(tf.shape(sequence)[1])[None, :]
    source = tf.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)

    @tf.custom_gradient
    def turned(x: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.gather(upstream, source, batch_dims=1)

        return tf.gather(x, source, batch_dims=1), gradient

    return turned(sequence)


def _like(mask: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Gives a mask `[batch, seq_len]` the rank of `x`."""
    return tf.reshape(mask, tf.concat([tf.shape(mask), [1] * (x.shape.rank - 2)], axis=0))
