"""Made-up rows in the columns of Criteo's display advertising challenge, whose click probabilities are known.

A row is a label, 13 numbers that count something and 26 hashed ids, tabs between them, no header line. What
the columns mean was never published, so no story is told here either. Numbers and ids are missing as often
as in the public set, numbers have long tails and go up together, and most ids are rare.

A click's logit is a sum of terms: bent functions of the logarithms of the numbers, which may rise and fall
again; whether a number is missing; the frequent ids; and how the ids of some columns go with each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from easyssl.data.prepare.draws import intercept, sigmoid
from easyssl.data.prepare.files import Prepared, make_folder, write_about, write_lines
from easyssl.data.prepare.generated import check_options, known_facts, text_lines
from easyssl.data.prepare.hashed_ids import make_ids, together
from easyssl.data.prepare.records import write_records

NUMBERS = tuple(f"I{i}" for i in range(1, 14))
IDS = tuple(f"C{i}" for i in range(1, 27))
COLUMNS = ("label", *NUMBERS, *IDS)
SEPARATOR = "\t"
CLICK_RATE = 0.256

# Of each number: share of empty cells, median, spread of the logarithm.
_NUMBERS = (
    (0.45, 1.5, 1.2),
    (0.0, 3.0, 2.0),
    (0.22, 6.0, 1.4),
    (0.22, 5.0, 1.0),
    (0.03, 2100.0, 2.0),
    (0.22, 37.0, 1.6),
    (0.04, 4.0, 1.6),
    (0.0, 8.0, 1.1),
    (0.04, 45.0, 1.3),
    (0.45, 0.6, 0.6),
    (0.04, 1.2, 1.0),
    (0.77, 0.4, 1.0),
    (0.22, 5.0, 1.1),
)
_MAY_BE_NEGATIVE = {"I2"}
# Of each id: how many there are; and the columns of which cells are empty, with their share.
_COUNTS = (
    *(500, 500, 5000, 5000, 150, 15, 4000, 300, 3, 5000, 3000, 5000, 2500),
    *(26, 4000, 5000, 10, 2500, 1000, 4, 5000, 14, 15, 4000, 70, 3000),
)
_EMPTY_TOGETHER = {
    0.03: ("C3", "C4", "C12", "C16", "C21", "C24"),
    0.12: ("C6",),
    0.44: ("C19", "C20", "C25", "C26"),
    0.76: ("C22",),
}
_TELLING_PAIRS = (("C1", "C2"), ("C2", "C14"), ("C5", "C17"), ("C6", "C8"), ("C9", "C23"), ("C11", "C15"))


def generate_criteo(
    out: str | os.PathLike[str],
    *,
    rows: int = 50_000,
    test_rows: int | None = None,
    seed: int = 2020,
    tfrecord: bool = False,
) -> Prepared:
    """Writes `train.tsv`, `test.tsv` and `about.json`.

    Args:
        out: Folder; created if absent. Files of the same names are replaced.
        rows: Rows to train on, at least 1.
        test_rows: Rows to test with, at least 1; a fifth of `rows` if None.
        seed: The same arguments give the same files.
        tfrecord: Whether to write the same rows as `train.tfrecord` and `test.tfrecord`, too.

    Returns:
        What was written; `facts["best_reachable_auc"]` is the AUC of the true click probabilities on the
        test rows, which no model can beat but by luck.

    Raises:
        DataError: If an option is out of range or the folder cannot be written.
    """
    test_rows = check_options("criteo", rows, test_rows, seed)
    folder = make_folder(out)
    total = rows + test_rows
    table = simulate(total, seed)
    parts = {"train": (0, rows), "test": (rows, total)}
    written = {}
    for name, part in parts.items():
        written[f"{name}.tsv"] = write_lines(folder / f"{name}.tsv", table.lines(*part))
    if tfrecord:
        for name, part in parts.items():
            written[f"{name}.tfrecord"] = write_records(folder / f"{name}.tfrecord", table.records(*part))
    facts = known_facts(table.click, table.probability, slice(rows, total), seed, COLUMNS)
    prepared = Prepared(folder, written, facts)
    write_about(prepared)
    return prepared


@dataclass(frozen=True)
class Displays:
    """Rows, in no order."""

    numbers: dict[str, np.ndarray]  # column -> [rows] whole numbers, some below 0
    ids: dict[str, np.ndarray]  # column -> [rows] text
    empty: dict[str, np.ndarray]  # column -> [rows] whether the cell is empty
    probability: np.ndarray  # [rows] of a click
    click: np.ndarray  # [rows] 0 or 1

    def lines(self, start: int, stop: int) -> Iterator[str]:
        """Yields the rows `start` to `stop` as lines of the file."""
        cells = {name: lambda rows, name=name: self._cells(name, rows) for name in COLUMNS}
        return text_lines(cells, SEPARATOR, start, stop)

    def records(self, start: int, stop: int) -> Iterator[dict[str, int | float | str]]:
        """Yields the rows `start` to `stop` as values by column, without empty cells; numbers are floats."""
        for row in range(start, stop):
            values: dict[str, int | float | str] = {"label": int(self.click[row])}
            values |= {name: float(self.numbers[name][row]) for name in NUMBERS if not self.empty[name][row]}
            yield values | {name: str(self.ids[name][row]) for name in IDS if not self.empty[name][row]}

    def _cells(self, name: str, rows: slice) -> list[str]:
        if name == "label":
            return [str(value) for value in self.click[rows].tolist()]
        values = self.numbers[name] if name in self.numbers else self.ids[name]
        cells: list[str] = np.where(self.empty[name][rows], "", values[rows].astype(str)).tolist()
        return cells


def simulate(rows: int, seed: int = 2020) -> Displays:
    """Draws rows.

    Args:
        rows: At least 1.
        seed: The same seed and number of rows give the same rows.

    Returns:
        The rows, with the probability of each click.
    """
    rng = np.random.default_rng(seed)
    empty = {name: np.zeros(rows, bool) for name in IDS}
    for name, (share, *_) in zip(NUMBERS, _NUMBERS, strict=True):
        empty[name] = rng.random(rows) < share
    for share, names in _EMPTY_TOGETHER.items():
        empty |= dict.fromkeys(names, rng.random(rows) < share)

    logit = np.zeros(rows)
    numbers = {}
    activity = rng.normal(0, 1, rows)
    for name, (_, median, spread) in zip(NUMBERS, _NUMBERS, strict=True):
        height = 0.5 * activity + np.sqrt(0.75) * rng.normal(0, 1, rows)
        value = np.floor(median * np.exp(spread * height)).astype(int)
        if name in _MAY_BE_NEGATIVE:
            value -= rng.integers(0, 3, rows)
        numbers[name] = value
        # What can be told from the number itself, not from what it was drawn with.
        level = (np.log1p(np.maximum(value, 0)) - np.log1p(median)) / spread
        slope, bend, absent = rng.normal(0, 0.15), rng.normal(0, 0.35), rng.normal(0, 0.3)
        logit += np.where(empty[name], absent, slope * level + bend * np.cos(2 * level))

    ids, known, drawn = {}, {}, {}
    for name, count in zip(IDS, _COUNTS, strict=True):
        known[name] = make_ids(rng, count, power=1.4, weight=0.15)
        drawn[name] = known[name].draw(rng, rows)
        ids[name] = known[name].text[drawn[name]]
        logit += np.where(empty[name], 0.0, known[name].effect[drawn[name]])
    for a, b in _TELLING_PAIRS:
        value = 2 * together(known[a], known[b], drawn[a], drawn[b])
        logit += np.where(empty[a] | empty[b], 0.0, value)
    probability = sigmoid(logit + intercept(logit, CLICK_RATE))
    return Displays(numbers, ids, empty, probability, (rng.random(rows) < probability).astype(int))
