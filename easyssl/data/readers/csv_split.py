"""Blocks of CSV text to cells.

A block without quotes is split in one step. Where quotes occur, lines are joined into records by counting
them: a record is complete where their number is even (RFC 4180, section 2).

References:
    https://www.rfc-editor.org/rfc/rfc4180
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence

import numpy as np

from easyssl.data.quarantine import shown


@dataclasses.dataclass
class BadRow:
    """A row that is left out: its line, the reason's name, what was found and expected, the raw text."""

    line: int
    reason: str
    detail: str
    text: bytes


@dataclasses.dataclass
class Rows:
    """Cells of the well-formed rows of a block.

    Attributes:
        cells: Cells of column k are `cells[k]`, in the order of the file's columns.
        lines: Line number of each row, `[rows]` int64.
        texts: Raw text of each row; None where joining the cells restores it.
        bad: The other rows.
        consumed: Bytes of the block that these rows take up; the rest is the beginning of a longer record.
        end_line: Line number of what follows.
    """

    cells: Sequence[Sequence[bytes]]
    lines: np.ndarray
    texts: Sequence[bytes] | None
    bad: list[BadRow]
    consumed: int
    end_line: int

    def text(self, index: int, separator: bytes) -> bytes:
        """Returns the raw text of a row."""
        if self.texts is not None:
            return self.texts[index]
        return separator.join(column[index] for column in self.cells)


def split_block(
    block: bytes, line: int, width: int, separator: bytes, quoting: bool, final: bool, close: bool = False
) -> Rows:
    """Splits whole lines of text into rows of `width` cells.

    Args:
        block: Text that ends with a line feed, or, if `final`, anyhow. Lines may end in CR LF.
        line: Number of its first line.
        width: Cells per row.
        separator: One byte.
        quoting: Whether cells may be quoted; if not, quotes are text like any other.
        final: Whether the file ends with the block.
        close: Whether to give up on a quote that is opened in the first row and not closed in the block.

    Returns:
        The rows. A row that is malformed by its quotes is one line long: what follows it is read anew.
    """
    quoted = quoting and b'"' in block
    if not quoted:
        rows = _split_regular(block, line, width, separator)
        if rows is not None:
            return rows
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if quoted:
        records, first_lines, texts, bad, taken = _split_quoted(lines, line, separator, final, close)
    else:
        texts = [_without_cr(text) for text in lines]
        records = [text.split(separator) for text in texts]
        first_lines = list(range(line, line + len(lines)))
        bad, taken = [], len(lines)
    good = []
    for index, record in enumerate(records):
        if len(record) == width and texts[index]:
            good.append(index)
        else:
            bad.append(_wrong_count(first_lines[index], len(record), width, texts[index]))
    if len(good) != len(records):
        records = [records[index] for index in good]
        texts = [texts[index] for index in good]
        first_lines = [first_lines[index] for index in good]
    consumed = len(block) if taken == len(lines) else sum(map(len, lines[:taken])) + taken
    cells = list(zip(*records, strict=True)) if records else [()] * width
    return Rows(cells, np.array(first_lines, np.int64), texts, bad, consumed, line + taken)


def _split_regular(block: bytes, line: int, width: int, separator: bytes) -> Rows | None:
    """Splits a block of lines of `width` cells, none of them quoted; None if some line has not so many."""
    text = block.replace(b"\r\n", b"\n") if b"\r" in block else block
    text = text[:-1] if text.endswith((b"\n", b"\r")) else text
    # With a separator before each line feed, one split finds all cells, and the first cell of each line but
    # the first is marked by the line feed.
    flat = text.replace(b"\n", separator + b"\n").split(separator)
    if len(flat) % width:
        return None
    firsts = b"".join(flat[0::width])
    count = len(flat) // width
    if firsts.count(b"\n") != count - 1 or text.count(b"\n") != count - 1:
        return None
    first_column = firsts.split(b"\n")
    if width == 1 and b"" in first_column:
        return None
    cells = [first_column, *(flat[column::width] for column in range(1, width))]
    return Rows(cells, np.arange(line, line + count), None, [], len(block), line + count)


def _split_quoted(
    lines: list[bytes], line: int, separator: bytes, final: bool, close: bool
) -> tuple[list[Sequence[bytes]], list[int], list[bytes], list[BadRow], int]:
    """Returns records, their line numbers and texts, malformed rows, and how many lines were taken."""
    records: list[Sequence[bytes]] = []
    first_lines: list[int] = []
    texts: list[bytes] = []
    bad = []
    quotes = [text.count(b'"') for text in lines]
    odd = [index for index, count in enumerate(quotes) if count % 2]
    next_odd = 0
    index = 0
    while index < len(lines):
        last = index
        if quotes[index] % 2:
            while next_odd < len(odd) and odd[next_odd] <= index:
                next_odd += 1
            if next_odd == len(odd):
                if not final and not (close and index == 0):
                    break
                bad.append(_bad_quote(line + index, _without_cr(lines[index])))
                index += 1
                continue
            last = odd[next_odd]
        text = _without_cr(lines[index] if last == index else b"\n".join(lines[index : last + 1]))
        record = _split_record(text, separator) if quotes[index] else text.split(separator)
        if record is None:
            bad.append(_bad_quote(line + index, _without_cr(lines[index])))
            index += 1
            continue
        records.append(record)
        first_lines.append(line + index)
        texts.append(text)
        index = last + 1
    return records, first_lines, texts, bad, index


@functools.cache
def _cell_pattern(separator: bytes) -> re.Pattern[bytes]:
    end = re.escape(separator)
    return re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"|([^"\n' + end + rb"]*))" + end)


def _split_record(text: bytes, separator: bytes) -> Sequence[bytes] | None:
    """Returns the cells of a record, or None if a quote is where it cannot be."""
    cells = []
    end = 0
    for match in _cell_pattern(separator).finditer(text + separator):
        if match.start() != end:
            return None
        end = match.end()
        quoted = match.group(1)
        cells.append(match.group(2) if quoted is None else quoted.replace(b'""', b'"'))
    return cells if end == len(text) + 1 else None


def split_header(text: bytes, separator: bytes, quoting: bool) -> list[str] | None:
    """Returns the names in a header line, or None if its quotes are malformed."""
    record = _split_record(text, separator) if quoting and b'"' in text else text.split(separator)
    return None if record is None else [name.decode("utf-8", "backslashreplace").strip() for name in record]


def _without_cr(text: bytes) -> bytes:
    return text[:-1] if text.endswith(b"\r") else text


def _wrong_count(line: int, found: int, width: int, text: bytes) -> BadRow:
    if not text:
        return BadRow(line, "empty_line", f"an empty line, expected {width} columns", text)
    return BadRow(line, "column_count", f"{found} columns, expected {width}: {shown(text)}", text)


def _bad_quote(line: int, text: bytes) -> BadRow:
    detail = (
        f"quotes do not match; a quoted cell is quoted as a whole, with quotes in it doubled: {shown(text)}"
    )
    return BadRow(line, "bad_quote", detail, text)
