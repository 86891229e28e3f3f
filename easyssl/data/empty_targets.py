"""The warning about labels and weights that are empty."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection

import numpy as np

from easyssl.data.windows import Rows


class EmptyTargets:
    """Warns of the first empty cells of each label and weight; the config language takes them for 0.

    Args:
        names: Columns to watch. Readers tell which cells are empty of those with `Column.mark_empty`.
        warn: Called with the warning, once for each column; by default it goes to stderr.
    """

    def __init__(self, names: Collection[str] = (), warn: Callable[[str], None] | None = None) -> None:
        self._watched = set(names)
        self._warn = warn_on_stderr if warn is None else warn

    def look(self, rows: Rows) -> None:
        """Looks at the rows that are read next."""
        for name in sorted(self._watched & set(rows.empty)):
            places = np.flatnonzero(rows.empty[name])
            if not len(places):
                continue
            self._watched.discard(name)
            first = places[0]
            self._warn(
                f"{rows.paths[first]}:{rows.lines[first]}: column '{name}' is empty in {len(places)} of "
                f"{len(rows)} rows, here first; an empty label or weight counts as 0; write a value, or set "
                "default_val if that is meant"
            )


def warn_on_stderr(text: str) -> None:
    """Prints a warning."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""  # a progress line may stand there
    sys.stderr.write(f"{clear}warning: {text}\n")
