"""Readers: from files of one format to chunks of raw columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from easyssl.data.quarantine import BadRows
from easyssl.data.rows import START, Chunk, Column, Position


class Reader(Protocol):
    """Reads files of one format.

    Attributes:
        columns: The columns that chunks have.
        block_size: How much goes into a chunk; the chunks of a file are a function of it and the file.
    """

    columns: tuple[Column, ...]
    block_size: int

    def read(self, path: str, bad_rows: BadRows, start: Position = START) -> Iterator[Chunk]:
        """Yields the good rows of a file from `start` on, in the file's order.

        `start` is the start of the file, or the end of a chunk that was read before: reading from there
        yields the chunks that followed. Optional columns that the file lacks are not among a chunk's
        columns.
        """
        ...
