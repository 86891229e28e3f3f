"""Which items each user has chosen, from a file: what a sampler does not draw for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from easyssl.data.cells import convert
from easyssl.data.item_file import Items
from easyssl.data.rows import Column
from easyssl.errors import DataError


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
    try:
        with open(path, "rb") as file:
            lines = file.read().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}") from None
    rows = [(n, line.rstrip(b"\r").split(b"\t")) for n, line in enumerate(lines, start=1) if line.strip()]
    for number, cells in rows:
        if len(cells) < 2 or not cells[0] or not cells[1]:
            raise DataError(f"{path}:{number}: expected a user id and an item id, separated by tabs")
    users = _ids(path, rows[1:], 0, user_column)
    chosen = _ids(path, rows[1:], 1, item_column)
    found: dict[Any, list[int]] = {}
    for user, item in zip(users, chosen, strict=True):
        if item in items.places:
            found.setdefault(user, []).append(items.places[item])
    return {user: np.unique(places) for user, places in found.items()}


def _ids(path: str, rows: list[tuple[int, list[bytes]]], place: int, column: Column) -> list[Any]:
    values, bad = convert([cells[place] for _, cells in rows], Column(column.name, column.type))
    if bad:
        raise DataError(f"{path}:{rows[bad[0].row][0]}: {bad[0].reason}: {bad[0].detail}")
    return values.tolist()
