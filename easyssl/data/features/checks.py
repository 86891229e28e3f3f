"""Whether the fields of a feature fit its type, its columns and one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyssl.data.features.types import COMBINERS, VECTOR_COMBINERS, FeatureSpec
from easyssl.errors import nearest

if TYPE_CHECKING:
    from easyssl.data.features.read import FeatureReader

_USED_BY = {
    "hash_bucket_size": ("id", "tag", "combo", "lookup", "id sequence"),
    "vocab_list": ("id", "tag", "id sequence"),
    "vocab_file": ("id", "tag", "id sequence"),
    "num_buckets": ("id", "tag", "raw", "id sequence", "raw sequence"),
    "boundaries": ("raw", "raw sequence"),
    "min_val": ("raw", "raw sequence"),
    "max_val": ("raw", "raw sequence"),
    "normalizer_fn": ("raw", "raw sequence"),
    "raw_input_dim": ("raw",),
    "kv_separator": ("tag", "lookup"),
    "seq_multi_sep": ("raw", "id sequence", "raw sequence"),
    "max_seq_len": ("id sequence", "raw sequence"),
    "sequence_combiner": ("id sequence", "raw sequence"),
    "sequence_length": ("raw sequence",),
    "sub_feature_type": ("id sequence", "raw sequence"),
    "empty_sequence": ("id sequence", "raw sequence"),
    "keep_steps": ("id sequence", "raw sequence"),
    "combo_join_sep": ("combo",),
    "combo_input_seps": ("combo",),
    "lookup_max_sel_elem_num": ("lookup",),
    "expression": ("expr",),
}


def unused_fields(feature_type: str, element: str) -> list[str]:
    """Returns the fields that features of a type do not read.

    Args:
        feature_type: Such as `"TagFeature"`.
        element: `"IdFeature"` or `"RawFeature"`, what a step of a sequence is.
    """
    if feature_type == "PassThroughFeature":
        return []
    what = feature_type.removesuffix("Feature").lower()
    if what == "sequence":
        what = f"{element.removesuffix('Feature').lower()} sequence"
    return [field for field, users in _USED_BY.items() if what not in users]


def check_feature(reader: FeatureReader, spec: FeatureSpec) -> None:
    """Checks a feature.

    Args:
        reader: Its reader, for the fields that are set, the columns, and errors.
        spec: What was read.

    Raises:
        ConfigError: At the field that is wrong.
    """
    _check_columns(reader, spec)
    if spec.type == "RawFeature" and spec.raw_input_dim < 1:
        raise reader.error("raw_input_dim", "must be at least 1, found 0")
    if spec.kind == "value_sequence":
        if spec.sequence_length < 1:
            raise reader.error("sequence_length", "must be at least 1, found 0")
        if spec.seq_multi_sep:
            raise reader.error("seq_multi_sep", "numbers need boundaries to have several values per step")
    if spec.type == "LookupFeature" and spec.lookup_max_sel_elem_num < 1:
        found = spec.lookup_max_sel_elem_num
        raise reader.error("lookup_max_sel_elem_num", f"must be at least 1, found {found}")
    _check_separators(reader, spec)
    _check_combiner(reader, spec)


def _check_columns(reader: FeatureReader, spec: FeatureSpec) -> None:
    """The types of columns that the feature's cells need."""
    name = spec.inputs[0]
    kind = reader.columns[name]
    decimal = kind in ("FLOAT", "DOUBLE")
    if spec.type == "SequenceFeature" and (decimal or kind == "BOOL"):
        raise reader.error("", f"a sequence needs a STRING column, '{name}' is {kind}")
    if spec.type == "LookupFeature" and reader.columns[spec.inputs[1]] != "STRING":
        found = reader.columns[spec.inputs[1]]
        raise reader.error("", f"a map needs a STRING column, '{spec.inputs[1]}' is {found}")
    if spec.type == "RawFeature" and kind != "STRING" and (spec.raw_input_dim > 1 or spec.seq_multi_sep):
        raise reader.error("", f"vectors need a STRING column, '{name}' is {kind}")
    if spec.element == "IdFeature" and spec.buckets is not None:
        if decimal and spec.buckets.kind == "integer":
            raise reader.error("num_buckets", f"needs whole numbers, but column '{name}' is {kind}")
        for name in spec.inputs if spec.type == "ComboFeature" else spec.inputs[:1]:
            kind = reader.columns[name]
            if kind in ("FLOAT", "DOUBLE") and spec.precision < 1:
                raise reader.error("", f"column '{name}' is {kind}: ids of it need precision above 0")


def _check_separators(reader: FeatureReader, spec: FeatureSpec) -> None:
    if spec.type in ("TagFeature", "LookupFeature", "SequenceFeature", "RawFeature"):
        _check_separator(reader, "separator", spec.separator, whole=spec.is_sequence)
    if spec.type == "LookupFeature" and not reader.is_set("kv_separator"):
        raise reader.error("", "LookupFeature needs kv_separator, which parts keys from values")
    if spec.type in ("TagFeature", "LookupFeature") and reader.is_set("kv_separator"):
        _check_separator(reader, "kv_separator", spec.kv_separator, whole=True)
        if spec.type == "TagFeature" and len(spec.inputs) == 2:
            raise reader.error("kv_separator", "weights stand in the second column already; use only one way")
    if spec.type in ("SequenceFeature", "RawFeature") and reader.is_set("seq_multi_sep"):
        _check_separator(reader, "seq_multi_sep", spec.seq_multi_sep)
    if spec.combo_input_seps and len(spec.combo_input_seps) != len(spec.inputs):
        found = f"{len(spec.combo_input_seps)} for {len(spec.inputs)} columns"
        raise reader.error("combo_input_seps", f"has one entry per column, found {found}")
    for separator in filter(None, spec.combo_input_seps):
        _check_separator(reader, "combo_input_seps", separator)


def _check_separator(reader: FeatureReader, field: str, separator: str, whole: bool = False) -> None:
    if not separator:
        raise reader.error(field, "is empty")
    if not whole and not separator.isascii():
        raise reader.error(field, f"every byte of it separates, so it must be ASCII, found '{separator}'")


def _check_combiner(reader: FeatureReader, spec: FeatureSpec) -> None:
    valid: tuple[str, ...] = COMBINERS
    if spec.type == "RawFeature" and spec.seq_multi_sep:
        if not reader.is_set("combiner"):
            raise reader.error("seq_multi_sep", f"needs combiner, one of {', '.join(VECTOR_COMBINERS)}")
        valid = ("mean", "sum") if spec.embedding_dim else VECTOR_COMBINERS
    if spec.combiner not in valid:
        raise reader.error(
            "combiner", f"no combiner is called '{spec.combiner}'{nearest(spec.combiner, valid)}"
        )
