"""Right-padded sequences without their padding: valid steps laid end to end.

What is computed step by step (projections, normalisation, dropout, feed-forward networks) then costs what the
real tokens cost. Going there and back is a gather, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from easyssl.functional.masking import length_mask


class Packing(NamedTuple):
    """Where the valid steps of sequences are.

    Attributes:
        coordinates: int64 `[tokens, 2]`, row and step of each token.
        places: int64 `[batch, seq_len]`, the number of each step's token; that of any token for a step that
            is not valid.
        mask: bool `[batch, seq_len]`, which steps are valid.
    """

    coordinates: tf.Tensor
    places: tf.Tensor
    mask: tf.Tensor


def packing_of(lengths: tf.Tensor, max_length: int | tf.Tensor) -> Packing:
    """Finds the valid steps of right-padded sequences.

    Under XLA, whose shapes are static, every step becomes a token; results are the same. If no row has a valid
    step, there is one token, for the first step of the first row, as nothing can be gathered from no tokens.

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
    shape = tf.shape(mask, out_type=tf.int64)
    rows, steps = tf.range(shape[0])[:, None], tf.range(shape[1])[None, :]
    if in_xla():
        grid = [tf.broadcast_to(axis, shape) for axis in (rows, steps)]
        return Packing(tf.reshape(tf.stack(grid, axis=-1), [-1, 2]), rows * shape[1] + steps, mask)
    coordinates = tf.where(mask | (~tf.reduce_any(mask) & (rows + steps == 0)))
    starts = tf.cumsum(tf.cast(lengths, tf.int64), exclusive=True)
    last = tf.shape(coordinates, out_type=tf.int64)[0] - 1
    return Packing(coordinates, tf.minimum(starts[:, None] + steps, last), mask)


def pack(sequence: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Takes the valid steps out of padded sequences.

    Args:
        sequence: `[batch, seq_len, dim]`.
        packing: Where the valid steps are.

    Returns:
        `[tokens, dim]`.

    Example:
        >>> x = tf.reshape(tf.range(6.0), [3, 2, 1])
        >>> pack(x, packing_of(tf.constant([2, 0, 1]), 2))[:, 0].numpy().tolist()
        [0.0, 1.0, 4.0]
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.where(packing.mask[:, :, None], tf.gather(upstream, packing.places), _zero(upstream))

    return _with_gradient(lambda x: tf.gather_nd(x, packing.coordinates), gradient)(sequence)


def unpack(tokens: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Puts tokens back into padded sequences.

    Args:
        tokens: `[tokens, dim]`.
        packing: Where the valid steps are.

    Returns:
        `[batch, seq_len, dim]`. A step that is not valid holds some token, and takes no gradient.

    Example:
        >>> packing = packing_of(tf.constant([2, 1]), 2)
        >>> unpack(tf.constant([[1.0], [2.0], [3.0]]), packing)[0, :, 0].numpy().tolist()
        [1.0, 2.0]
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.gather_nd(upstream, packing.coordinates)

    return _with_gradient(lambda x: tf.gather(x, packing.places), gradient)(tokens)


def add_by_step(tokens: tf.Tensor, table: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Adds a row of a table to each token, by its step.

    Args:
        tokens: `[tokens, dim]`.
        table: `[seq_len, dim]`; its gradient is dense.
        packing: Where the tokens are.

    Returns:
        `[tokens, dim]`.
    """
    steps = packing.coordinates[:, 1]

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(upstream, steps, tf.shape(table)[0])

    return tokens + _with_gradient(lambda x: tf.gather(x, steps), gradient)(table)


def join_row(vector: tf.Tensor, tokens: tf.Tensor, packing: Packing, *, first: bool) -> tuple[tf.Tensor, Packing]:
    """Gives each row one more step, before its first or behind its last padded one.

    Args:
        vector: `[batch, dim]`, the steps to add.
        tokens: `[tokens, dim]`.
        packing: Where the tokens are.
        first: Whether the step comes first.

    Returns:
        `[batch + tokens, dim]` and where these are, with sequences that are longer by one.
    """
    count, width = tf.unstack(tf.shape(packing.mask, out_type=tf.int64))
    rows = tf.range(count)
    step = tf.zeros([], tf.int64) if first else width
    added = tf.stack([rows, tf.fill([count], step)], axis=-1)
    shifted = packing.coordinates + tf.constant([0, 1 if first else 0], tf.int64)

    def beside(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        return tf.concat([new[:, None], old] if first else [old, new[:, None]], axis=1)

    joined = Packing(
        tf.concat([added, shifted], axis=0),
        beside(rows, packing.places + count),
        beside(tf.ones([count], tf.bool), packing.mask),
    )
    return tf.concat([vector, tokens], axis=0), joined


def in_xla() -> bool:
    """Returns whether the graph that is being built is for XLA."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False


def _with_gradient(
    function: Callable[[tf.Tensor], tf.Tensor], gradient: Callable[[tf.Tensor], tf.Tensor]
) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.custom_gradient
    def both(x: tf.Tensor) -> Any:
        return function(x), gradient

    return both


def _zero(like: tf.Tensor) -> tf.Tensor:
    return tf.zeros([], like.dtype)
