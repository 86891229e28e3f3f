"""Reads TFRecord files of `tf.train.Example` records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from easyssl.data.cells import check_default, convert
from easyssl.data.files import ByteStream, compression_of
from easyssl.data.quarantine import BadRows
from easyssl.data.readers.record_frames import HEADER, Frames, find_frames, find_header
from easyssl.data.rows import START, Chunk, Column, Position, object_array, select_columns
from easyssl.errors import DataError, nearest

# How each column type is stored in an Example: the member of `tf.train.Feature` and the type to parse as.
_STORED = {
    "INT32": ("int64_list", "int64"),
    "INT64": ("int64_list", "int64"),
    "BOOL": ("int64_list", "int64"),
    "FLOAT": ("float_list", "float32"),
    "DOUBLE": ("float_list", "float32"),
    "STRING": ("bytes_list", "string"),
}


class TFRecordReader:
    """Reads TFRecord files whose records are `tf.train.Example`, one value per feature.

    A feature that a record lacks, or has without a value, is an empty cell. Malformed records go to `BadRows`
    with one of the reasons `truncated`, `checksum`, `bad_record`, `wrong_type`, `value_count`, `overflow`,
    `non_finite`, `bad_boolean`, `bad_compression`. After a record whose data are damaged reading goes on with
    the next one; after one whose length is damaged it goes on with the next sound header.

    Args:
        columns: The features to read. Others in the records are passed over.
        select: Names of the columns to keep. Default: all.
        compression: `"GZIP"`, `"ZLIB"`, or `""`, which means GZIP for files named `*.gz` and none for others.
        block_size: Bytes that are read and parsed at once.

    Raises:
        ValueError: If a default value is not of its column's type, or the compression is unknown.

    Example:
        >>> reader = TFRecordReader([Column("clicked", "INT64")], compression="GZIP")
        >>> sum(len(chunk) for chunk in reader.read("train.tfrecord", BadRows()))  # doctest: +SKIP
        1000
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        select: Sequence[str] | None = None,
        compression: str = "",
        block_size: int = 1 << 20,
    ) -> None:
        if compression not in ("", "GZIP", "ZLIB"):
            raise ValueError(f"compression should be '', 'GZIP' or 'ZLIB'. Received: compression={compression!r}")
        self.columns = select_columns(columns, select)
        self.block_size = block_size
        self._compression = compression
        for column in self.columns:
            check_default(column)

    def read(self, path: str, bad_rows: BadRows, start: Position = START) -> Iterator[Chunk]:
        """Yields the records of a file from `start` on, a block at a time.

        Raises:
            DataError: If the file cannot be read, lacks a column in all of its first records, or a record is
                malformed and may not be skipped.
        """
        with ByteStream(path, compression_of(path, self._compression)) as stream:
            columns = self._present_columns(stream)
            stream.seek(start.offset)
            position = start
            pending = b""
            size = self.block_size
            while True:
                # As with CSV, a chunk is a function of where it starts.
                if len(pending) < size:
                    pending += stream.read(size - len(pending))
                buffer = pending[:size]
                final = len(pending) < size
                frames = find_frames(buffer)
                if not len(frames.starts) and frames.needed and not final:
                    size = max(frames.needed, 2 * size)
                    continue
                if len(frames.starts):
                    end = Position(position.offset + frames.end, position.line + len(frames.starts))
                    yield self._chunk(buffer, frames, columns, path, position, end, bad_rows)
                    position = end
                    pending = pending[frames.end :]
                elif not frames.needed:
                    pending, position = _find_next(stream, pending, position, bad_rows)
                size = self.block_size
                if final and frames.needed:
                    break
            if stream.damage or pending:
                reason, detail = stream.damage or ("truncated", f"the file ends {len(pending)} bytes into a record")
                bad_rows.add(path, position.line, reason, pending, f"{detail}, expected whole records")

    def _chunk(
        self,
        buffer: bytes,
        frames: Frames,
        columns: Sequence[Column],
        path: str,
        start: Position,
        end: Position,
        bad_rows: BadRows,
    ) -> Chunk:
        lines = np.arange(start.line, end.line)
        records = [frames.record(buffer, index) for index in np.flatnonzero(frames.intact)]
        values, bad = parse_examples(records, columns)
        numbers = lines[frames.intact]
        malformed = [(int(numbers[index]), reason, records[index], detail) for index, reason, detail in bad]
        for index in np.flatnonzero(~frames.intact):
            detail = "the record's data do not match its checksum"
            malformed.append((int(lines[index]), "checksum", frames.record(buffer, index), detail))
        for line, reason, text, detail in sorted(malformed):
            bad_rows.add(path, line, reason, text, detail)
        keep = np.ones(len(records), bool)
        keep[[index for index, _, _ in bad]] = False
        return Chunk({name: array[keep] for name, array in values.items()}, numbers[keep], path, start, end)

    def _present_columns(self, stream: ByteStream) -> list[Column]:
        """Returns the columns that the first records have; a misspelt name would else read as empty cells."""
        from tensorflow.train import Example

        head = stream.read(self.block_size)
        while (frames := find_frames(head)).needed > len(head) and not len(frames.starts):
            more = stream.read(frames.needed - len(head))
            if not more:
                break
            head += more
        if stream.damage and not head:
            raise DataError(f"{stream.path}:1: {stream.damage[0]}: {stream.damage[1]}")
        missing = {column.name: column for column in self.columns}
        seen: set[str] = set()
        for index in np.flatnonzero(frames.intact):
            try:
                names = Example.FromString(frames.record(head, index)).features.feature.keys()
            except DecodeError:  # reported when the record is read
                continue
            seen.update(names)
            for name in missing.keys() & names:
                del missing[name]
            if not missing:
                break
        for column in missing.values():
            if seen and column.required and not column.default:
                raise DataError(
                    f"{stream.path}:1: no record has a feature '{column.name}'{nearest(column.name, seen)}; "
                    f"give it a default_val if that is right"
                )
        absent = {column.name for column in missing.values() if not column.required and seen}
        return [column for column in self.columns if column.name not in absent]


