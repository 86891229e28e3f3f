"""Items by user from a file: what a sampler does not draw for them, or what are hard negatives for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from easyssl.data.cells import convert
from easyssl.data.item_file import Items
from easyssl.data.rows import Column
from easyssl.errors import DataError

_WEIGHT = Column("weight", "DOUBLE")


@dataclasses.dataclass(frozen=True)
class ItemsOfUser:
    """The items that a file lists for a user.

    Attributes:
        places: Their places among the items, increasing.
        weights: Their weights, above 0.
    """

    places: np.ndarray
    weights: np.ndarray


def read_user_items(
    path: str, user_column: Column, item_column: Column, items: Items
) -> Mapping[Any, np.ndarray]:
    """Reads a file of choices.

    It is tab separated. The first line is a header; then the first cell is a user's id and the second an
    item's, further ones, such as weights, are not read. Items that the item file lacks are passed over: they
    cannot be drawn.

    Args:
        path: The file.
        user_column: The column of the rows that holds user ids.
        item_column: The column of the rows that holds item ids.
        items: The item file.

    Returns:
        Places in `items` by user id, as the user column holds it.

    Raises:
        DataError: If the file cannot be read, or at the first line that is malformed.
    """
    found: dict[Any, list[int]] = {}
    for user, item in _pairs(path, _rows(path), user_column, item_column):
        if item in items.places:
            found.setdefault(user, []).append(items.places[item])
    return {user: np.unique(places) for user, places in found.items()}


def read_weighted_items(
    path: str, user_column: Column, item_column: Column, items: Items
) -> Mapping[Any, ItemsOfUser]:
    """Reads a file of items by user with weights.

    As for `read_user_items`, but the third cell is the weight of the item for this user, 1 where there is no
    such cell. Weights of an item that comes again add up; an item whose weight is 0 is passed over.

    Args:
        path: The file.
        user_column: The column of the rows that holds user ids.
        item_column: The column of the rows that holds item ids.
        items: The item file.

    Returns:
        The items by user id, as the user column holds it.

    Raises:
        DataError: If the file cannot be read, or at the first line that is malformed.
    """
    rows = _rows(path)
    pairs = _pairs(path, rows, user_column, item_column)
    weights = _values(path, [(number, [*cells, b"1"]) for number, cells in rows], 2, _WEIGHT)
    found: dict[Any, dict[int, float]] = {}
    for (number, _), (user, item), weight in zip(rows, pairs, weights, strict=True):
        if not weight >= 0:
            raise DataError(f"{path}:{number}: the weight is {weight:g}, expected at least 0")
        if weight > 0 and item in items.places:
            own = found.setdefault(user, {})
            own[items.places[item]] = own.get(items.places[item], 0.0) + weight
    return {
        user: ItemsOfUser(np.array(sorted(own)), np.array([own[place] for place in sorted(own)]))
        for user, own in found.items()
    }


def _rows(path: str) -> list[tuple[int, list[bytes]]]:
    """Returns the lines after the header with their numbers."""
    try:
        with open(path, "rb") as file:
            lines = file.read().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}") from None
    rows = [(n, line.rstrip(b"\r").split(b"\t")) for n, line in enumerate(lines, start=1) if line.strip()]
    for number, cells in rows:
        if len(cells) < 2 or not cells[0] or not cells[1]:
            raise DataError(f"{path}:{number}: expected a user id and an item id, separated by tabs")
    return rows[1:]


def _pairs(
    path: str, rows: list[tuple[int, list[bytes]]], user_column: Column, item_column: Column
) -> list[tuple[Any, Any]]:
    users = _values(path, rows, 0, Column(user_column.name, user_column.type))
    chosen = _values(path, rows, 1, Column(item_column.name, item_column.type))
    return list(zip(users, chosen, strict=True))


def _values(path: str, rows: list[tuple[int, list[bytes]]], place: int, column: Column) -> list[Any]:
    values, bad = convert([cells[place] for _, cells in rows], column)
    if bad:
        raise DataError(f"{path}:{rows[bad[0].row][0]}: {bad[0].reason}: {bad[0].detail}")
    return values.tolist()
