"""Drawing items as negatives: uniformly, by popularity, and outside of what a user has met.

Draws are functions of a key, as in `easyssl.functional.random`, and the same on every device.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from easyssl.functional.random import uniform

_LEAST_PROBABILITY = 1e-30


class ItemDistribution(NamedTuple):
    """Items with a probability each, laid out so that a draw takes two look-ups; see `item_distribution`.

    Attributes:
        keep: float32 `[items]`, the probability that a draw that lands on an item stays there.
        other: int32 `[items]`, the item it goes to otherwise.
        log_probabilities: float32 `[items]`, for the correction of `sampled_softmax`.
    """

    keep: np.ndarray
    other: np.ndarray
    log_probabilities: np.ndarray


def item_distribution(probabilities: Any) -> ItemDistribution:
    """Prepares draws with given probabilities, by Walker's alias method.

    Args:
        probabilities: `[items]` non-negative numbers, scaled here to sum to 1.

    Returns:
        The distribution.

    Raises:
        ValueError: If there is no item, or a number is negative or not finite, or all are 0.

    Example:
        >>> np.exp(item_distribution([3, 1]).log_probabilities).tolist()
        [0.75, 0.25]

    References:
        Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE Transactions
        on Software Engineering 17, 1991.
    """
    shares = np.asarray(probabilities, np.float64)
    if shares.ndim != 1 or not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum() > 0:
        raise ValueError("probabilities must be a vector of finite numbers from 0 on, and not all 0")
    shares = shares / shares.sum()
    count = len(shares)
    heights = (shares * count).tolist()
    keep, other = np.ones(count), np.arange(count)
    low = [i for i, height in enumerate(heights) if height < 1.0]
    high = [i for i, height in enumerate(heights) if height >= 1.0]
    while low and high:
        small, large = low.pop(), high[-1]
        keep[small], other[small] = heights[small], large
        heights[large] -= 1.0 - heights[small]
        if heights[large] < 1.0:
            low.append(high.pop())
    log_probabilities = np.log(np.maximum(shares, _LEAST_PROBABILITY))
    return ItemDistribution(
        keep.astype(np.float32), other.astype(np.int32), log_probabilities.astype(np.float32)
    )


def log_uniform(counts: Any) -> np.ndarray:
    """Probabilities that fall with the rank of popularity, about as interactions do.

    `log((rank + 2) / (rank + 1)) / log(items + 1)`, ranks from 0 on; of equal counts the first comes first.

    Args:
        counts: `[items]`, how often each item was met.

    Returns:
        float64 `[items]`, summing to 1.

    Example:
        >>> log_uniform([1, 5, 2]).round(4).tolist()
        [0.2075, 0.5, 0.2925]
    """
    counts = np.asarray(counts)
    ranks = np.empty(len(counts), np.int64)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.log1p(1.0 / (ranks + 1.0)) / np.log(len(counts) + 1.0)


def draw_items(
    key: tf.Tensor, shape: Any, num_items: int | tf.Tensor, distribution: ItemDistribution | None = None
) -> tf.Tensor:
    """Draws items with replacement.

    Args:
        key: int64 `[2]`, from `easyssl.functional.random.advance`.
        shape: Shape of the result.
        num_items: How many items there are, at least 1.
        distribution: Their probabilities. Defaults to None, which is uniform.

    Returns:
        int32 of that shape, in [0, num_items).

    Example:
        >>> key = tf.constant([2020, 1], tf.int64)
        >>> items = draw_items(key, [1000], 2, item_distribution([9, 1]))
        >>> round(float(tf.reduce_mean(tf.cast(items, tf.float32))), 1)
        0.1
    """
    numbers = uniform(key, tf.concat([[3], tf.convert_to_tensor(shape, tf.int32)], axis=0))
    items = _below(numbers[0], numbers[1], num_items)
    if distribution is None:
        return items
    stays = numbers[2] < tf.gather(tf.constant(distribution.keep), items)
    return tf.where(stays, items, tf.gather(tf.constant(distribution.other), items))


def draw_unseen(key: tf.Tensor, seen: tf.Tensor, count: int, num_items: int | tf.Tensor) -> tf.Tensor:
    """Draws items uniformly from those that are not among a row's own, with replacement.

    Exact, without trial and error: the r-th unseen item is r plus the number of seen ones at or before it.

    Args:
        key: int64 `[2]`, from `easyssl.functional.random.advance`.
        seen: int `[rows, n]`, the row's items, in any order and with repetitions; entries that are no items,
            such as -1, stand for none. An id that must never be drawn, such as that of padding, can be added.
        count: How many to draw per row.
        num_items: How many items there are.

    Returns:
        int32 `[rows, count]`, in [0, num_items); -1 in a row that has seen every item.

    Example:
        >>> seen = tf.constant([[3, 0, 0], [2, -1, -1], [0, 1, 2]])
        >>> items = draw_unseen(tf.constant([2020, 1], tf.int64), seen, 50, 4)
        >>> [sorted(set(row)) for row in items.numpy().tolist()]
        [[1, 2], [0, 1, 3], [3]]
    """
    nothing = tf.constant(2**30)  # far beyond the last item, whatever is subtracted
    seen = tf.cast(seen, tf.int32)
    known = tf.sort(tf.where((seen >= 0) & (seen < num_items), seen, nothing), axis=1)
    again = tf.concat([tf.zeros_like(known[:, :1], tf.bool), known[:, 1:] == known[:, :-1]], axis=1)
    known = tf.sort(tf.where(again, nothing, known), axis=1)
    unseen = num_items - tf.reduce_sum(tf.cast(known < nothing, tf.int32), axis=1, keepdims=True)
    numbers = uniform(key, [2, tf.shape(seen)[0], count])
    rank = _below(numbers[0], numbers[1], unseen)
    # How many unseen items come before each seen one.
    before = known - tf.range(tf.shape(known)[1])
    passed = tf.reduce_sum(tf.cast(before[:, None, :] <= rank[:, :, None], tf.int32), axis=2)
    return tf.where(unseen > 0, rank + passed, -1)


def _below(coarse: tf.Tensor, fine: tf.Tensor, bound: Any) -> tf.Tensor:
    """Returns int32 numbers in [0, bound) from two uniform ones: 24 bits are too coarse for many items."""
    position = tf.cast(coarse, tf.float64) + tf.cast(fine, tf.float64) * 2.0**-24
    return tf.cast(position * tf.cast(bound, tf.float64), tf.int32)
