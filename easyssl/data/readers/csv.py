"""Reads delimited text files."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from easyssl.data.cells import check_default, convert, empty_cells
from easyssl.data.files import ByteStream, compression_of
from easyssl.data.quarantine import BadRows, shown
from easyssl.data.readers.csv_split import BadRow, Rows, split_block, split_header
from easyssl.data.rows import START, Chunk, Column, Position, keep_rows, select_columns
from easyssl.errors import DataError, nearest

# A row longer than this is malformed, so that a missing line feed or closing quote cannot fill the memory.
MAX_ROW_BYTES = 1 << 24

_BOM = b"\xef\xbb\xbf"


@dataclasses.dataclass(frozen=True)
class _Layout:
    """What the beginning of a file says: where which column is, and where the rows start."""

    columns: tuple[tuple[Column, int], ...]
    width: int
    start: Position
    hint: str = ""  # what else the number of columns could be


class CsvReader:
    """Reads CSV files: RFC 4180 quotes, CR LF or LF, gzip by name, an optional header line.

    Malformed rows go to `BadRows` with one of the reasons `column_count`, `empty_line`, `bad_quote`,
    `bad_number`, `bad_boolean`, `non_finite`, `overflow`, `row_too_long`, and, for damaged gzip files,
    `truncated` or `bad_compression`.

    Args:
        columns: Columns of the files. Without a header they are all columns in the files' order. With a
            header, order does not matter, files may have further columns and may lack those that are not
            required.
        may_lack: Without a header: sets of names, one of which a file may lack as a whole. The number of its
            columns tells which; the first set of that size is taken. Default: what is not required.
        select: Names of the columns to keep; the others are neither converted nor checked. Default: all.
        separator: One byte between cells.
        with_header: Whether the first line of each file has the columns' names.
        quoting: Whether quoted cells are understood. If not, a quote is text like any other.
        compression: `"GZIP"` or `""`, which goes by the file's name.
        block_size: Bytes that are read and converted at once.

    Raises:
        ValueError: If an argument cannot be, such as a separator that is a quote, or a default value that is
            not of its column's type.

    Example:
        >>> reader = CsvReader([Column("clicked", "INT32"), Column("user_id")])
        >>> for chunk in reader.read("train.csv", BadRows()):  # doctest: +SKIP
        ...     print(chunk.columns["user_id"])
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        select: Sequence[str] | None = None,
        may_lack: Sequence[Collection[str]] | None = None,
        separator: bytes = b",",
        with_header: bool = False,
        quoting: bool = True,
        compression: str = "",
        block_size: int = 1 << 20,
    ) -> None:
        if len(separator) != 1 or separator in b'"\r\n':
            raise ValueError(
                f"separator should be one byte, not a quote or line end. Received: {separator!r}"
            )
        self.columns = select_columns(columns, select)
        self.block_size = block_size
        if may_lack is None:
            may_lack = [[column.name for column in columns if not column.required]]
        self._layouts = _layouts(columns, may_lack)
        self._separator = separator
        self._with_header = with_header
        self._quoting = quoting
        self._compression = compression
        for column in self.columns:
            check_default(column)

    def read(self, path: str, bad_rows: BadRows, start: Position = START) -> Iterator[Chunk]:
        """Yields the rows of a file from `start` on, a block at a time.

        Raises:
            DataError: If the file cannot be read, its header lacks a column, or a row is malformed and may
                not be skipped.
        """
        with ByteStream(path, compression_of(path, self._compression)) as stream:
            layout = self._read_layout(stream)
            position = max(start, layout.start)
            stream.seek(position.offset)
            pending = b""
            size = self.block_size
            while True:
                # A chunk is always made of the first `size` bytes from its start, so that reading from any
                # chunk's start gives the same chunks.
                if len(pending) < size:
                    pending += stream.read(size - len(pending))
                final = len(pending) < size
                whole = pending[:size].rfind(b"\n") + 1
                block = pending if final and not stream.damage else pending[:whole]
                rows = None
                if block:
                    rows = self._split(block, position.line, layout.width, final, size >= MAX_ROW_BYTES)
                if not final and (rows is None or not rows.consumed):
                    if size < MAX_ROW_BYTES:
                        size *= 2
                        continue
                    pending, position = _skip_line(stream, pending, position, bad_rows)
                    size = self.block_size
                    continue
                if rows is not None:
                    chunk = self._convert(rows, layout, path, position, bad_rows)
                    pending = pending[rows.consumed :]
                    position = chunk.end
                    size = self.block_size
                    yield chunk
                if final:
                    break
            if stream.damage:
                reason, detail = stream.damage
                bad_rows.add(
                    path, position.line, reason, pending, f"{detail}, expected more rows or the file's end"
                )

    def _split(self, block: bytes, line: int, width: int, final: bool, close: bool) -> Rows:
        return split_block(block, line, width, self._separator, self._quoting, final, close)

    def _convert(self, rows: Rows, layout: _Layout, path: str, start: Position, bad_rows: BadRows) -> Chunk:
        columns = {}
        empty = {}
        bad = [
            dataclasses.replace(row, detail=row.detail + layout.hint) if row.reason == "column_count" else row
            for row in rows.bad
        ]
        keep = np.ones(len(rows.lines), bool)
        for column, place in layout.columns:
            columns[column.name], bad_cells = convert(rows.cells[place], column)
            marks = empty_cells(rows.cells[place], column)
            if marks is not None:
                empty[column.name] = marks
            for index, reason, detail in bad_cells:
                if keep[index]:
                    keep[index] = False
                    text = rows.text(index, self._separator)
                    bad.append(BadRow(int(rows.lines[index]), reason, detail, text))
        for row in sorted(bad, key=lambda row: row.line):
            bad_rows.add(path, row.line, row.reason, row.text, row.detail)
        lines = rows.lines
        if not keep.all():
            columns, empty, lines = keep_rows(columns, keep), keep_rows(empty, keep), lines[keep]
        end = Position(start.offset + rows.consumed, rows.end_line)
        return Chunk(columns, lines, path, start, end, empty)

    def _read_layout(self, stream: ByteStream) -> _Layout:
        """Reads header and width from the beginning of the file."""
        path = stream.path
        head = stream.read(max(self.block_size, len(_BOM)))
        if stream.damage and not head:
            raise DataError(f"{path}:1: {stream.damage[0]}: {stream.damage[1]}")
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path}:1: the file is UTF-16 text, expected UTF-8; convert it")
        start = Position(len(_BOM) if head.startswith(_BOM) else 0, 1)
        head = head[start.offset :]
        if self._with_header:
            while b"\n" not in head and len(head) < MAX_ROW_BYTES and (more := stream.read(self.block_size)):
                head += more
            return self._header_layout(path, head, start)
        width = next(iter(self._layouts))
        if len(self._layouts) > 1 and head:
            width = min(self._layouts, key=lambda width: self._first_row(head, width))
        places = {column.name: place for place, column in enumerate(self._layouts[width])}
        kept = tuple((column, places[column.name]) for column in self.columns if column.name in places)
        return _Layout(kept, width, start, self._other_widths(width))

    def _other_widths(self, width: int) -> str:
        """Returns what to add to a message about rows that have not `width` columns."""
        every = next(iter(self._layouts.values()))
        texts = []
        for other, columns in self._layouts.items():
            lacking = ", ".join(f"'{column.name}'" for column in every if column not in columns)
            if other != width:
                texts.append(f"{other} without {lacking}" if lacking else f"{other} with all columns")
        return f"; a file may also have {' or '.join(texts)}, in all of its rows" if texts else ""

    def _first_row(self, head: bytes, width: int) -> float:
        """Returns the line of the first row with that many cells."""
        if not width:
            return float("inf")
        lines = self._split(head, 1, width, True, False).lines
        return float(lines[0]) if len(lines) else float("inf")

    def _header_layout(self, path: str, head: bytes, start: Position) -> _Layout:
        line, line_feed, _ = head.partition(b"\n")
        names = split_header(line.removesuffix(b"\r"), self._separator, self._quoting)
        if not line.strip():
            raise DataError(f"{path}:1: the header line is empty, expected the columns' names")
        if names is None:
            raise DataError(f"{path}:1: bad_quote: the header's quotes are malformed: {shown(line)}")
        kept = []
        for column in self.columns:
            if column.name in names:
                if names.count(column.name) > 1:
                    raise DataError(f"{path}:1: column '{column.name}' is in the header twice")
                kept.append((column, names.index(column.name)))
            elif column.required:
                raise DataError(
                    f"{path}:1: the header has no column '{column.name}'{nearest(column.name, names)}"
                )
        end = Position(start.offset + len(line) + len(line_feed), 2)
        return _Layout(tuple(kept), len(names), end)


def _layouts(columns: Sequence[Column], may_lack: Sequence[Collection[str]]) -> dict[int, tuple[Column, ...]]:
    """Returns the columns of a file without a header by their number, all columns first."""
    layouts = {len(columns): tuple(columns)}
    for names in may_lack:
        rest = tuple(column for column in columns if column.name not in names)
        layouts.setdefault(len(rest), rest)
    return layouts


def _skip_line(
    stream: ByteStream, pending: bytes, position: Position, bad_rows: BadRows
) -> tuple[bytes, Position]:
    """Leaves out a line that is too long; returns what follows it, and where that is."""
    text = pending
    offset = position.offset
    while (end := pending.find(b"\n")) < 0:
        offset += len(pending)
        pending = stream.read(1 << 20)
        if not pending:
            break
    end += 1
    detail = f"a row of more than {MAX_ROW_BYTES} bytes: {shown(text[:100])}"
    bad_rows.add(stream.path, position.line, "row_too_long", text, detail)
    return pending[end:], Position(offset + end, position.line + 1)
