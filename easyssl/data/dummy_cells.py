"""What made-up cells have to look like for the features and labels of a config."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from easyssl.data.features.spec import build_feature_specs
from easyssl.data.features.types import FeatureSpec
from easyssl.data.readers.dummy import Cells

if TYPE_CHECKING:
    from easyssl.config import Config

BATCHES = 100
"""Batches in a pass over made-up rows."""

_MOST_IDS, _LONGEST = 1000, 10


def dummy_cells(config: Config) -> dict[str, Cells]:
    """Returns what the cells of each column look like.

    Labels are 0 or 1, weights are 1, and a column of a feature has what the first feature that reads it can
    read. All lists of a row have the same number of values.

    Args:
        config: The config.

    Raises:
        ConfigError: If a feature is wrong.
    """
    data = config.message.data_config
    found: dict[str, Cells] = {}
    for index, name in enumerate(data.label_fields):
        width = data.label_dim[index] if index < len(data.label_dim) else 1
        separators = data.label_sep[index] if index < len(data.label_sep) else ","
        found[name] = Cells(entries=("0", "1"), length=max(1, width), separator=separators[:1])
    if data.sample_weight:
        found[data.sample_weight] = Cells(entries=("1",))
    for spec in build_feature_specs(config).values():
        for place, name in enumerate(spec.inputs):
            found.setdefault(name, _cells(spec, place))
    return found


def _cells(spec: FeatureSpec, place: int) -> Cells:
    """Returns the cells of a feature's column number `place`."""
    if spec.type == "TagFeature":
        if place == 1:  # the weights of the tags
            return Cells(separator=spec.separator, length=0)
        return _listed(_ids(spec), spec, spec.kv_separator)
    if spec.type == "LookupFeature":
        keys = Cells(high=10.0, whole=True)
        return keys if place == 0 else _listed(keys, spec, spec.kv_separator)
    if spec.type == "ExprFeature":
        return Cells(high=100.0, whole=True)
    numbers = spec.element == "RawFeature" and (spec.buckets is None or spec.buckets.kind == "boundaries")
    values = _interval(spec) if numbers else _ids(spec)
    if spec.type == "SequenceFeature":
        return _listed(values, spec)
    if spec.type == "RawFeature" and spec.raw_input_dim > 1:
        return dataclasses.replace(values, separator=spec.separator, length=spec.raw_input_dim)
    return values


def _ids(spec: FeatureSpec) -> Cells:
    if spec.buckets is not None and spec.buckets.entries:
        return Cells(entries=spec.buckets.entries)
    size = _MOST_IDS if spec.buckets is None else min(spec.buckets.size, _MOST_IDS)
    return Cells(high=float(size), whole=True)


def _interval(spec: FeatureSpec) -> Cells:
    if spec.buckets is not None and spec.buckets.boundaries:
        return Cells(low=spec.buckets.boundaries[0] - 1, high=spec.buckets.boundaries[-1] + 1)
    if spec.max_val > spec.min_val:
        return Cells(low=spec.min_val, high=spec.max_val)
    return Cells()


def _listed(values: Cells, spec: FeatureSpec, pair: str = "") -> Cells:
    longest = min(spec.sequence_length, _LONGEST) if spec.kind == "value_sequence" else _LONGEST
    return dataclasses.replace(values, separator=spec.separator, length=0, max_length=longest, pair=pair)
