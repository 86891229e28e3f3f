"""Makes up rows, so that a config can be tried and timed without data."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from easyssl.data.quarantine import BadRows
from easyssl.data.rows import START, Chunk, Column, Position, object_array, select_columns

_LENGTHS = 0  # key of the random numbers that all lists of a row share


@dataclasses.dataclass(frozen=True)
class Cells:
    """What the cells of a column look like: lists of values, usually of one.

    Attributes:
        entries: The values that occur; None draws numbers.
        low: Least number.
        high: Numbers are below it.
        whole: Whether numbers are whole.
        separator: Between the values of a cell.
        length: Number of values in a cell; 0 draws it from 1 to `max_length`, alike for all columns of a row.
        max_length: See `length`.
        pair: Text between a value and a further number from 0 to 1; `""` for values alone.
    """

    entries: tuple[str, ...] | None = None
    low: float = 0.0
    high: float = 1.0
    whole: bool = False
    separator: str = ""
    length: int = 1
    max_length: int = 10
    pair: str = ""


class DummyReader:
    """Makes up the rows of a file that there is not.

    What is in a cell is a function of the seed, the file's name, the column and the row. Whole numbers are
    drawn with a skew, small ones being the frequent ones, as ids are.

    Args:
        columns: The columns.
        cells: What their cells look like; by default numbers from 0 to 1.
        select: Names of the columns to keep. Default: all.
        rows: Rows in a file.
        seed: Start of the random numbers.
        block_size: Rows that are made at once.

    Example:
        >>> reader = DummyReader([Column("age", "INT32")], {"age": Cells(high=9, whole=True)}, rows=5)
        >>> chunk, = reader.read("train", BadRows())
        >>> len(chunk), chunk.columns["age"].dtype
        (5, dtype('int32'))
    """

    def __init__(
        self,
        columns: Sequence[Column],
        cells: Mapping[str, Cells],
        *,
        select: Sequence[str] | None = None,
        rows: int = 3200,
        seed: int = 2020,
        block_size: int = 4096,
    ) -> None:
        self.columns = select_columns(columns, select)
        self.block_size = block_size
        self._cells = {column.name: cells.get(column.name, Cells()) for column in columns}
        self._rows = rows
        self._seed = seed

    def size(self, path: str) -> int:
        """Returns the number of rows of a file, in place of its bytes."""
        return self._rows

    def read(self, path: str, bad_rows: BadRows, start: Position = START) -> Iterator[Chunk]:
        """Yields the rows from `start` on; none is malformed."""
        for first in range(start.offset, self._rows, self.block_size):
            count = min(self.block_size, self._rows - first)
            end = Position(first + count, first + count + 1)
            columns = {column.name: self._column(column, path, first, count) for column in self.columns}
            lines = np.arange(first + 1, first + count + 1)
            yield Chunk(columns, lines, path, Position(first, first + 1), end)

    def _column(self, column: Column, path: str, first: int, count: int) -> np.ndarray:
        cells = self._cells[column.name]
        key = (self._seed, _key(path), first)
        if column.type != "STRING":
            numbers = _numbers(cells, uniforms(count, *key, _key(column.name)))
            return (numbers != 0 if column.type == "BOOL" else numbers).astype(column.dtype)
        if cells.length:
            lengths = np.full(count, cells.length)
        else:
            lengths = 1 + np.floor(uniforms(count, *key, _LENGTHS) * cells.max_length).astype(int)
        texts = _texts(cells, uniforms(int(lengths.sum()), *key, _key(column.name)))
        if cells.pair:
            more = uniforms(len(texts), *key, _key(column.name), 1)
            texts = [f"{text}{cells.pair}{number:.4f}" for text, number in zip(texts, more, strict=True)]
        ends = np.cumsum(lengths)
        spans = zip(ends - lengths, ends, strict=True)
        return object_array([cells.separator.join(texts[a:b]).encode() for a, b in spans])


def _numbers(cells: Cells, drawn: np.ndarray) -> np.ndarray:
    """Returns the numbers for draws from [0, 1); of entries that are no numbers, their places."""
    if cells.entries is not None:
        places = _places(cells.entries, drawn)
        try:
            return np.array([float(entry) for entry in cells.entries])[places]
        except ValueError:
            return places
    if cells.whole:
        return np.floor(cells.low + drawn**3 * (cells.high - cells.low))
    return cells.low + drawn * (cells.high - cells.low)


def _texts(cells: Cells, drawn: np.ndarray) -> list[str]:
    if cells.entries is not None:
        return [cells.entries[place] for place in _places(cells.entries, drawn)]
    form = "{:.0f}" if cells.whole else "{:.4f}"
    return [form.format(number) for number in _numbers(cells, drawn)]


def _places(entries: Sequence[str], drawn: np.ndarray) -> np.ndarray:
    return np.floor(drawn * len(entries)).astype(int)


def uniforms(count: int, *key: int) -> np.ndarray:
    """Returns numbers in [0, 1), a function of `key`: raw bits, whose stream NumPy keeps."""
    bits = np.random.PCG64(np.random.SeedSequence(list(key))).random_raw(count)
    return (bits >> np.uint64(11)) * 2.0**-53


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") + 1
