"""The rows of an epoch in windows: as many rows as are held at once, in the order in which they are drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from easyssl.data.cursor import WindowStart
from easyssl.data.quarantine import BadRows
from easyssl.data.readers import Reader
from easyssl.data.rows import Chunk, Position, keep_rows


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows with where each came from.

    Attributes:
        columns: Name to array `[rows]`.
        lines: Line or record number of each, `[rows]` int64.
        paths: File of each, `[rows]` object array of str.
        empty: See `Chunk.empty`.
    """

    columns: Mapping[str, np.ndarray]
    lines: np.ndarray
    paths: np.ndarray
    empty: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, indices: np.ndarray) -> Rows:
        """Returns the rows at `indices`, in their order."""
        columns, empty = keep_rows(self.columns, indices), keep_rows(self.empty, indices)
        return Rows(columns, self.lines[indices], self.paths[indices], empty)


@dataclasses.dataclass(frozen=True)
class Window:
    """Rows that are shuffled among each other.

    Attributes:
        rows: The rows in the files' order.
        start: Where the window starts.
        end: Where the next one starts.
    """

    rows: Rows
    start: WindowStart
    end: WindowStart


def concatenate(pieces: Sequence[Rows]) -> Rows:
    """Joins rows. A column that some piece lacks, as optional ones may, is left out."""
    if len(pieces) == 1:
        return pieces[0]
    names = [name for name in pieces[0].columns if all(name in piece.columns for piece in pieces)]
    marked = dict.fromkeys(name for piece in pieces for name in piece.empty if name in names)
    none = [np.zeros(len(piece), bool) for piece in pieces]
    return Rows(
        {name: np.concatenate([piece.columns[name] for piece in pieces]) for name in names},
        np.concatenate([piece.lines for piece in pieces]),
        np.concatenate([piece.paths for piece in pieces]),
        {
            name: np.concatenate([p.empty.get(name, zeros) for p, zeros in zip(pieces, none, strict=True)])
            for name in marked
        },
    )


def read_windows(
    reader: Reader, files: Sequence[str], start: WindowStart, min_rows: int, bad_rows: BadRows
) -> Iterator[Window]:
    """Yields the rows of files in windows.

    Where a window ends depends only on the files and on where it starts, so that reading can begin at the
    start of any window. A window takes whole chunks until it has `min_rows` rows.

    Args:
        reader: Reads one file.
        files: Files in the order of the epoch.
        start: Where to begin.
        min_rows: Rows per window at least, as far as there are any.
        bad_rows: Takes the malformed rows.
    """
    chunks: list[Chunk] = []
    count = 0
    window = start
    for place in range(start.file, len(files)):
        begin = Position(start.offset, start.line) if place == start.file else Position()
        for chunk in reader.read(files[place], bad_rows, begin):
            if not len(chunk):
                continue
            chunks.append(chunk)
            count += len(chunk)
            if count >= min_rows:
                end = WindowStart(
                    place, chunk.end.offset, chunk.end.line, window.window + 1, window.rows + count
                )
                yield Window(_rows(chunks), window, end)
                chunks, count, window = [], 0, end
    if chunks:
        end = WindowStart(len(files), 0, 1, window.window + 1, window.rows + count)
        yield Window(_rows(chunks), window, end)


def _rows(chunks: Sequence[Chunk]) -> Rows:
    pieces = []
    for chunk in chunks:
        paths = np.empty(len(chunk), object)
        paths[:] = chunk.path
        pieces.append(Rows(chunk.columns, chunk.lines, paths, chunk.empty))
    return concatenate(pieces)


def permutation(count: int, *key: int) -> np.ndarray:
    """Returns a permutation of `range(count)` that is a function of `key`.

    It is made by sorting raw random bits, whose stream NumPy keeps from version to version, unlike that of
    its distributions.

    Args:
        count: How many numbers.
        *key: Numbers of at least 0, such as seed and epoch.

    Example:
        >>> sorted(permutation(3, 2020, 0).tolist())
        [0, 1, 2]
    """
    bits = np.random.PCG64(np.random.SeedSequence(list(key))).random_raw(count)
    return np.argsort(bits, kind="stable")
