"""One feature, looked up: what a feature group works with."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf


class LookedUp(NamedTuple):
    """The tensors of one feature.

    Attributes:
        value: `[batch, width]`, or the steps of a sequence, `[batch, seq_len, width]`.
        lengths: int32 `[batch]` of a sequence, otherwise None.
        pooled: `[batch, width]` of a sequence that is pooled, otherwise None.
        embedding: What was read from a trained table, float32, otherwise None.
    """

    value: tf.Tensor
    lengths: tf.Tensor | None
    pooled: tf.Tensor | None
    embedding: tf.Tensor | None


def kind_of(feature: Mapping[str, Any], inputs: Mapping[str, tf.Tensor], trained: bool) -> Hashable:
    """Returns what is equal for features that give tensors of equal types and shapes, or equal errors.

    Args:
        feature: As `group_features` describes it.
        inputs: Transformed features by name.
        trained: Whether its table is trained.
    """
    apart = {"name", "table", "initializer", "pretrained"}
    if feature["kind"] not in ("values", "value_sequence"):
        apart.add("rows")
    settings = {key: value for key, value in feature.items() if key not in apart}
    read = [inputs.get(feature["name"] + part) for part in ("", "/length", "/weight")]
    return (
        json.dumps(settings, sort_keys=True),
        feature["table"] is None,
        trained,
        *(None if tensor is None else (tensor.dtype, str(tensor.shape)) for tensor in read),
    )


def same_length(sequences: list[tf.Tensor], only_shapes: bool = False) -> list[tf.Tensor]:
    """Pads all sequences with zero steps to the longest of them.

    Args:
        sequences: `[batch, seq_len, width]` each.
        only_shapes: Whether placeholders will do, one for sequences that are alike. Defaults to False.
    """
    static = {sequence.shape[1] for sequence in sequences}
    if len(sequences) < 2 or (len(static) == 1 and None not in static):
        return sequences
    if only_shapes:
        kinds = [(s.dtype, s.shape[0], s.shape[2]) for s in sequences]
        padded = {kind: tf.compat.v1.placeholder(kind[0], [kind[1], None, kind[2]]) for kind in set(kinds)}
        return [padded[kind] for kind in kinds]
    steps = [tf.shape(sequence)[1] for sequence in sequences]
    longest = tf.reduce_max(steps)
    return [
        tf.pad(sequence, [[0, 0], [0, longest - own], [0, 0]])
        for sequence, own in zip(sequences, steps, strict=True)
    ]
