"""Which steps a change of a sequence moves, drops or replaces, for a whole batch at once.

Every function chooses positions from lengths and uniform random numbers; nothing here loops over rows, and
nothing looks at the steps themselves. Lengths are right-padded lengths: step t of row b is valid where
t < lengths[b].
"""

from __future__ import annotations

import math

import tensorflow as tf

from easyssl.functional.masking import length_mask


def floor_share(lengths: tf.Tensor, rate: float) -> tf.Tensor:
    """Returns `floor(rate * length)` as int32.

    The product is taken in float64: in float32, 0.29 * 100 rounds up to 29.

    Args:
        lengths: int of any shape.
        rate: Share in [0, 1].

    Returns:
        int32 of the same shape.

    Example:
        >>> floor_share(tf.constant([100, 5, 0]), 0.29).numpy().tolist()
        [28, 1, 0]
    """
    return tf.cast(tf.floor(tf.cast(lengths, tf.float64) * float(rate)), tf.int32)


def floor_draw(draw: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns a whole number below `count`, uniform if `draw` is; 0 if nothing is below it.

    Args:
        draw: float32 in [0, 1).
        count: int32, broadcastable to `draw`.

    Returns:
        int32 of the broadcast shape.
    """
    number = tf.cast(draw * tf.cast(count, tf.float32), tf.int32)
    return tf.maximum(tf.minimum(number, count - 1), 0)  # draw * count may round up to count


def window_start(lengths: tf.Tensor, width: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """Returns where a window starts: uniform on 0 .. length - width, both ends included.

    Args:
        lengths: int32 `[batch]`.
        width: int32 `[batch]`, at most `lengths`.
        draw: float32 `[batch]` in [0, 1).

    Returns:
        int32 `[batch]`.
    """
    return floor_draw(draw, lengths - width + 1)


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


def crop_remove_index(
    lengths: tf.Tensor, size: int | tf.Tensor, rate: float, min_length: int, start_draw: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses a contiguous window of `floor(rate * length)` steps and closes the gap that it leaves.

    Args:
        lengths: int32 `[batch]`.
        size: Padded length `seq_len`.
        rate: Share of the sequence that is removed.
        min_length: Kept at least, as far as the row has so many steps.
        start_draw: float32 `[batch]` in [0, 1).

    Returns:
        As `crop_index`.
    """
    width = tf.minimum(floor_share(lengths, rate), tf.maximum(lengths - min_length, 0))
    start = window_start(lengths, width, start_draw)
    steps = tf.range(size)[None, :]
    index = steps + tf.where(steps >= start[:, None], width[:, None], 0)
    return tf.minimum(index, size - 1), lengths - width


def choose_positions(draws: tf.Tensor, lengths: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Chooses distinct valid positions of each row, every choice of so many being equally likely.

    Args:
        draws: float32 `[batch, seq_len]` in [0, 1).
        lengths: int32 `[batch]`, how many of the first positions may be chosen.
        counts: int32 `[batch]`, how many are chosen; at most `lengths`.

    Returns:
        bool `[batch, seq_len]`.
    """
    keys = tf.where(length_mask(lengths, tf.shape(draws)[1]), draws, 2.0)
    order = tf.argsort(keys, axis=-1, stable=True)
    rank = tf.argsort(order, axis=-1, stable=True)  # the inverse permutation
    return rank < counts[:, None]


def reorder_keys(lengths: tf.Tensor, rate: float, start_draw: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Chooses a contiguous window of `floor(rate * length)` steps to permute.

    Args:
        lengths: int32 `[batch]`.
        rate: Share of the sequence that is permuted.
        start_draw: float32 `[batch]` in [0, 1).
        draws: float32 `[batch, seq_len]` in [0, 1).

    Returns:
        float32 `[batch, seq_len]`: a stable sort by these keys permutes the window at random and leaves
        everything before and behind it in its place.
    """
    width = floor_share(lengths, rate)
    start = window_start(lengths, width, start_draw)[:, None]
    steps = tf.range(tf.shape(draws)[1])[None, :]
    return tf.where(steps < start, -1.0, tf.where(steps < start + width[:, None], draws, 2.0))


def item_drop_keys(lengths: tf.Tensor, rate: float, draws: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Drops each step but the first with a probability.

    Args:
        lengths: int32 `[batch]`.
        rate: The probability.
        draws: float32 `[batch, seq_len]` in [0, 1).

    Returns:
        float32 `[batch, seq_len]`, such that a stable sort by these keys moves the kept steps to the front;
        and the new lengths, int32 `[batch]`.
    """
    size = tf.shape(draws)[1]
    kept = length_mask(lengths, size) & ((draws >= rate) | (tf.range(size) == 0)[None, :])
    return tf.where(kept, 0.0, 1.0), tf.math.count_nonzero(kept, axis=1, dtype=tf.int32)


def slot_count(size: int | tf.Tensor, rate: float) -> int | tf.Tensor:
    """Returns how many steps a row of `size` steps has after an insertion."""
    more = math.floor(size * rate) if isinstance(size, int) else floor_share(size, rate)
    return size + more


def insert_index(
    lengths: tf.Tensor, size: int | tf.Tensor, new_slots: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Makes room for new steps; where there is not room for all, the last steps are kept.

    Args:
        lengths: int32 `[batch]`.
        size: Padded length `seq_len`.
        new_slots: bool `[batch, slots]`: which places of the longer sequence are new ones.

    Returns:
        The source position of each old step, and of each new one the old step that it stands before (the
        last one at the end), int32 `[batch, seq_len]`; the new lengths, int32 `[batch]`; which steps are new,
        bool `[batch, seq_len]`.
    """
    counts = tf.math.count_nonzero(new_slots, axis=1, dtype=tf.int32)
    before = tf.cumsum(tf.cast(new_slots, tf.int32), axis=1, exclusive=True)
    left_out = tf.maximum(lengths + counts - size, 0)
    slots = left_out[:, None] + tf.range(size)[None, :]
    # Slots of rows that lose nothing stay within `size`, of others within length + count.
    slots = tf.minimum(slots, tf.shape(new_slots)[1] - 1)
    is_new = tf.gather(new_slots, slots, batch_dims=1)
    source = slots - tf.gather(before, slots, batch_dims=1)
    last = tf.maximum(lengths - 1, 0)[:, None]
    source = tf.where(is_new, tf.minimum(source, last), tf.minimum(source, size - 1))
    return source, tf.minimum(lengths + counts, size), is_new


def steps_of_others(
    lengths: tf.Tensor, row_draws: tf.Tensor, step_draws: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses steps of other rows: a row with valid steps first, then one of its steps, both uniformly.

    Args:
        lengths: int32 `[batch]`.
        row_draws: float32 `[batch, seq_len]` in [0, 1).
        step_draws: float32 `[batch, seq_len]` in [0, 1).

    Returns:
        Row and step, int32 `[batch, seq_len]` each. A row that no other one can help gets its own steps.

    Example:
        >>> rows, steps = steps_of_others(tf.constant([2, 0, 1]), tf.fill([3, 1], 0.5), tf.fill([3, 1], 0.9))
        >>> rows.numpy().ravel().tolist(), steps.numpy().ravel().tolist()
        ([2, 2, 0], [0, 0, 1])
    """
    filled = tf.cast(lengths > 0, tf.int32)
    filled_rows = tf.argsort(1 - filled, stable=True)
    place = tf.maximum(tf.cumsum(filled) - 1, 0)[:, None]
    others = tf.reduce_sum(filled) - 1
    choice = floor_draw(row_draws, others)
    choice = tf.where(others > 0, choice + tf.cast(choice >= place, tf.int32), place)
    rows = tf.gather(filled_rows, choice)
    return rows, floor_draw(step_draws, tf.gather(lengths, rows))


def similar_item(ids: tf.Tensor, pick: tf.Tensor, similar_items: tf.Tensor) -> tf.Tensor:
    """Returns an item similar to each id, or the id itself if none is known.

    Args:
        ids: int, of any shape.
        pick: float32 of the same shape in [0, 1).
        similar_items: int `[vocab, k]`.

    Returns:
        Tensor like `ids`.

    Example:
        >>> table = tf.constant([[1, 2], [0, -1]])
        >>> ids, pick = tf.constant([0, 0, 1, 1, 7]), tf.constant([0.1, 0.9, 0.1, 0.9, 0.1])
        >>> similar_item(ids, pick, table).numpy().tolist()
        [1, 2, 0, 1, 7]
    """
    vocab, count = tf.unstack(tf.shape(similar_items, tf.int64))
    items = tf.cast(ids, tf.int64)
    known = (items >= 0) & (items < vocab)
    column = tf.cast(floor_draw(pick, tf.cast(count, tf.int32)), tf.int64)
    places = tf.where(known, items, tf.zeros_like(items)) * count + column
    found = tf.cast(tf.gather(tf.reshape(similar_items, [-1]), places), tf.int64)
    return tf.cast(tf.where(known & (found >= 0), found, items), ids.dtype)
