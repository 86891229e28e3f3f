"""Which steps a cloze task hides."""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.augment_operators import choose_positions, floor_share
from easyssl.functional.random import uniform


def cloze_positions(
    lengths: tf.Tensor, size: int | tf.Tensor, key: tf.Tensor, mask_rate: float, last_only_rate: float
) -> tf.Tensor:
    """Chooses the steps of each row that are to be guessed from the others.

    Args:
        lengths: int32 `[batch]`, within 0 .. size.
        size: Padded length `seq_len`.
        key: int64 `[2]` for `easyssl.functional.uniform`.
        mask_rate: Share of a row's steps, in (0, 1].
        last_only_rate: Probability of a row that only its last step is chosen, in [0, 1].

    Returns:
        bool `[batch, seq_len]`: `max(1, floor(mask_rate * length))` valid steps of a row, every choice of so
        many being equally likely, or its last one; none of a row of length 0.

    Example:
        >>> key = tf.constant([2020, 1], tf.int64)
        >>> cloze_positions(tf.constant([3, 1, 0]), 3, key, 1.0, 0.0).numpy().astype(int).tolist()
        [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    """
    # Time comes first, so that more padding appends random numbers instead of moving them.
    numbers = uniform(key, tf.stack([size + 1, tf.shape(lengths)[0]]))
    counts = tf.minimum(tf.maximum(floor_share(lengths, mask_rate), 1), lengths)
    chosen = choose_positions(tf.transpose(numbers[1:]), lengths, counts)
    last = tf.range(size)[None, :] == lengths[:, None] - 1
    return tf.where((numbers[0] < last_only_rate)[:, None], last, chosen)