def _find_next(
    stream: ByteStream, pending: bytes, position: Position, bad_rows: BadRows
) -> tuple[bytes, Position]:
    """Leaves out a record whose length is damaged; returns what follows from the next sound header on."""
    detail = "the record's length does not match its checksum"
    bad_rows.add(stream.path, position.line, "checksum", pending[:HEADER], detail)
    begin = 1
    offset = position.offset
    while (found := find_header(pending, begin)) < 0:
        more = stream.read(1 << 20)
        if not more:
            return b"", Position(offset + len(pending), position.line + 1)
        # The last bytes may be the beginning of a header.
        passed = max(begin, len(pending) - HEADER + 1)
        pending = pending[passed:] + more
        offset += passed
        begin = 0
    return pending[found:], Position(offset + found, position.line + 1)


def parse_examples(
    records: Sequence[bytes], columns: Sequence[Column]
) -> tuple[dict[str, np.ndarray], list[tuple[int, str, str]]]:
    """Parses serialized `tf.train.Example` records.

    Args:
        records: Serialized records.
        columns: The features to read, one value each.

    Returns:
        Name to values `[records]`, and (index, reason, detail) of each malformed record, whose values are
        arbitrary.
    """
    import tensorflow as tf

    if not records or not columns:
        return {column.name: np.zeros(len(records), column.dtype) for column in columns}, []
    spec = {
        column.name: tf.io.FixedLenFeature([], _STORED[column.type][1], _stored_default(column))
        for column in columns
    }
    try:
        with tf.device("/CPU:0"):
            parsed = tf.io.parse_example(object_array(records), spec)
    except tf.errors.InvalidArgumentError:
        return _parse_each(records, columns)
    return _check_values({name: tensor.numpy() for name, tensor in parsed.items()}, columns)


def _stored_default(column: Column) -> Any:
    value = convert([b""], column)[0][0]
    return value if column.type == "STRING" else value.item()


def _check_values(
    values: Mapping[str, np.ndarray], columns: Sequence[Column]
) -> tuple[dict[str, np.ndarray], list[tuple[int, str, str]]]:
    """Casts stored values to the columns' types; returns malformed rows once each."""
    result = {}
    bad: dict[int, tuple[int, str, str]] = {}
    for column in columns:
        stored = values[column.name]
        if column.type == "STRING":
            result[column.name] = stored
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
    return result, [bad[index] for index in sorted(bad)]


def _parse_each(
    records: Sequence[bytes], columns: Sequence[Column]
) -> tuple[dict[str, np.ndarray], list[tuple[int, str, str]]]:
    """Parses record by record, to find the malformed ones among good ones."""
    from tensorflow.train import Example

    values: dict[str, list[Any]] = {column.name: [] for column in columns}
    defaults = {column.name: _stored_default(column) for column in columns}
    bad = []
    for index, record in enumerate(records):
        row = dict(defaults)
        try:
            features = Example.FromString(record).features.feature
        except DecodeError:
            bad.append((index, "bad_record", f"the record's {len(record)} bytes are not a tf.train.Example"))
            features = {}
        for column in columns:
            problem = _read_feature(features, column, row)
            if problem:
                bad.append((index, *problem))
                break
        for name, value in row.items():
            values[name].append(value)
    stored = {
        column.name: object_array(values[column.name])
        if column.type == "STRING"
        else np.array(values[column.name], _STORED[column.type][1])
        for column in columns
    }
    result, unfit = _check_values(stored, columns)
    known = {index for index, _, _ in bad}
    return result, sorted([*bad, *(entry for entry in unfit if entry[0] not in known)])


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
