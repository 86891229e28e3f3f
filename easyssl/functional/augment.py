"""Augmented views of sequences, for a whole batch at once.

The operators of CL4SRec (Xie et al., "Contrastive learning for sequential recommendation", arXiv 2010.14395)
and those that later methods add. What happens to a row is chosen once (`draw_change`) and then done to every
sequence of the row alike (`apply_change`), so that an item and its features stay together. Nothing here loops
over rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from easyssl.functional.augment_draw import AugmentRates, Change, draw_change
from easyssl.functional.augment_operators import similar_item


def apply_change(
    sequence: tf.Tensor,
    change: Change,
    mask_value: Any,
    pad_value: float = 0,
    similar_items: tf.Tensor | None = None,
    alternative: tf.Tensor | None = None,
) -> tf.Tensor:
    """Does to a sequence what was drawn for its rows.

    Args:
        sequence: `[batch, seq_len, ...]`.
        change: From `draw_change`.
        mask_value: What masked steps become: `[...]`.
        pad_value: What steps behind the end of a row that gets shorter become. Defaults to 0.
        similar_items: int `[vocab, k]`, needed where the change picks similar items: in row i the items that
            are most like item i; where -1 is drawn, the item itself is taken. Defaults to None.
        alternative: `[batch, seq_len, ...]`, needed where steps are swapped. Defaults to None.

    Returns:
        The changed sequence, of the same shape.
    """
    result = tf.gather(sequence, change.source, batch_dims=1)

    def where(mask: tf.Tensor, new: Any) -> tf.Tensor:
        while mask.shape.rank < sequence.shape.rank:
            mask = mask[..., None]
        return tf.where(mask, tf.cast(new, sequence.dtype), result)

    if change.replaced is not None:
        if change.pick is not None:
            result = where(change.replaced, similar_item(result, change.pick, similar_items))
        else:
            shape = tf.shape(sequence)
            flat = tf.reshape(sequence, tf.concat([[shape[0] * shape[1]], shape[2:]], 0))
            result = where(change.replaced, tf.gather(flat, change.other))
    if change.masked is not None:
        result = where(change.masked, mask_value)
    if change.swapped is not None:
        result = where(change.swapped, alternative)
    if change.emptied is not None:
        result = where(change.emptied, pad_value)
    return tf.ensure_shape(result, sequence.shape)


def augment_sequence(
    sequence: Any,
    lengths: tf.Tensor,
    mask_vector: Any,
    key: tf.Tensor,
    *,
    mask_rate: float,
    crop_rate: float,
    reorder_rate: float,
    min_crop_len: int = 1,
    crop_remove_rate: float = 0.0,
    item_drop_rate: float = 0.0,
    insert_rate: float = 0.0,
    substitute_rate: float = 0.0,
    word_drop_rate: float = 0.0,
    similar_items: tf.Tensor | None = None,
    alternative: Any = None,
    pad_value: Any = 0,
    choice: str = "row",
    operator_weights: Sequence[float] | None = None,
) -> tuple[Any, tf.Tensor]:
    """Changes each row by one operator, drawn from the enabled ones.

    `easyssl.layers.SeqAugment` says what the operators do. Crop is enabled by a rate below 1, each other one
    by a rate above 0. Rows of length 0 stay as they are. The result does not depend on the amount of padding,
    except where an insertion needs it as room.

    Args:
        sequence: `[batch, seq_len, dim]`, ids `[batch, seq_len]`, or a list of such sequences, which change
            in the same places.
        lengths: int `[batch]`.
        mask_vector: `[dim]`, what masked steps are replaced by; for ids a number. With a list of sequences a
            list.
        key: int64 `[2]` for `easyssl.functional.uniform`.
        mask_rate: Share of the steps that a mask replaces.
        crop_rate: Share of the steps that a crop keeps.
        reorder_rate: Share of the steps that a reorder permutes.
        min_crop_len: Steps that a crop, or the removal of a window, keeps at least. Defaults to 1.
        crop_remove_rate: Share of the steps that the removal of a window takes out. Defaults to 0.0.
        item_drop_rate: Probability that a step is dropped; never the first one. Defaults to 0.0.
        insert_rate: Steps that are inserted, as a share of the length. Defaults to 0.0.
        substitute_rate: Share of the steps that others take the place of. Defaults to 0.0.
        word_drop_rate: Probability that an alternative of its own takes the place of a step. Defaults to 0.0.
        similar_items: int `[vocab, k]`, the items that insertions and substitutions of ids take instead of
            steps of other rows, see `apply_change`. Defaults to None.
        alternative: What word drop takes, in the form of `sequence`. Defaults to None.
        pad_value: What steps behind the end of a row that gets shorter become; with a list of sequences, a
            list or one value for all. Defaults to 0.
        choice: "row" for an operator for each row, or "batch" for one for all rows. Defaults to "row".
        operator_weights: How likely each enabled operator is, up to a factor, in the order of
            `AugmentRates.enabled`. Defaults to None, which is all alike.

    Returns:
        The augmented sequence, or list of sequences, of the same shape, and the lengths, int32 `[batch]`.

    Example:
        >>> steps = tf.reshape(tf.range(1.0, 6.0), [1, 5, 1])
        >>> cropped, lengths = augment_sequence(steps, tf.constant([5]), tf.zeros([1]), tf.constant([1, 1]),
        ...                                     mask_rate=0.0, crop_rate=0.6, reorder_rate=0.0)
        >>> lengths.numpy().tolist(), cropped[0, 3:, 0].numpy().tolist()
        ([3], [0.0, 0.0])
    """
    several = isinstance(sequence, list | tuple)
    sequences = list(sequence) if several else [sequence]
    masks = list(mask_vector) if several else [mask_vector]
    pads = list(pad_value) if isinstance(pad_value, Sequence) else [pad_value] * len(sequences)
    rates = AugmentRates(
        crop_rate,
        mask_rate,
        reorder_rate,
        crop_remove_rate,
        item_drop_rate,
        insert_rate,
        substitute_rate,
        word_drop_rate,
        min_crop_len,
        choice,
        operator_weights,
    )
    size = sequences[0].shape[1]
    size = tf.shape(sequences[0])[1] if size is None else size
    lengths = tf.clip_by_value(tf.cast(lengths, tf.int32), 0, size)
    if rates.enabled():
        change = draw_change(lengths, size, key, rates, similar_items is not None)
        others = list(alternative) if several and alternative else [alternative] * len(sequences)
        sequences = [
            apply_change(x, change, mask, pad, similar_items, other)
            for x, mask, pad, other in zip(sequences, masks, pads, others, strict=True)
        ]
        lengths = change.lengths
    return (sequences if several else sequences[0]), lengths
