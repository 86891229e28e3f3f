"""Raw columns that losses read beside the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LossColumn:
    """A raw column that only losses read; it need not be a feature of any group.

    Attributes:
        column: Name of the raw column.
        equals: The text to compare its cells with. Defaults to None: rows are grouped by their cells.
    """

    column: str
    equals: str | None = None

    @property
    def key(self) -> str:
        """The name under which losses find it among the labels."""
        return f"{self.column}/group" if self.equals is None else f"{self.column}={self.equals}"

    def read(self, cells: np.ndarray) -> np.ndarray:
        """Returns what losses read.

        Args:
            cells: `[batch]`, bytes or numbers.

        Returns:
            `[batch]`: the number of the row's group in this batch, from 0, int64; or with `equals`, 1 where
            the cell has that text and 0 elsewhere, float32.

        Example:
            >>> LossColumn("user").read(np.array([b"b", b"a", b"b"], object)).tolist()
            [0, 1, 0]
            >>> LossColumn("user", "a").read(np.array([b"b", b"a", b"b"], object)).tolist()
            [0.0, 1.0, 0.0]
        """
        if self.equals is None:
            seen: dict[object, int] = {}
            groups = (seen.setdefault(cell, len(seen)) for cell in cells.tolist())
            return np.fromiter(groups, np.int64, len(cells))
        same = (_text(cell) == self.equals for cell in cells.tolist())
        return np.fromiter(same, np.float32, len(cells))


def _text(cell: object) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
