"""Reads TFRecord files of `tf.train.Example` records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from google.protobuf.message import DecodeError

from easyssl.data.cells import check_default
from easyssl.data.files import ByteStream, compression_of
from easyssl.data.quarantine import BadRows
from easyssl.data.readers.examples import parse_examples
from easyssl.data.readers.record_frames import HEADER, Frames, find_frames, find_header
from easyssl.data.rows import START, Chunk, Column, Position, keep_rows, select_columns
from easyssl.errors import DataError, nearest


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
            raise ValueError(
                f"compression should be '', 'GZIP' or 'ZLIB'. Received: compression={compression!r}"
            )
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
                reason, detail = stream.damage or (
                    "truncated",
                    f"the file ends {len(pending)} bytes into a record",
                )
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
        records = [frames.record(buffer, index) for index in np.flatnonzero(frames.intact).tolist()]
        values, empty, bad = parse_examples(records, columns)
        numbers = lines[frames.intact]
        malformed = [(int(numbers[index]), reason, records[index], detail) for index, reason, detail in bad]
        for index in np.flatnonzero(~frames.intact).tolist():
            detail = "the record's data do not match its checksum"
            malformed.append((int(lines[index]), "checksum", frames.record(buffer, index), detail))
        for line, reason, text, detail in sorted(malformed):
            bad_rows.add(path, line, reason, text, detail)
        keep = np.ones(len(records), bool)
        keep[[index for index, _, _ in bad]] = False
        return Chunk(keep_rows(values, keep), numbers[keep], path, start, end, keep_rows(empty, keep))

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
        for index in np.flatnonzero(frames.intact).tolist():
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
