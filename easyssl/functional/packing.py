"""Right-padded sequences without their padding: valid steps laid end to end as tokens.

What is computed step by step (projections, normalisation, dropout, feed-forward networks) then costs what the
real tokens cost. Going there and back is a gather, forward and backward.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from easyssl.functional.gradient import with_gradient
from easyssl.functional.masking import length_mask
from easyssl.functional.xla import in_xla

if TYPE_CHECKING:
    from easyssl.functional.lanes import Lanes
    from easyssl.functional.windows import Windows


@dataclass(frozen=True, eq=False)
class Packing:
    """Where tokens are in padded sequences.

    Attributes:
        coordinates: int64 `[tokens, 2]`, row and step of each token.
        places: int64 `[batch, seq_len]`, the number of each step's token; that of any token for a step that
            is none.
        mask: bool `[batch, seq_len]`, which steps are valid.
        dense: Whether all steps are tokens, also those that are not valid.
    """

    coordinates: tf.Tensor
    places: tf.Tensor
    mask: tf.Tensor
    dense: bool

    @functools.cached_property
    def lanes(self) -> Lanes:
        """Where attention has the tokens; made when first asked for."""
        from easyssl.functional.lanes import lanes_of

        return lanes_of(self)

    @functools.cached_property
    def windows(self) -> Windows:
        """Where causal attention has the tokens; made when first asked for."""
        from easyssl.functional.windows import windows_of

        return windows_of(self)


def packing_of(lengths: tf.Tensor, max_length: int | tf.Tensor) -> Packing:
    """Makes the valid steps of right-padded sequences tokens.

    Under XLA, whose shapes are static, all steps become tokens; results are the same. If no row has a valid
    step, the first step of the first row is a token, as nothing can be gathered from no tokens.

    Args:
        lengths: int `[batch]`, from 0 to `max_length`.
        max_length: Padded length, at least 1.

    Returns:
        The packing.

    Example:
        >>> packing_of(tf.constant([2, 0, 1]), 2).coordinates.numpy().tolist()
        [[0, 0], [0, 1], [2, 0]]
    """
    mask = length_mask(lengths, max_length)
    if in_xla():
        return dense_packing(mask)
    starts = tf.cumsum(tf.cast(lengths, tf.int64), exclusive=True)
    return _packing(mask, starts[:, None] + _grid(mask)[1])


def packing_of_mask(mask: tf.Tensor) -> Packing:
    """Makes the valid steps of any sequences tokens; see `packing_of`.

    Args:
        mask: bool `[batch, seq_len]`, which steps are valid.

    Returns:
        The packing.

    Example:
        >>> packing_of_mask(tf.constant([[False, True], [True, True]])).coordinates.numpy().tolist()
        [[0, 1], [1, 0], [1, 1]]
    """
    if in_xla():
        return dense_packing(mask)
    counts = tf.cast(tf.reshape(mask, [-1]), tf.int64)
    return _packing(mask, tf.reshape(tf.cumsum(counts, exclusive=True), tf.shape(mask)))


def dense_packing(mask: tf.Tensor) -> Packing:
    """Makes all steps tokens.

    Args:
        mask: bool `[batch, seq_len]`, which steps are valid.

    Returns:
        The packing.
    """
    rows, steps = _grid(mask)
    shape = tf.shape(mask, out_type=tf.int64)
    coordinates = tf.stack([tf.broadcast_to(axis, shape) for axis in (rows, steps)], axis=-1)
    return Packing(tf.reshape(coordinates, [-1, 2]), rows * shape[1] + steps, mask, dense=True)


def pack(sequence: tf.Tensor, packing: Packing, first: tf.Tensor | None = None) -> tf.Tensor:
    """Takes the tokens out of padded sequences.

    Args:
        sequence: `[batch, seq_len, dim]`; with a packing of fewer steps, only these are taken.
        packing: Where the tokens are.
        first: int `[batch]`, the step of a row where its tokens begin, for a packing that is not dense.
            Defaults to None, which is the first one.

    Returns:
        `[tokens, dim]`.

    Example:
        >>> x = tf.reshape(tf.range(6.0), [3, 2, 1])
        >>> pack(x, packing_of(tf.constant([2, 0, 1]), 2))[:, 0].numpy().tolist()
        [0.0, 1.0, 4.0]
    """
    if packing.dense:
        return tf.reshape(sequence[:, : tf.shape(packing.mask)[1]], [-1, sequence.shape[-1]])
    coordinates = packing.coordinates
    if first is not None:
        row, step = coordinates[:, 0], coordinates[:, 1]
        coordinates = tf.stack([row, step + tf.gather(tf.cast(first, tf.int64), row)], axis=1)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return _spread(upstream, coordinates, tf.shape(sequence)[:2], packing)

    return with_gradient(lambda x: tf.gather_nd(x, coordinates), gradient)(sequence)


def take_step(tokens: tf.Tensor, steps: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Takes one token of each row.

    Args:
        tokens: `[tokens, dim]`.
        steps: int `[batch]`, the step of each row.
        packing: Where the tokens are.

    Returns:
        `[batch, dim]`; something finite without a gradient for a row that has no such step.

    Example:
        >>> packing = packing_of(tf.constant([2, 1]), 2)
        >>> take_step(tf.constant([[1.0], [2.0], [3.0]]), tf.constant([1, 0]), packing)[:, 0].numpy().tolist()
        [2.0, 3.0]
    """
    steps = tf.cast(steps, tf.int64)
    numbers = tf.gather(packing.places, tf.maximum(steps, 0), batch_dims=1)
    row, step = packing.coordinates[:, 0], packing.coordinates[:, 1]

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        taken = tf.gather(steps, row) == step
        return tf.where(taken[:, None], tf.gather(upstream, row), _zero(upstream))

    return with_gradient(lambda x: tf.gather(x, numbers), gradient)(tokens)


