"""Parses `tf.train.Example` records: a block at once, or one by one to find the malformed ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from easyssl.data.cells import convert, empty_cells
from easyssl.data.rows import Column, object_array

# How each column type is stored in an Example: the member of `tf.train.Feature` and the type to parse as.
_STORED = {
    "INT32": ("int64_list", "int64"),
    "INT64": ("int64_list", "int64"),
    "BOOL": ("int64_list", "int64"),
    "FLOAT": ("float_list", "float32"),
    "DOUBLE": ("float_list", "float32"),
    "STRING": ("bytes_list", "string"),
}
# An Example is its field `features`, so it starts with that field's tag. Other bytes, such as text, may parse
# as an Example of unknown fields, which would read as a row of empty cells.
_FEATURES_FIELD = b"\x0a"


Arrays = dict[str, np.ndarray]
Parsed = tuple[Arrays, Arrays, list[tuple[int, str, str]]]
"""Values and empty cells by column, and (index, reason, detail) of each malformed record."""


def parse_examples(records: Sequence[bytes], columns: Sequence[Column]) -> Parsed:
    """Parses serialized `tf.train.Example` records.

    Args:
        records: Serialized records.
        columns: The features to read, one value each.

    Returns:
        Name to values `[records]`; name to the cells `[records]` that were empty and got another value, for
        columns with `mark_empty`; and (index, reason, detail) of each malformed record, whose values are
        arbitrary.
    """
    import tensorflow as tf

    if not records or not columns:
        return {column.name: np.zeros(len(records), column.dtype) for column in columns}, {}, []
    spec = {}
    for column in columns:
        kind = tf.as_dtype(_STORED[column.type][1])
        if _tells_empty(column):
            spec[column.name] = tf.io.RaggedFeature(kind)
        else:
            spec[column.name] = tf.io.FixedLenFeature([], kind, _stored_default(column))
    if not all(record.startswith(_FEATURES_FIELD) for record in records):
        return _parse_each(records, columns)
    try:
        with tf.device("/CPU:0"):
            parsed = tf.io.parse_example(object_array(records), spec)
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # the second where the message quotes bytes
        return _parse_each(records, columns)
    stored, empty = {}, {}
    for column in columns:
        if not _tells_empty(column):
            stored[column.name] = parsed[column.name].numpy()
            continue
        lengths = parsed[column.name].row_lengths().numpy()
        if lengths.max() > 1:
            return _parse_each(records, columns)
        empty[column.name] = lengths == 0
        stored[column.name] = np.full(len(records), _stored_default(column), _STORED[column.type][1])
        stored[column.name][lengths == 1] = parsed[column.name].flat_values.numpy()
    return _check_values(stored, empty, columns)


def _tells_empty(column: Column) -> bool:
    """Whether a missing value has to be told from a default; text shows by itself that it is empty."""
    return column.mark_empty and column.type != "STRING"


def _stored_default(column: Column) -> Any:
    value = convert([b""], column)[0][0]
    return value if column.type == "STRING" else value.item()


def _check_values(values: Arrays, empty: Arrays, columns: Sequence[Column]) -> Parsed:
    """Casts stored values to the columns' types; returns malformed rows once each."""
    result = {}
    bad: dict[int, tuple[int, str, str]] = {}
    for column in columns:
        stored = values[column.name]
        if column.type == "STRING":
            default = column.default.encode()
            marks = empty_cells(stored.tolist(), column)
            if marks is not None:
                empty[column.name] = marks
            result[column.name] = object_array([cell or default for cell in stored]) if default else stored
            continue
        if column.dtype.kind == "f":
            wrong, reason, expected = ~np.isfinite(stored), "non_finite", f"{column.type} that is finite"
        elif column.type == "BOOL":
            wrong, reason, expected = (stored < 0) | (stored > 1), "bad_boolean", "BOOL (1 or 0)"
        else:
            limits = np.iinfo(column.dtype)
            wrong = (stored < limits.min) | (stored > limits.max)
            reason, expected = "overflow", f"{column.type} (from {limits.min} to {limits.max})"
        for index in np.flatnonzero(wrong):
            detail = f"column '{column.name}' holds {stored[index]}, expected {expected}"
            bad.setdefault(int(index), (int(index), reason, detail))
        result[column.name] = stored.astype(column.dtype)
    return result, empty, [bad[index] for index in sorted(bad)]


def _parse_each(records: Sequence[bytes], columns: Sequence[Column]) -> Parsed:
    """Parses record by record, to find the malformed ones among good ones."""
    from tensorflow.train import Example

    values: dict[str, list[Any]] = {column.name: [] for column in columns}
    defaults = {column.name: _stored_default(column) for column in columns}
    empty = {column.name: np.zeros(len(records), bool) for column in columns if _tells_empty(column)}
    bad = []
    for index, record in enumerate(records):
        row: dict[str, Any] = {}
        try:
            example = Example.FromString(record)
            if not example.HasField("features"):
                raise DecodeError
            features = example.features.feature
        except DecodeError:
            bad.append((index, "bad_record", f"the record's {len(record)} bytes are not a tf.train.Example"))
            features = {}
        for column in columns:
            problem = _read_feature(features, column, row)
            if problem:
                bad.append((index, *problem))
                break
        for name, default in defaults.items():
            values[name].append(row.get(name, default))
            if name in empty:
                empty[name][index] = name not in row
    stored = {
        column.name: object_array(values[column.name])
        if column.type == "STRING"
        else np.array(values[column.name], _STORED[column.type][1])
        for column in columns
    }
    result, empty, unfit = _check_values(stored, empty, columns)
    known = {index for index, _, _ in bad}
    return result, empty, sorted([*bad, *(entry for entry in unfit if entry[0] not in known)])


def _read_feature(features: Any, column: Column, row: dict[str, Any]) -> tuple[str, str] | None:
    """Puts a feature's value into `row`; returns reason and detail if it is malformed."""
    if column.name not in features:
        return None
    feature = features[column.name]
    kind = feature.WhichOneof("kind")
    wanted = _STORED[column.type][0]
    if kind is None:
        return None
    if kind != wanted:
        return "wrong_type", f"column '{column.name}' holds a {kind}, expected a {wanted} for {column.type}"
    held = getattr(feature, kind).value
    if len(held) > 1:
        return "value_count", f"column '{column.name}' holds {len(held)} values, expected one"
    if held:
        row[column.name] = held[0]
    return None
