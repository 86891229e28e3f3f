"""What happens to each row of a batch when it is augmented, drawn without looking at its steps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from easyssl.functional import augment_operators as operators
from easyssl.functional.augment_operators import floor_share, slot_count
from easyssl.functional.masking import length_mask
from easyssl.functional.random import uniform


@dataclass(frozen=True)
class AugmentRates:
    """How strongly each operator acts; the defaults disable it.

    Attributes:
        crop_rate: Share of the steps that a crop keeps.
        mask_rate: Share of the steps that a mask replaces.
        reorder_rate: Share of the steps that a reorder permutes.
        crop_remove_rate: Share of the steps that the removal of a window takes out.
        item_drop_rate: Probability that a step is dropped; never the first one.
        insert_rate: Steps that are inserted, as a share of the length.
        substitute_rate: Share of the steps that others take the place of.
        word_drop_rate: Probability that an alternative of its own takes the place of a step.
        min_crop_len: Steps that a crop, or the removal of a window, keeps at least.
        choice: "row" for an operator for each row, or "batch" for one for all rows.
        operator_weights: How likely each enabled operator is, up to a factor; None for all alike.
    """

    crop_rate: float = 1.0
    mask_rate: float = 0.0
    reorder_rate: float = 0.0
    crop_remove_rate: float = 0.0
    item_drop_rate: float = 0.0
    insert_rate: float = 0.0
    substitute_rate: float = 0.0
    word_drop_rate: float = 0.0
    min_crop_len: int = 1
    choice: str = "row"
    operator_weights: Sequence[float] | None = None

    def enabled(self) -> list[str]:
        """Returns the operators that rows draw from."""
        names = ["mask", "reorder", "crop_remove", "item_drop", "insert", "substitute", "word_drop"]
        crop = ["crop"] if self.crop_rate < 1 else []
        return crop + [name for name in names if getattr(self, f"{name}_rate") > 0]


class Change(NamedTuple):
    """What happens to the rows of a batch.

    Attributes:
        lengths: int32 `[batch]`, after the change.
        source: int32 `[batch, seq_len]`, the step of the row that comes here; for a step that is `replaced`,
            the one that its substitute should resemble.
        emptied: bool `[batch, seq_len]`, steps that become padding; or None.
        masked: bool `[batch, seq_len]`, steps that are masked; or None.
        replaced: bool `[batch, seq_len]`, steps that are taken from elsewhere; or None.
        other: int32 `[batch, seq_len]`, where from, as row * seq_len + step; or None.
        pick: float32 `[batch, seq_len]` in [0, 1), which similar item to take; or None.
        swapped: bool `[batch, seq_len]`, steps that their alternatives take the place of; or None.
    """

    lengths: tf.Tensor
    source: tf.Tensor
    emptied: tf.Tensor | None = None
    masked: tf.Tensor | None = None
    replaced: tf.Tensor | None = None
    other: tf.Tensor | None = None
    pick: tf.Tensor | None = None
    swapped: tf.Tensor | None = None


def draw_change(
    lengths: tf.Tensor, size: int | tf.Tensor, key: tf.Tensor, rates: AugmentRates, similar: bool = False
) -> Change:
    """Draws one of the enabled operators for each row, or one for all, and its positions in each row.

    Args:
        lengths: int32 `[batch]`, within 0 .. size.
        size: Padded length `seq_len`.
        key: int64 `[2]` for `easyssl.functional.uniform`.
        rates: Which operators are enabled.
        similar: Whether new steps are similar items instead of steps of other rows. Defaults to False.

    Returns:
        The change. Rows of length 0 stay as they are.
    """
    names = rates.enabled()
    batch = tf.shape(lengths)[0]
    takes = "insert" in names or "substitute" in names
    slots = slot_count(size, rates.insert_rate)
    # Time comes first, so that more padding appends random numbers instead of moving them.
    kinds = (2 if similar else 3) if takes else 1
    numbers = uniform(key, tf.stack([2 + slots * kinds, batch]))
    choice = _choose(numbers[0, :1] if rates.choice == "batch" else numbers[0], names, rates)
    draws = [tf.transpose(x) for x in tf.unstack(tf.reshape(numbers[2:], [slots, kinds, batch]), axis=1)]
    chosen = {name: (choice == place) & (lengths > 0) for place, name in enumerate(names)}

    masked = replaced = other = pick = swapped = None
    moves = _moves(lengths, size, rates, chosen, numbers[1], draws[0][:, :size])
    if takes or "mask" in chosen:
        positions = _positions(draws[0], lengths, rates, chosen)
        if "mask" in chosen:
            masked = chosen["mask"][:, None] & positions[:, :size]
        if "substitute" in chosen:
            replaced = chosen["substitute"][:, None] & positions[:, :size]
        if "insert" in chosen:
            new_slots = chosen["insert"][:, None] & positions
            *moves["insert"], is_new = operators.insert_index(lengths, size, new_slots)
            replaced = is_new if replaced is None else replaced | is_new
    if takes and similar:
        pick = draws[1][:, :size]
    elif takes:
        row, step = operators.steps_of_others(lengths, draws[1][:, :size], draws[2][:, :size])
        other = row * size + step
    if "word_drop" in chosen:
        drops = length_mask(lengths, size) & (draws[0][:, :size] < rates.word_drop_rate)
        swapped = chosen["word_drop"][:, None] & drops

    steps = tf.range(size)[None, :]
    source, new_lengths = tf.tile(steps, [batch, 1]), lengths
    for name, (moved, kept) in moves.items():
        source = tf.where(chosen[name][:, None], moved, source)
        new_lengths = tf.where(chosen[name], kept, new_lengths)
    emptied = None
    shorter = [chosen[name] for name in ("crop", "crop_remove", "item_drop") if name in chosen]
    if shorter:
        emptied = tf.reduce_any(shorter, axis=0)[:, None] & (steps >= new_lengths[:, None])
    return Change(new_lengths, source, emptied, masked, replaced, other, pick, swapped)


def _choose(draws: tf.Tensor, names: Sequence[str], rates: AugmentRates) -> tf.Tensor:
    """Returns the place of an operator in `names` for each draw in [0, 1)."""
    if rates.operator_weights is None:
        return tf.minimum(tf.cast(draws * len(names), tf.int32), len(names) - 1)
    bounds = list(itertools.accumulate(rates.operator_weights))
    passed = [draws >= bound / bounds[-1] for bound in bounds[:-1]]
    return tf.reduce_sum(tf.cast(tf.stack([tf.zeros_like(draws, tf.bool), *passed]), tf.int32), axis=0)


def _moves(
    lengths: tf.Tensor,
    size: int | tf.Tensor,
    rates: AugmentRates,
    chosen: Mapping[str, tf.Tensor],
    start_draw: tf.Tensor,
    draws: tf.Tensor,
) -> dict[str, Any]:
    """Returns the source of each step and the new lengths, for each operator that only moves or drops."""
    moves: dict[str, Any] = {}
    for name, index in (("crop", operators.crop_index), ("crop_remove", operators.crop_remove_index)):
        if name in chosen:
            rate = getattr(rates, f"{name}_rate")
            moves[name] = index(lengths, size, rate, rates.min_crop_len, start_draw)
    keys, kept = {}, {"reorder": lengths}
    if "reorder" in chosen:
        keys["reorder"] = operators.reorder_keys(lengths, rates.reorder_rate, start_draw, draws)
    if "item_drop" in chosen:
        drop = operators.item_drop_keys(lengths, rates.item_drop_rate, draws)
        keys["item_drop"], kept["item_drop"] = drop
    if keys:  # one sort for both, as a row has one operator
        both = list(keys.values())
        merged = both[0] if len(both) == 1 else tf.where(chosen["reorder"][:, None], *both)
        order = tf.argsort(merged, axis=-1, stable=True)
        moves |= {name: (order, kept[name]) for name in keys}
    return moves


def _positions(
    draws: tf.Tensor, lengths: tf.Tensor, rates: AugmentRates, chosen: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """Returns the places that masks, substitutions and insertions choose: one sort for all three."""
    among, counts = lengths, tf.zeros_like(lengths)
    for name in ("mask", "substitute", "insert"):
        if name in chosen:
            share = floor_share(lengths, getattr(rates, f"{name}_rate"))
            counts = tf.where(chosen[name], share, counts)
            if name == "insert":
                among = tf.where(chosen[name], lengths + share, among)
    return operators.choose_positions(draws, among, counts)
