"""Crop, mask and reorder of sequences, for a whole batch at once.

The three operators of CL4SRec (Xie et al., "Contrastive learning for sequential recommendation",
arXiv 2010.14395). Each is a choice of positions, computed from lengths and uniform random numbers, so nothing
here loops over rows. Lengths are right-padded lengths: step t of row b is valid where t < lengths[b].
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.masking import length_mask
from easyssl.functional.random import uniform


def floor_share(lengths: tf.Tensor, rate: float) -> tf.Tensor:
    """Returns `floor(rate * length)` as int32.

    The product is taken in float64: in float32, 0.29 * 100 rounds up to 29.

    Args:
        lengths: int `[batch]`.
        rate: Share in [0, 1].

    Returns:
        int32 `[batch]`.

    Example:
        >>> floor_share(tf.constant([100, 5, 0]), 0.29).numpy().tolist()
        [28, 1, 0]
    """
    return tf.cast(tf.floor(tf.cast(lengths, tf.float64) * float(rate)), tf.int32)


def window_start(lengths: tf.Tensor, width: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """Returns where a window starts: uniform on 0 .. length - width, both ends included.

    Args:
        lengths: int32 `[batch]`.
        width: int32 `[batch]`, at most `lengths`.
        draw: float32 `[batch]` in [0, 1).

    Returns:
        int32 `[batch]`.
    """
    places = lengths - width + 1
    start = tf.cast(draw * tf.cast(places, tf.float32), tf.int32)
    return tf.minimum(start, places - 1)  # draw * places may round up to places


def crop_index(
    lengths: tf.Tensor, size: int | tf.Tensor, rate: float, min_length: int, start_draw: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses a contiguous window and moves it to the front.

    Args:
        lengths: int32 `[batch]`.
        size: Padded length `seq_len`.
        rate: Share of the sequence that is kept.
        min_length: Kept at least, as far as the row has so many steps.
        start_draw: float32 `[batch]` in [0, 1).

    Returns:
        The source position of each step, int32 `[batch, seq_len]` (meaningless behind the new length), and
        the new lengths, int32 `[batch]`.
    """
    width = tf.minimum(tf.maximum(floor_share(lengths, rate), min_length), lengths)
    start = window_start(lengths, width, start_draw)
    index = start[:, None] + tf.range(size)[None, :]
    return tf.minimum(index, size - 1), width


def mask_positions(lengths: tf.Tensor, rate: float, draws: tf.Tensor) -> tf.Tensor:
    """Chooses `floor(rate * length)` distinct valid positions per row.

    Args:
        lengths: int32 `[batch]`.
        rate: Share of the sequence that is masked.
        draws: float32 `[batch, seq_len]` in [0, 1).

    Returns:
        bool `[batch, seq_len]`.
    """
    keys = tf.where(length_mask(lengths, tf.shape(draws)[1]), draws, 2.0)
    order = tf.argsort(keys, axis=-1, stable=True)
    rank = tf.argsort(order, axis=-1, stable=True)  # the inverse permutation
    return rank < floor_share(lengths, rate)[:, None]


def reorder_index(lengths: tf.Tensor, rate: float, start_draw: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Chooses a contiguous window of `floor(rate * length)` steps and permutes it.

    Args:
        lengths: int32 `[batch]`.
        rate: Share of the sequence that is permuted.
        start_draw: float32 `[batch]` in [0, 1).
        draws: float32 `[batch, seq_len]` in [0, 1).

    Returns:
        The source position of each step, int32 `[batch, seq_len]`; identity outside of the window.
    """
    width = floor_share(lengths, rate)
    start = window_start(lengths, width, start_draw)[:, None]
    steps = tf.range(tf.shape(draws)[1])[None, :]
    # A stable sort by these keys leaves everything before and behind the window in its place.
    keys = tf.where(steps < start, -1.0, tf.where(steps < start + width[:, None], draws, 2.0))
    return tf.argsort(keys, axis=-1, stable=True)


def augment_sequence(
    sequence: tf.Tensor,
    lengths: tf.Tensor,
    mask_vector: tf.Tensor,
    key: tf.Tensor,
    *,
    mask_rate: float,
    crop_rate: float,
    reorder_rate: float,
    min_crop_len: int = 1,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Changes each row by one operator, drawn uniformly from the enabled ones.

    Crop is enabled by `crop_rate < 1`, mask by `mask_rate > 0`, reorder by `reorder_rate > 0`. Rows of length
    0 stay as they are. The result does not depend on the amount of padding.

    Args:
        sequence: `[batch, seq_len, dim]`.
        lengths: int `[batch]`.
        mask_vector: `[dim]`, what masked steps are replaced by.
        key: int64 `[2]` for `easyssl.functional.uniform`.
        mask_rate: Share of the steps that a mask replaces.
        crop_rate: Share of the steps that a crop keeps.
        reorder_rate: Share of the steps that a reorder permutes.
        min_crop_len: Steps that a crop keeps at least. Defaults to 1.

    Returns:
        The augmented sequence `[batch, seq_len, dim]` and its lengths, int32 `[batch]`.

    Example:
        >>> steps = tf.reshape(tf.range(1.0, 6.0), [1, 5, 1])
        >>> cropped, lengths = augment_sequence(steps, tf.constant([5]), tf.zeros([1]), tf.constant([1, 1]),
        ...                                     mask_rate=0.0, crop_rate=0.6, reorder_rate=0.0)
        >>> lengths.numpy().tolist(), cropped[0, 3:, 0].numpy().tolist()
        ([3], [0.0, 0.0])
    """
    shape = tf.shape(sequence)
    batch, size = shape[0], shape[1]
    lengths = tf.clip_by_value(tf.cast(lengths, tf.int32), 0, size)
    operators = []
    if crop_rate < 1:
        operators.append("crop")
    if mask_rate > 0:
        operators.append("mask")
    if reorder_rate > 0:
        operators.append("reorder")
    if not operators:
        return sequence, lengths

    # Time comes first, so that more padding appends random numbers instead of moving them.
    numbers = uniform(key, tf.stack([size + 2, batch]))
    choice = tf.minimum(tf.cast(numbers[0] * len(operators), tf.int32), len(operators) - 1)
    start_draw, draws = numbers[1], tf.transpose(numbers[2:])
    chosen = {name: (choice == place) & (lengths > 0) for place, name in enumerate(operators)}

    steps = tf.range(size)[None, :]
    index, new_lengths = tf.tile(steps, [batch, 1]), lengths
    emptied = masked = None
    if "crop" in chosen:
        source, width = crop_index(lengths, size, crop_rate, min_crop_len, start_draw)
        index = tf.where(chosen["crop"][:, None], source, index)
        new_lengths = tf.where(chosen["crop"], width, lengths)
        emptied = chosen["crop"][:, None] & (steps >= width[:, None])
    if "reorder" in chosen:
        source = reorder_index(lengths, reorder_rate, start_draw, draws)
        index = tf.where(chosen["reorder"][:, None], source, index)
    if "mask" in chosen:
        masked = chosen["mask"][:, None] & mask_positions(lengths, mask_rate, draws)

    result = tf.gather(sequence, index, batch_dims=1)
    if masked is not None:
        result = tf.where(masked[:, :, None], tf.cast(mask_vector, sequence.dtype), result)
    if emptied is not None:
        result = tf.where(emptied[:, :, None], tf.zeros([], sequence.dtype), result)
    return tf.ensure_shape(result, sequence.shape), new_lengths
