"""Attention heads side by side in tokens, and each on its own in padded sequences."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.functional.gradient import with_gradient
from easyssl.functional.packing import Packing


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
        return tf.where(packing.mask[None, :, :, None], spread, tf.zeros([], upstream.dtype))

    def gathered(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.gather(tf.reshape(x, [-1, size]), steps), [-1, num_heads * size])

    return with_gradient(gathered, gradient)(sequences)


def _ids(count: int) -> tf.Tensor:
    return tf.range(count, dtype=tf.int64)


def _head_steps(packing: Packing, num_heads: int) -> tf.Tensor:
    """Returns where a token's heads are in `[num_heads * batch * seq_len]`, int64 `[tokens, num_heads]`."""
    shape = tf.shape(packing.mask, out_type=tf.int64)
    flat = packing.coordinates[:, 0] * shape[1] + packing.coordinates[:, 1]
    return flat[:, None] + _ids(num_heads)[None, :] * (shape[0] * shape[1])
