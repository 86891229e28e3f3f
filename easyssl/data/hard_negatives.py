"""Hard negatives: items that a file lists for single users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from easyssl.data.item_file import Items
from easyssl.data.rows import Column
from easyssl.data.user_items import ItemsOfUser, read_weighted_items

HARD_NEGATIVES = "hard_neg_indices"
"""What says for which rows the last items of a batch are; see `negatives.SampledRows.hard`."""


class HardNegatives:
    """Draws, for each row of a batch, from the items that are listed for its user.

    A row gets all of them, or if there are more than `count`, so many, drawn one after the other in
    proportion to their weights. The row's own item is none of its negatives. The file is read before the
    first draw.

    Args:
        path: A file of items by user with weights, see `user_items.read_weighted_items`.
        user_column: The column of the rows that holds user ids.
        id_column: The column of the rows that holds item ids.
        count: Items per row at most.

    Example:
        >>> hard = HardNegatives("skipped.tsv", Column("user"), Column("item"), 4)  # doctest: +SKIP
    """

    def __init__(self, path: str, user_column: Column, id_column: Column, count: int) -> None:
        self.path = path
        self.user_column = user_column
        self.id_column = id_column
        self.count = count
        self._listed: Mapping[Any, ItemsOfUser] | None = None

    def draw(
        self, users: Sequence[Any], ids: Sequence[Any], items: Items, stream: np.random.PCG64
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws for one batch.

        Args:
            users: User id of each row.
            ids: Item id of each row.
            items: The items that there are.
            stream: Random numbers.

        Returns:
            The row and the number of each item among those of its row, `[hard, 2]` int64 in the order of
            the rows, and the places of the items in `items`, `[hard]`.

        Raises:
            DataError: If the file is malformed.
        """
        if self._listed is None:
            self._listed = read_weighted_items(self.path, self.user_column, self.id_column, items)
        rows, places = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
        for row, (user, own) in enumerate(zip(users, ids, strict=True)):
            listed = self._listed.get(user)
            if listed is None:
                continue
            kept = listed.places != items.places.get(own, -1)
            chosen = self._choose(listed.places[kept], listed.weights[kept], stream)
            rows.append(np.stack([np.full(len(chosen), row), np.arange(len(chosen))], axis=1))
            places.append(chosen)
        return np.concatenate(rows), np.concatenate(places)

    def _choose(self, places: np.ndarray, weights: np.ndarray, stream: np.random.PCG64) -> np.ndarray:
        if len(places) <= self.count:
            return places
        # The first arrivals of independent processes whose rates are the weights.
        uniform = ((stream.random_raw(len(places)) >> 11) + 0.5) * 2.0**-53
        arrivals = -np.log(uniform) / weights
        return places[np.sort(np.argsort(arrivals, kind="stable")[: self.count])]
