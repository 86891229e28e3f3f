"""What all generators of rows do: check their options, and tell what is known about the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from easyssl.errors import DataError
from easyssl.metrics import AUC

_ROWS_AT_ONCE = 10_000


def check_options(name: str, rows: int, test_rows: int | None, seed: int) -> int:
    """Checks the options that all generators have.

    Args:
        name: The data set, for messages.
        rows: Rows to train on.
        test_rows: Rows to test with; a fifth of `rows` if None.
        seed: Start of the random stream.

    Returns:
        The number of rows to test with.

    Raises:
        DataError: For numbers of rows below 1 and a seed below 0.
    """
    test_rows = max(1, rows // 5) if test_rows is None else test_rows
    for option, value in (("rows", rows), ("test_rows", test_rows)):
        if value < 1:
            raise DataError(f"{name}: {option} is {value}; expected at least 1")
    if seed < 0:
        raise DataError(f"{name}: seed is {seed}; expected 0 or more")
    return test_rows


def known_facts(
    click: np.ndarray, probability: np.ndarray, test: slice, seed: int, columns: Sequence[str]
) -> dict[str, Any]:
    """Returns what `about.json` tells: the rate of clicks, and the AUC of the true probabilities."""
    best = AUC()
    best.update(click[test], {"probs": probability[test]})
    return {
        "seed": seed,
        "click_rate": round(float(click.mean()), 6),
        "best_reachable_auc": round(best.result(), 6),
        "columns": list(columns),
    }


def text_lines(
    cells: Mapping[str, Callable[[slice], Sequence[str]]], separator: str, start: int, stop: int
) -> Iterator[str]:
    """Yields rows as lines of a file, in pieces, so that the text of all of them is never held.

    Args:
        cells: Column to a function from rows to their cells.
        separator: Between cells.
        start: The first row.
        stop: The row behind the last one.
    """
    for first in range(start, stop, _ROWS_AT_ONCE):
        rows = slice(first, min(first + _ROWS_AT_ONCE, stop))
        for row in zip(*(cell(rows) for cell in cells.values()), strict=True):
            yield separator.join(row) + "\n"
