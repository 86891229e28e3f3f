"""Where a data set stands after a batch, so that reading can go on from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class WindowStart:
    """Where a window of rows starts within an epoch.

    Attributes:
        file: Place of its first file in the epoch's order of files.
        offset: Where it starts in that file, see `rows.Position`.
        line: Line or record number there.
        window: Number of windows before it.
        rows: Number of rows before it, over all workers that read the same files.
    """

    file: int = 0
    offset: int = 0
    line: int = 1
    window: int = 0
    rows: int = 0


@dataclasses.dataclass(frozen=True)
class Cursor:
    """The position between two batches of a data set.

    Attributes:
        epoch: Number of full passes before it.
        batch: Batches of this epoch before it.
        rows: Rows of this epoch before it, in this worker's batches.
        start: Where the window with the next row starts; None stands for the epoch's start.
        skip: Rows of this worker to pass over from `start` on.
        data: Fingerprint of the files and settings that the position belongs to; `""` fits any.

    Example:
        >>> Cursor.from_dict(Cursor(epoch=1).as_dict()) == Cursor(epoch=1)
        True
    """

    epoch: int = 0
    batch: int = 0
    rows: int = 0
    start: WindowStart | None = None
    skip: int | None = None
    data: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns the cursor as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cursor:
        """Returns the cursor that `as_dict` was called on."""
        start = values.get("start")
        return cls(**{**values, "start": None if start is None else WindowStart(**start)})

    def to_skip(self) -> int:
        """Returns how many of the worker's rows to pass over from `start` on."""
        return self.rows if self.skip is None else self.skip
