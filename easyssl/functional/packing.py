"""Right-padded sequences without their padding: valid steps laid end to end as tokens.

What is computed step by step (projections, normalisation, dropout, feed-forward networks) then costs what the
real tokens cost. Going there and back is a gather, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from easyssl.functional.masking import length_mask


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


def pack(sequence: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Takes the tokens out of padded sequences.

    Args:
        sequence: `[batch, seq_len, dim]`.
        packing: Where the tokens are.

    Returns:
        `[tokens, dim]`.

    Example:
        >>> x = tf.reshape(tf.range(6.0), [3, 2, 1])
        >>> pack(x, packing_of(tf.constant([2, 0, 1]), 2))[:, 0].numpy().tolist()
        [0.0, 1.0, 4.0]
    """
    if packing.dense:
        return tf.reshape(sequence, [-1, sequence.shape[-1]])

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.where(packing.mask[:, :, None], tf.gather(upstream, packing.places), _zero(upstream))

    return _with_gradient(lambda x: tf.gather_nd(x, packing.coordinates), gradient)(sequence)


def unpack(tokens: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Puts tokens back into padded sequences.

    Args:
        tokens: `[tokens, dim]`.
        packing: Where the tokens are.

    Returns:
        `[batch, seq_len, dim]`. A step that is not valid holds something finite that must not be read.

    Example:
        >>> packing = packing_of(tf.constant([2, 1]), 2)
        >>> unpack(tf.constant([[1.0], [2.0], [3.0]]), packing)[0, :, 0].numpy().tolist()
        [1.0, 2.0]
    """
    if packing.dense:
        return _padded(tokens, packing)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.gather_nd(upstream, packing.coordinates)

    return _with_gradient(lambda x: tf.gather(x, packing.places), gradient)(tokens)


def unpack_heads(tokens: tf.Tensor, packing: Packing, parts: int, num_heads: int) -> list[tf.Tensor]:
    """Puts tokens back into padded sequences, one per head.

    Args:
        tokens: `[tokens, parts * num_heads * head_dim]`.
        packing: Where the tokens are.
        parts: How many tensors stand side by side, such as queries, keys and values.
        num_heads: Number of heads in each part.

    Returns:
        `parts` tensors `[num_heads, batch, seq_len, head_dim]`; see `unpack` for steps that are not valid.
    """
    groups = parts * num_heads
    size = tokens.shape[-1] // groups
    if packing.dense:
        shape = tf.shape(packing.mask)
        split = tf.reshape(tokens, [shape[0], shape[1], parts, num_heads, size])
        return tf.unstack(tf.transpose(split, [2, 3, 0, 1, 4]))
    places = packing.places[None] * groups + _ids(num_heads)[:, None, None]
    steps = _head_steps(packing, num_heads)

    @tf.custom_gradient
    def gathered(x: tf.Tensor) -> Any:
        def gradient(*upstream: tf.Tensor) -> tf.Tensor:
            pieces = [tf.gather(tf.reshape(piece, [-1, size]), steps) for piece in upstream]
            return tf.reshape(tf.concat(pieces, axis=1), [-1, groups * size])

        rows = tf.reshape(x, [-1, size])
        return tuple(tf.gather(rows, places + part * num_heads) for part in range(parts)), gradient

    return list(gathered(tokens))


def pack_heads(sequences: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Takes the tokens out of padded sequences and puts the heads side by side.

    Args:
        sequences: `[num_heads, batch, seq_len, head_dim]`.
        packing: Where the tokens are.

    Returns:
        `[tokens, num_heads * head_dim]`.
    """
    num_heads, size = sequences.shape[0], sequences.shape[-1]
    if packing.dense:
        return tf.reshape(tf.transpose(sequences, [1, 2, 0, 3]), [-1, num_heads * size])
    steps = _head_steps(packing, num_heads)
    places = packing.places[None] * num_heads + _ids(num_heads)[:, None, None]

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        spread = tf.gather(tf.reshape(upstream, [-1, size]), places)
        return tf.where(packing.mask[None, :, :, None], spread, _zero(upstream))

    def gathered(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.gather(tf.reshape(x, [-1, size]), steps), [-1, num_heads * size])

    return _with_gradient(gathered, gradient)(sequences)


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

    return tokens + _with_gradient(lambda x: tf.gather(x, steps), gradient)(table)


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


def _packing(mask: tf.Tensor, places: tf.Tensor) -> Packing:
    """Returns the packing of the valid steps, whose numbers are in `places`; other steps may have any."""
    rows, steps = _grid(mask)
    coordinates = tf.where(mask | (~tf.reduce_any(mask) & (rows + steps == 0)))
    last = tf.shape(coordinates, out_type=tf.int64)[0] - 1
    return Packing(coordinates, tf.minimum(places, last), mask, dense=False)


def _grid(mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    shape = tf.shape(mask, out_type=tf.int64)
    return tf.range(shape[0])[:, None], tf.range(shape[1])[None, :]


def _ids(count: int) -> tf.Tensor:
    return tf.range(count, dtype=tf.int64)


def _head_steps(packing: Packing, num_heads: int) -> tf.Tensor:
    """Returns where a token's heads are in `[num_heads * batch * seq_len]`, int64 `[tokens, num_heads]`."""
    shape = tf.shape(packing.mask, out_type=tf.int64)
    flat = packing.coordinates[:, 0] * shape[1] + packing.coordinates[:, 1]
    return flat[:, None] + _ids(num_heads)[None, :] * (shape[0] * shape[1])


def _padded(tokens: tf.Tensor, packing: Packing) -> tf.Tensor:
    shape = tf.shape(packing.mask)
    return tf.reshape(tokens, [shape[0], shape[1], tokens.shape[-1]])


def _with_gradient(
    function: Callable[[tf.Tensor], tf.Tensor], gradient: Callable[[tf.Tensor], tf.Tensor]
) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.custom_gradient
    def both(x: tf.Tensor) -> Any:
        return function(x), gradient

    return both


def _zero(like: tf.Tensor) -> tf.Tensor:
    return tf.zeros([], like.dtype)
