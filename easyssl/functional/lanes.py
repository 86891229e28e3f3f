"""Attention over rows of different lengths: two rows share a lane where that is cheaper than padding."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from easyssl.functional.gradient import with_gradient
from easyssl.functional.masking import EXCLUDED
from easyssl.functional.packing import Packing

_CHOICES = 16  # of how many rows share lanes


@dataclass(frozen=True, eq=False)
class Lanes:
    """Where the tokens of a packing are in lanes.

    Attributes:
        packing: The tokens in lanes in place of rows.
        excluded: float32 `[lanes, width, width]` to be added to scores of attention: 0 where a slot (second
            axis) and another (third axis) belong to one row, `EXCLUDED` elsewhere.
        rows: int32 `[lanes, 2]`, the rows in a lane; -1 where there is none.
        seats: int32 `[batch]`, where a row is in `rows`, flattened.
        owner: int32 `[lanes, width]`, the row that a slot belongs to; -1 where there is none.
    """

    packing: Packing
    excluded: tf.Tensor
    rows: tf.Tensor
    seats: tf.Tensor
    owner: tf.Tensor


def lanes_of(packing: Packing) -> Lanes:
    """Puts the tokens of rows into lanes: the longest alone, of the others the longest with the shortest.

    The work of attention grows with lanes times width squared; as many rows share a lane as make it least.
    Where lengths spread evenly, two rows to a lane halve it. The order of a row's tokens is kept.

    Args:
        packing: The packing of a batch; not dense.

    Returns:
        The lanes.

    Example:
        >>> from easyssl.functional.packing import packing_of
        >>> lanes_of(packing_of(tf.constant([5, 2, 1, 3]), 5)).packing.mask.shape
        TensorShape([2, 6])
    """
    lengths = tf.reduce_sum(tf.cast(packing.mask, tf.int32), axis=1)
    rows = tf.size(lengths)
    ordered, order = tf.math.top_k(lengths, rows)
    pairs, width = _cheapest_pairs(ordered)
    alone, lanes = rows - 2 * pairs, rows - pairs

    rank = tf.math.invert_permutation(order)
    first = rank < lanes
    lane = tf.where(first, rank, alone + rows - 1 - rank)
    start = tf.where(first, 0, tf.gather(ordered, lane))
    row, rank = row_and_rank(packing)
    slots = tf.stack([tf.gather(lane, row), tf.gather(start, row) + rank], axis=1)
    laid, owner = packed_at(slots, row, tf.stack([lanes, width]))
    excluded = tf.where(owner[:, :, None] == owner[:, None, :], 0.0, EXCLUDED)
    behind = alone + rows - 1 - tf.range(lanes)
    second = tf.where((behind >= lanes) & (behind < rows), tf.gather(order, tf.minimum(behind, rows - 1)), -1)
    seats = 2 * lane + tf.cast(~first, tf.int32)
    return Lanes(laid, excluded, tf.stack([order[:lanes], second], axis=1), seats, owner)


def _cheapest_pairs(ordered: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns how many pairs of the shortest rows share a lane, and how wide lanes are then.

    Args:
        ordered: int32 `[batch]`, lengths from the longest to the shortest.
    """
    rows = tf.size(ordered)
    half = rows // 2
    pairs = half * tf.range(_CHOICES + 1) // _CHOICES
    number = tf.range(half)[None, :]
    longer = tf.gather(ordered, tf.minimum(rows - 2 * pairs[:, None] + number, rows - 1))
    shared = longer + ordered[::-1][None, :half]
    widths = tf.reduce_max(tf.where(number < pairs[:, None], shared, 0), axis=1)
    widths = tf.maximum(tf.maximum(widths, ordered[0]), 1)
    work = tf.cast(rows - pairs, tf.float32) * tf.square(tf.cast(widths, tf.float32))
    best = tf.argmin(work, output_type=tf.int32)
    return tf.gather(pairs, best), tf.gather(widths, best)


def row_and_rank(packing: Packing) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the row of each token, and how many valid steps of it come before, int32 `[tokens]` each."""
    # There may be steps between that are not valid.
    before = tf.cumsum(tf.cast(packing.mask, tf.int32), axis=1, exclusive=True)
    return tf.cast(packing.coordinates[:, 0], tf.int32), tf.gather_nd(before, packing.coordinates)


def packed_at(slots: tf.Tensor, row: tf.Tensor, shape: tf.Tensor) -> tuple[Packing, tf.Tensor]:
    """Returns the packing of tokens that are somewhere else than in their rows.

    Args:
        slots: int32 `[tokens, 2]`, where each token is; no two are in the same place.
        row: int32 `[tokens]`, the row that each belongs to.
        shape: int32 `[2]`, how many places there are.

    Returns:
        The packing, and the row of each place, int32 of that shape; -1 where there is no token.
    """
    tokens = tf.stack([row + 1, tf.range(tf.size(row))], axis=1)
    found = tf.scatter_nd(slots, tokens, tf.concat([shape, [2]], axis=0))
    owner = found[:, :, 0] - 1
    places = tf.cast(found[:, :, 1], tf.int64)
    return Packing(tf.cast(slots, tf.int64), places, owner >= 0, dense=False), owner


def seat_rows(values: tf.Tensor, lanes: Lanes) -> tf.Tensor:
    """Brings what each row has to its lane.

    Args:
        values: `[batch, ...]`.
        lanes: The lanes.

    Returns:
        `[lanes, 2, ...]`; something finite where a lane has no second row.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.gather(_flat(upstream), lanes.seats)

    return with_gradient(lambda x: tf.gather(x, tf.maximum(lanes.rows, 0)), gradient)(values)


def unseat_rows(values: tf.Tensor, lanes: Lanes) -> tf.Tensor:
    """Undoes `seat_rows`: from `[lanes, 2, ...]` to `[batch, ...]`."""

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        given = tf.gather(upstream, tf.maximum(lanes.rows, 0))
        there = tf.reshape(lanes.rows >= 0, [-1, 2, *[1] * (len(values.shape) - 2)])
        return tf.where(there, given, tf.zeros([], given.dtype))

    return with_gradient(lambda x: tf.gather(_flat(x), lanes.seats), gradient)(values)


def _flat(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, tf.concat([[-1], tf.shape(values)[2:]], axis=0))
