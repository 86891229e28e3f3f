"""Causal attention over rows of different lengths: chunks of a stream of tokens, and what is before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from easyssl.functional.lanes import packed_at, row_and_rank
from easyssl.functional.masking import EXCLUDED
from easyssl.functional.packing import Packing

# How many chunks before its own a token may look into. With more of them chunks are shorter, and fewer scores
# are computed that no token needs, but by smaller products.
_REACH = 2


@dataclass(frozen=True, eq=False)
class Windows:
    """Where the tokens of a packing are in chunks, and what each of them sees.

    Attributes:
        packing: The tokens in chunks in place of rows.
        before: int32 scalar, how many slots before a chunk are seen from it.
        excluded: float32 `[chunks, width, before + width]` to be added to scores of attention: 0 where a slot
            (second axis) sees another (third axis), `EXCLUDED` elsewhere.
    """

    packing: Packing
    before: tf.Tensor
    excluded: tf.Tensor


def windows_of(packing: Packing) -> Windows:
    """Lays the rows of a batch end to end and cuts them into chunks; or makes lanes, where that is cheaper.

    A chunk is half as wide as the longest row, and sees as many slots before it as a row can reach. The work
    of attention is then 1.5 times the number of tokens times the longest length, however lengths spread.
    Where most rows are nearly that long, `lanes_of` has less work.

    Args:
        packing: The packing of a batch; not dense.

    Returns:
        The windows.

    Example:
        >>> from easyssl.functional.packing import packing_of
        >>> windows = windows_of(packing_of(tf.constant([5, 1, 1, 1, 1, 1]), 5))
        >>> windows.packing.mask.shape, int(windows.before)
        (TensorShape([5, 2]), 4)
    """
    lengths = tf.reduce_sum(tf.cast(packing.mask, tf.int32), axis=1)
    lanes = packing.lanes.packing
    row, rank = row_and_rank(packing)
    tokens, longest = tf.size(row), tf.maximum(tf.reduce_max(lengths), 1)
    width = tf.maximum(-(-(longest - 1) // _REACH), 1)
    chunks, before = -(-tokens // width), longest - 1
    in_lanes = tf.shape(lanes.mask)
    stream = chunks * width * (before + width) < in_lanes[0] * in_lanes[1] * in_lanes[1]

    place = tf.gather(tf.cumsum(lengths, exclusive=True), row) + rank
    slots = tf.stack([place // width, place % width], axis=1)
    slots = tf.where(stream, slots, tf.cast(lanes.coordinates, tf.int32))
    shape = tf.where(stream, tf.stack([chunks, width]), in_lanes)
    before = tf.where(stream, before, 0)
    laid, owner = packed_at(slots, row, shape)
    # In floating numbers, since there is no kernel of GPUs that pads whole ones.
    own = tf.cast(owner + 1, tf.float32)
    sees = with_before(own[None, :, :, None], before)[0, :, None, :, 0] == own[:, :, None]
    steps = tf.range(shape[1])
    earlier = tf.range(before + shape[1])[None, :] - before <= steps[:, None]
    return Windows(laid, before, tf.where(sees & earlier, 0.0, EXCLUDED))


def with_before(values: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """Gives each chunk also the slots before it.

    Args:
        values: `[heads, chunks, width, dim]`.
        before: int32 scalar, how many slots, at most twice the width.

    Returns:
        `[heads, chunks, before + width, dim]`; zeros before the first slot.

    Example:
        >>> with_before(tf.reshape(tf.range(1.0, 7.0), [1, 3, 2, 1]), 1)[0, :, :, 0].numpy().tolist()
        [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]]
    """
    width = tf.shape(values)[2]
    cut = _REACH * width - before

    @tf.custom_gradient
    def widened(x: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            whole = tf.pad(upstream, [[0, 0], [0, _REACH], [cut, 0], [0, 0]])
            chunks = tf.shape(x)[1]
            return tf.add_n(
                [
                    whole[:, late : late + chunks, (_REACH - late) * width : (_REACH - late + 1) * width]
                    for late in range(_REACH + 1)
                ]
            )

        shifted = tf.pad(x, [[0, 0], [_REACH, 0], [0, 0], [0, 0]])
        chunks = tf.shape(x)[1]
        parts = [shifted[:, early : early + chunks] for early in range(_REACH)]
        return tf.concat([*parts, x], axis=2)[:, :, cut:], gradient

    return widened(values)
