"""Masks of right-padded sequences, and reductions that respect them.

A mask always comes from lengths, never from values that happen to be zero. A row without a valid step gives
zeros, so that it can neither contribute nor produce NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from easyssl.errors import nearest
from easyssl.functional.replicas import replica_sum

# Finite and large enough that exp(x - max) is 0; -inf would give NaN in a row without a valid entry.
EXCLUDED = -1e30


def length_mask(lengths: tf.Tensor, max_length: int | tf.Tensor) -> tf.Tensor:
    """Returns which steps are valid.

    Args:
        lengths: int `[batch]`; values below 0 count as 0, values above `max_length` as `max_length`.
        max_length: Padded length.

    Returns:
        bool `[batch, max_length]`.

    Example:
        >>> length_mask(tf.constant([2, 0]), 3).numpy().tolist()
        [[True, True, False], [False, False, False]]
    """
    return tf.sequence_mask(lengths, max_length)


def masked_softmax(logits: tf.Tensor, mask: tf.Tensor | None, axis: int = -1) -> tf.Tensor:
    """Softmax over the valid entries; zero elsewhere, and all zero where nothing is valid.

    Args:
        logits: Scores of any floating dtype; the computation is in float32.
        mask: bool, broadcastable to `logits`; `None` = everything is valid.
        axis: The axis that sums to one.

    Returns:
        Tensor like `logits`, in its dtype.

    Example:
        >>> masked_softmax(tf.constant([[1.0, 1.0, 9.0], [1.0, 2.0, 3.0]]),
        ...                tf.constant([[True, True, False], [False, False, False]])).numpy().tolist()
        [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    scores = tf.cast(logits, tf.float32)
    if mask is None:
        return tf.cast(tf.nn.softmax(scores, axis=axis), logits.dtype)
    scores = tf.where(mask, scores, EXCLUDED)
    weights = tf.where(mask, tf.nn.softmax(scores, axis=axis), 0.0)
    return tf.cast(weights, logits.dtype)


def select_position(sequence: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Picks one step of every row.

    Args:
        sequence: `[batch, seq_len, dim]`.
        position: int `[batch]`; a position outside of the sequence, such as -1, selects nothing.

    Returns:
        `[batch, dim]`; zeros where nothing is selected.

    Example:
        >>> steps = tf.constant([[[1.0], [2.0]], [[3.0], [4.0]]])
        >>> select_position(steps, tf.constant([1, -1])).numpy().tolist()
        [[2.0], [0.0]]
    """
    steps = tf.range(tf.shape(sequence)[1], dtype=position.dtype)
    chosen = steps[None, :] == position[:, None]
    # A sum instead of a gather: it has no undefined index, and its gradient needs no scatter.
    return tf.reduce_sum(tf.where(chosen[:, :, None], sequence, tf.zeros([], sequence.dtype)), axis=1)


def weighted_mean(
    values: tf.Tensor, weights: tf.Tensor | None = None, *, cross_replica: bool = False
) -> tf.Tensor:
    """Returns `sum(w * v) / max(sum(w), 1)` in float32.

    Args:
        values: `[batch]`.
        weights: `[batch]` or `None` for ones. Where a weight is 0 the value does not matter, not even NaN.
        cross_replica: Whether both sums are over the rows of all replicas; see `weighted_sum`. Defaults to
            False.

    Returns:
        float32 scalar; 0 for an empty batch.

    Example:
        >>> float(weighted_mean(tf.constant([1.0, 2.0, float("nan")]), tf.constant([1.0, 1.0, 0.0])))
        1.5
    """
    values = tf.cast(values, tf.float32)
    weights = tf.ones_like(values) if weights is None else tf.cast(weights, tf.float32)
    count = tf.reduce_sum(weights)
    if cross_replica:
        count = replica_sum(count)
    return weighted_sum(values, weights, cross_replica=cross_replica) / tf.maximum(count, 1.0)


def weighted_sum(
    values: tf.Tensor, weights: tf.Tensor | None = None, *, cross_replica: bool = False
) -> tf.Tensor:
    """Returns `sum(w * v)` in float32.

    Args:
        values: `[batch]`.
        weights: `[batch]` or `None` for ones. Where a weight is 0 the value does not matter, not even NaN.
        cross_replica: Whether the sum is over the rows of all replicas of a distribution strategy, and the
            same on all of them. If their factors in the loss of a step add up to 1, so does the gradient to
            that of the sum, however rows are spread. Defaults to False.

    Returns:
        float32 scalar; 0 for an empty batch.

    Example:
        >>> float(weighted_sum(tf.constant([1.0, 2.0, float("nan")]), tf.constant([1.0, 0.5, 0.0])))
        2.0
    """
    values = tf.cast(values, tf.float32)
    weights = tf.ones_like(values) if weights is None else tf.cast(weights, tf.float32)
    total = tf.reduce_sum(tf.where(weights == 0.0, 0.0, values) * weights)
    return replica_sum(total) if cross_replica else total


_REDUCTIONS: dict[str, Callable[..., tf.Tensor]] = {"mean": weighted_mean, "sum": weighted_sum}


def reduced(
    losses: tf.Tensor,
    weights: tf.Tensor | None = None,
    reduction: str = "mean",
    *,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Returns `weighted_mean` or `weighted_sum` of losses, by its name.

    Args:
        losses: `[batch]`, or of any shape.
        weights: Of the same shape, or `None` for ones. Defaults to None.
        reduction: "mean" or "sum". Defaults to "mean".
        cross_replica: Whether the losses of all replicas count. Defaults to False.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown reduction.

    Example:
        >>> float(reduced(tf.constant([1.0, 3.0]), reduction="sum"))
        4.0
    """
    check_reduction(reduction)
    return _REDUCTIONS[reduction](losses, weights, cross_replica=cross_replica)


def check_reduction(reduction: str) -> None:
    """Raises `ValueError` unless a reduction is "mean" or "sum".

    Args:
        reduction: What becomes of the losses of the rows.

    Raises:
        ValueError: With what was received.
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"unknown reduction '{reduction}'{nearest(reduction, _REDUCTIONS)}")
