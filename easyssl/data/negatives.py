"""Items drawn from a file as further negatives of a batch, and those that are listed for its users.

The draws are a function of the seed and the position in the data, so a resumed run draws what the
uninterrupted one would have drawn.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from easyssl.data.hard_negatives import HARD_NEGATIVES, HardNegatives
from easyssl.data.item_file import Items, read_items
from easyssl.data.rows import Column
from easyssl.data.user_items import read_user_items
from easyssl.errors import DataError


@dataclasses.dataclass(frozen=True)
class SampledRows:
    """Items that were drawn for a batch.

    Attributes:
        columns: Values by item column, `[items]` each: those for all rows, then those for single rows.
        path: The item file.
        lines: Line of each item, `[items]`.
        hard: For whom the last items are: the row, and the number of the item among those of the row,
            `[hard, 2]` int64. None if there are none for single rows.
    """

    columns: Mapping[str, np.ndarray]
    path: str
    lines: np.ndarray
    hard: np.ndarray | None = None

    def without(self, row: int) -> SampledRows:
        """Returns the items for a batch that a row is left out of.

        Args:
            row: Its place in the batch.
        """
        if self.hard is None:
            return self
        others = self.hard[:, 0] != row
        kept = np.concatenate([np.ones(len(self.lines) - len(others), bool), others])
        hard = self.hard[others]
        hard[:, 0] -= hard[:, 0] > row
        columns = {name: values[kept] for name, values in self.columns.items()}
        return SampledRows(columns, self.path, self.lines[kept], hard)


class NegativeSampler:
    """Draws items that are not in a batch.

    With weights, items are drawn one by one in proportion to them, so that an item may come twice. Without,
    each item is as likely as any other and comes once at most. The file is read before the first draw.

    Args:
        path: The item file, see `item_file.read_items`.
        id_column: The column of the rows that holds item ids.
        attributes: The columns that the file packs, in its order.
        count: Items per batch.
        seed: Start of the draws.
        delimiter: What stands between packed values.
        weighted: Whether to draw by weight.
        columns: Names of the columns to return. Default: all of `attributes`.
        where: Beginning of an error about the number of items.
        user_column: The column of the rows that holds user ids, with `choices` or `hard`.
        choices: A file of items by user, see `user_items.read_user_items`. What a user of the batch has
            chosen is not drawn for the batch either.
        hard: Adds items for single rows.

    Example:
        >>> sampler = NegativeSampler("items.tsv", Column("item"), [Column("item")], 100)  # doctest: +SKIP
        >>> sampler.draw(np.array([b"17"], object), 0, 1).columns["item"].shape  # doctest: +SKIP
        (100,)
    """

    def __init__(
        self,
        path: str,
        id_column: Column,
        attributes: Sequence[Column],
        count: int,
        seed: int = 2020,
        *,
        delimiter: str = ":",
        weighted: bool = True,
        columns: Collection[str] | None = None,
        where: str = "",
        user_column: Column | None = None,
        choices: str = "",
        hard: HardNegatives | None = None,
    ) -> None:
        self.hard = hard
        self.user_column = user_column
        self.choices = choices
        self.path = path
        self.id_column = id_column
        self.attributes = tuple(attributes)
        self.count = count
        self.seed = seed
        self.delimiter = delimiter
        self.weighted = weighted
        names = [column.name for column in attributes]
        self.columns = tuple(name for name in names if columns is None or name in columns)
        self.where = where

    @functools.cached_property
    def items(self) -> Items:
        """The items of the file.

        Raises:
            DataError: If the file is malformed.
        """
        return read_items(self.path, self.id_column, self.attributes, self.delimiter, self.weighted)

    @functools.cached_property
    def chosen(self) -> Mapping[Any, np.ndarray]:
        """Places of the items that each user has chosen.

        Raises:
            DataError: If the file is malformed.
        """
        if self.user_column is None or not self.choices:
            return {}
        return read_user_items(self.choices, self.user_column, self.id_column, self.items)

    @property
    def read_columns(self) -> list[str]:
        """The columns of the rows that drawing looks at."""
        return [column.name for column in (self.id_column, self.user_column) if column is not None]

    def draw_for(self, columns: Mapping[str, np.ndarray], *key: int) -> SampledRows:
        """Draws for one batch of rows.

        Args:
            columns: At least `read_columns` by name, `[batch]` each.
            *key: See `draw`.
        """
        users = () if self.user_column is None else columns[self.user_column.name].tolist()
        return self.draw(columns[self.id_column.name], *key, users=users)

    @functools.cached_property
    def _cumulative(self) -> np.ndarray:
        return np.cumsum(self.items.weights)

    def draw(self, ids: np.ndarray, *key: int, users: Sequence[Any] = ()) -> SampledRows:
        """Draws for one batch.

        Args:
            ids: Item ids of the batch `[batch]`; these items are not drawn.
            *key: Numbers of at least 0 that tell this batch from all others.
            users: User ids of the batch `[batch]`; what they have chosen is not drawn.

        Raises:
            DataError: If the file is malformed, or has too few items.
        """
        items = self.items
        excluded = np.zeros(len(items), bool)
        excluded[[items.places[name] for name in ids.tolist() if name in items.places]] = True
        for user in set(users) & self.chosen.keys():
            excluded[self.chosen[user]] = True
        stream = np.random.PCG64(np.random.SeedSequence([self.seed, *key]))
        draw = self._by_weight if self.weighted else self._uniformly
        places = draw(stream, excluded) if self.count else np.zeros(0, np.int64)
        hard = None
        if self.hard is not None:
            hard, listed = self.hard.draw(users, ids.tolist(), items, stream)
            places = np.concatenate([places, listed])
        columns = {name: items.columns[name][places] for name in self.columns}
        return SampledRows(columns, self.path, items.lines[places], hard)

    def fingerprint(self) -> list[Any]:
        """Returns what the draws depend on beside the position in the data, as JSON values."""
        described: list[Any] = [] if self.hard is None else [self.hard.count]
        for path in filter(None, (self.path, self.choices, self.hard.path if self.hard else "")):
            try:
                described += [os.path.basename(path), os.path.getsize(path)]
            except OSError as error:
                raise DataError(f"{path}: cannot be opened: {error.strerror}") from None
        return [*described, self.count, self.weighted, self.seed]

    def _uniformly(self, stream: np.random.PCG64, excluded: np.ndarray) -> np.ndarray:
        left = len(excluded) - int(excluded.sum())
        if left < self.count:
            raise self._too_few(f"{left} items that are not in the batch, and {self.count} are to be drawn")
        picked = np.zeros(0, np.int64)
        while len(picked) < self.count:
            drawn = (stream.random_raw(2 * self.count) % len(excluded)).astype(np.int64)
            picked = np.concatenate([picked, drawn[~excluded[drawn]]])
            picked = picked[np.sort(np.unique(picked, return_index=True)[1])]
        return picked[: self.count]

    def _by_weight(self, stream: np.random.PCG64, excluded: np.ndarray) -> np.ndarray:
        weights = self.items.weights
        allowed = ~excluded & (weights > 0)
        if not allowed.any():
            raise self._too_few("no item with a weight that is not in the batch")
        cumulative = self._cumulative
        if np.sum(weights, where=allowed) < cumulative[-1] / 2:  # most draws would be in vain
            cumulative = np.cumsum(np.where(allowed, weights, 0.0))
        picked = np.zeros(0, np.int64)
        while len(picked) < self.count:
            share = (stream.random_raw(2 * self.count) >> 11) * 2.0**-53
            drawn = np.searchsorted(cumulative, share * cumulative[-1], side="right")
            drawn = drawn[drawn < len(allowed)]  # a product that was rounded up to the whole
            picked = np.concatenate([picked, drawn[allowed[drawn]]])
        return picked[: self.count]

    def _too_few(self, text: str) -> DataError:
        return DataError(f"{self.where}{self.path}: has {text}")


def with_sampled(columns: Mapping[str, np.ndarray], sampled: SampledRows | None) -> dict[str, np.ndarray]:
    """Returns columns `[batch]` with the sampled items behind the rows of each item column.

    If some are for single rows, a further column, `HARD_NEGATIVES`, says for which.

    Args:
        columns: Name to array `[batch]`.
        sampled: What was drawn, or None.

    Example:
        >>> drawn = SampledRows({"item": np.array([7, 8])}, "items.tsv", np.array([2, 3]))
        >>> rows = with_sampled({"item": np.array([1]), "user": np.array([5])}, drawn)
        >>> rows["item"].tolist(), rows["user"].tolist()
        ([1, 7, 8], [5])
    """
    joined = dict(columns)
    if sampled is None:
        return joined
    for name, values in sampled.columns.items():
        joined[name] = np.concatenate([columns[name], values])
    if sampled.hard is not None:
        joined[HARD_NEGATIVES] = sampled.hard
    return joined
