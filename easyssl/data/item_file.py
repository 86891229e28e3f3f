"""The item file of a negative sampler: every item with its weight and the values of its columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from easyssl.data.cells import BadCell, convert
from easyssl.data.quarantine import shown
from easyssl.data.rows import Column
from easyssl.errors import DataError

_EXPECTED = "expected id:int64, weight:float and feature:string, separated by tabs"


@dataclasses.dataclass(frozen=True)
class Items:
    """The items of a file.

    Attributes:
        path: The file.
        places: Item id to its place, as the id column of the rows holds it.
        weights: float64 `[items]`, from 0 on; ones if they were not read.
        columns: Values by column, `[items]` each.
        lines: Line of each item, `[items]`.
    """

    path: str
    places: Mapping[Any, int]
    weights: np.ndarray
    columns: Mapping[str, np.ndarray]
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.lines)


def read_items(
    path: str, id_column: Column, attributes: Sequence[Column], delimiter: str = ":", weighted: bool = True
) -> Items:
    """Reads an item file.

    It is tab separated. The first line names the columns, each as `name:type`: one that starts with `id`, one
    that starts with `weight`, and one that starts with `feature`, whose cells hold the values of `attributes`
    in their order, joined by the delimiter. Empty values become the column's default.

    Args:
        path: The file.
        id_column: The column of the rows that holds item ids.
        attributes: The columns that the file packs.
        delimiter: What stands between their values. Defaults to ":".
        weighted: Whether weights are needed. Defaults to True.

    Returns:
        The items.

    Raises:
        DataError: If the file cannot be read or has no items, or at the first line that is malformed.

    Example:
        >>> read_items("items.tsv", Column("item"), [Column("item"), Column("brand")])  # doctest: +SKIP
    """
    try:
        with open(path, "rb") as file:
            text = file.read().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}") from None
    numbered = [(number, line.rstrip(b"\r")) for number, line in enumerate(text.split(b"\n"), start=1)]
    rows = [(number, line.split(b"\t")) for number, line in numbered if line]
    if not rows:
        raise DataError(f"{path}: is empty, {_EXPECTED}")
    (_, header), rows = rows[0], rows[1:]
    if not rows:
        raise DataError(f"{path}: has no items after its header")
    for number, cells in rows:
        if len(cells) != len(header):
            raise DataError(f"{path}:{number}: {len(cells)} cells, expected {len(header)} separated by tabs")
    lines = np.array([number for number, _ in rows])
    ids = [cells[_place(path, header, "id")] for _, cells in rows]
    weights = np.ones(len(rows))
    if weighted:
        place = _place(path, header, "weight")
        weights = _weights(path, [cells[place] for _, cells in rows], lines)
    place = _place(path, header, "feature")
    columns = _unpack(path, [cells[place] for _, cells in rows], lines, attributes, delimiter)
    return Items(path, _places(path, ids, lines, id_column), weights, columns, lines)


def _place(path: str, header: Sequence[bytes], start: str) -> int:
    for place, name in enumerate(header):
        if name.strip().startswith(start.encode()):
            return place
    found = shown(b"\t".join(header))
    raise DataError(f"{path}:1: the header {found} has no column that starts with '{start}', {_EXPECTED}")


def _places(path: str, cells: Sequence[bytes], lines: np.ndarray, column: Column) -> dict[Any, int]:
    for line, cell in zip(lines, cells, strict=True):
        if not cell:
            raise DataError(f"{path}:{line}: the id is empty")
    ids, bad = convert(cells, Column(column.name, column.type))
    _raise_first(path, lines, bad)
    places: dict[Any, int] = {}
    for place, name in enumerate(ids.tolist()):
        first = places.setdefault(name, place)
        if first != place:
            again = f"comes a second time, after line {lines[first]}"
            raise DataError(f"{path}:{lines[place]}: the id {shown(cells[place])} {again}")
    return places


def _weights(path: str, cells: Sequence[bytes], lines: np.ndarray) -> np.ndarray:
    weights, bad = convert(cells, Column("weight", "DOUBLE"))
    _raise_first(path, lines, bad)
    negative = np.flatnonzero(weights < 0)
    if negative.size:
        place = negative[0]
        raise DataError(f"{path}:{lines[place]}: the weight is {weights[place]:g}, expected at least 0")
    if not weights.any():
        raise DataError(f"{path}: all weights are 0, so that no item can be drawn")
    return weights


def _unpack(
    path: str, cells: Sequence[bytes], lines: np.ndarray, attributes: Sequence[Column], delimiter: str
) -> dict[str, np.ndarray]:
    packed = [cell.split(delimiter.encode()) for cell in cells]
    for line, cell, values in zip(lines, cells, packed, strict=True):
        if len(values) != len(attributes):
            names = ", ".join(column.name for column in attributes)
            raise DataError(
                f"{path}:{line}: {shown(cell)} has {len(values)} values separated by '{delimiter}', expected "
                f"{len(attributes)} ({names})"
            )
    columns = {}
    for column, texts in zip(attributes, zip(*packed, strict=True), strict=True):
        columns[column.name], bad = convert(texts, column)
        _raise_first(path, lines, bad)
    return columns


def _raise_first(path: str, lines: np.ndarray, bad: Sequence[BadCell]) -> None:
    if bad:
        raise DataError(f"{path}:{lines[bad[0].row]}: {bad[0].reason}: {bad[0].detail}")