def unpack(tokens: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Puts tokens back into padded sequences.

    Args:
        tokens: `[tokens, dim]`.
        packing: Where the tokens are.

    Returns:
        `[batch, seq_len, dim]`, with zeros for steps that are not valid; for a dense packing, what is there.

    Example:
        >>> packing = packing_of(tf.constant([2, 1]), 2)
        >>> unpack(tf.constant([[1.0], [2.0], [3.0]]), packing)[0, :, 0].numpy().tolist()
        [1.0, 2.0]
    """
    if packing.dense:
        return _padded(tokens, packing)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return _cleared(tf.gather_nd(upstream, packing.coordinates), packing)

    def spread(x: tf.Tensor) -> tf.Tensor:
        return _spread(x, packing.coordinates, tf.shape(packing.mask), packing)

    return with_gradient(spread, gradient)(tokens)


def add_by_step(tokens: tf.Tensor, table: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Adds a row of a table to each token, by its step.

    Args:
        tokens: `[tokens, dim]`.
        table: `[seq_len, dim]`; its gradient is dense.
        packing: Where the tokens are.

    Returns:
        `[tokens, dim]`.
    """
    if packing.dense:
        return pack(_padded(tokens, packing) + table[None], packing)
    steps = packing.coordinates[:, 1]

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(upstream, steps, tf.shape(table)[0])

    return tokens + with_gradient(lambda x: tf.gather(x, steps), gradient)(table)


def join_row(
    vector: tf.Tensor, tokens: tf.Tensor, packing: Packing, *, first: bool
) -> tuple[tf.Tensor, Packing]:
    """Gives each row one more step, before its first or behind its last padded one.

    Args:
        vector: `[batch, dim]`, the steps to add.
        tokens: `[tokens, dim]`.
        packing: Where the tokens are.
        first: Whether the step comes first.

    Returns:
        The tokens, `[batch + tokens, dim]`, and their packing, with sequences that are longer by one.
    """

    def beside(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        return tf.concat([new[:, None], old] if first else [old, new[:, None]], axis=1)

    count, width = tf.unstack(tf.shape(packing.mask, out_type=tf.int64))
    mask = beside(tf.ones([count], tf.bool), packing.mask)
    if packing.dense:
        joined = dense_packing(mask)
        return pack(beside(vector, _padded(tokens, packing)), joined), joined
    rows = tf.range(count)
    added = tf.stack([rows, tf.fill([count], tf.zeros([], tf.int64) if first else width)], axis=-1)
    shifted = packing.coordinates + tf.constant([0, 1 if first else 0], tf.int64)
    coordinates, places = tf.concat([added, shifted], axis=0), beside(rows, packing.places + count)
    return tf.concat([vector, tokens], axis=0), Packing(coordinates, places, mask, dense=False)


def _packing(mask: tf.Tensor, places: tf.Tensor) -> Packing:
    """Returns the packing of the valid steps, whose numbers are in `places`; other steps may have any."""
    rows, steps = _grid(mask)
    coordinates = tf.where(mask | (~tf.reduce_any(mask) & (rows + steps == 0)))
    last = tf.shape(coordinates, out_type=tf.int64)[0] - 1
    return Packing(coordinates, tf.minimum(places, last), mask, dense=False)


def _grid(mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    shape = tf.shape(mask, out_type=tf.int64)
    return tf.range(shape[0])[:, None], tf.range(shape[1])[None, :]


def _spread(tokens: tf.Tensor, coordinates: tf.Tensor, shape: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Returns `[*shape, dim]` with the tokens at their coordinates, and zeros elsewhere."""
    shape = tf.cast(tf.concat([shape, [tokens.shape[-1]]], axis=0), tf.int64)
    return tf.scatter_nd(coordinates, _cleared(tokens, packing), shape)


def _cleared(tokens: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Returns zeros where no row has a valid step, and so the only token stands for none."""
    return tf.where(tf.reduce_any(packing.mask), tokens, _zero(tokens))


def _padded(tokens: tf.Tensor, packing: Packing) -> tf.Tensor:
    shape = tf.shape(packing.mask)
    return tf.reshape(tokens, [shape[0], shape[1], tokens.shape[-1]])


def _zero(like: tf.Tensor) -> tf.Tensor:
    return tf.zeros([], like.dtype)
