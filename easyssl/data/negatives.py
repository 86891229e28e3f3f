"""Items drawn from a file as further negatives of a batch.

The draws are a function of the seed and the position in the data, so a resumed run draws what the
uninterrupted one would have drawn.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from easyssl.data.item_file import Items, read_items
from easyssl.data.rows import Column
from easyssl.data.user_items import read_user_items
from easyssl.errors import DataError, nearest

if TYPE_CHECKING:
    from easyssl.config import Config

SAMPLERS = ("negative_sampler", "negative_sampler_v2", "negative_sampler_in_memory")
"""The fields of `data_config` that are acted on here."""


@dataclasses.dataclass(frozen=True)
class SampledRows:
    """Items that were drawn for a batch.

    Attributes:
        columns: Values by item column, `[num_sample]` each.
        path: The item file.
        lines: Line of each item, `[num_sample]`.
    """

    columns: Mapping[str, np.ndarray]
    path: str
    lines: np.ndarray


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
        user_column: The column of the rows that holds user ids, with `choices`.
        choices: A file of items by user, see `user_items.read_user_items`. What a user of the batch has
            chosen is not drawn for the batch either.

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
    ) -> None:
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
        if self.user_column is None:
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
            users: User ids of the batch; what they have chosen is not drawn.

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
        places = draw(stream, excluded)
        columns = {name: items.columns[name][places] for name in self.columns}
        return SampledRows(columns, self.path, items.lines[places])

    def fingerprint(self) -> list[Any]:
        """Returns what the draws depend on beside the position in the data, as JSON values."""
        described: list[Any] = []
        for path in filter(None, (self.path, self.choices)):
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
    for name, values in ({} if sampled is None else sampled.columns).items():
        joined[name] = np.concatenate([columns[name], values])
    return joined


def sampler_field(config: Config) -> str | None:
    """Returns the path of the sampler that a config sets, such as `data_config.negative_sampler`."""
    kind = config.message.data_config.WhichOneof("sampler")
    return None if kind is None else f"data_config.{kind}"


def sampler_from_config(
    config: Config, mode: str, columns: Sequence[Column], select: Collection[str] | None = None
) -> NegativeSampler | None:
    """Returns the sampler that `data_config` asks for.

    Args:
        config: The config.
        mode: `"train"`, `"evaluate"` or `"predict"`; rows to predict get no negatives.
        columns: All columns, see `from_config.columns_from_config`.
        select: Names of the columns to return. Default: all.

    Returns:
        The sampler, or None if nothing is to be drawn.

    Raises:
        ConfigError: If a field of the sampler is missing, or names no column or no file.
    """
    path = sampler_field(config)
    if path is None:
        return None
    config.refuse(path)
    kind = path.split(".")[1]
    message = getattr(config.message.data_config, kind)
    known = {column.name: column for column in columns}
    by_user = kind == "negative_sampler_v2"
    input_path = "item_input_path" if by_user else "input_path"
    needed = [input_path, "num_sample", "item_id_field", "attr_delimiter"]
    needed += ["pos_edge_input_path", "user_id_field"] if by_user else []
    for field in needed:
        if not getattr(message, field):
            raise config.error(path, f"{field} is not set")
    if not message.attr_fields:
        raise config.error(path, "attr_fields is not set, expected the columns of an item")
    fields = [(f"attr_fields[{i}]", name) for i, name in enumerate(message.attr_fields)]
    fields += [("user_id_field", message.user_id_field)] if by_user else []
    for field, name in [("item_id_field", message.item_id_field), *fields]:
        if name not in known:
            raise config.error(f"{path}.{field}", f"there is no column '{name}'{nearest(name, known)}")
    if len(set(message.attr_fields)) < len(message.attr_fields):
        raise config.error(f"{path}.attr_fields", "a column comes twice")
    files = [
        config.resolve_path(getattr(message, field), f"{path}.{field}")
        for field in (input_path, "pos_edge_input_path")[: 1 + by_user]
    ]
    count = {"train": message.num_sample, "evaluate": message.num_eval_sample}.get(mode, 0)
    if not count:
        return None
    for field, file in zip((input_path, "pos_edge_input_path"), files, strict=False):
        if not os.path.isfile(file):
            raise DataError(f"{config.where(f'{path}.{field}')}: there is no file {file}")
    return NegativeSampler(
        files[0],
        known[message.item_id_field],
        [known[name] for name in message.attr_fields],
        count,
        config.message.train_config.seed,
        delimiter=message.attr_delimiter,
        weighted=kind != "negative_sampler_in_memory",
        columns=select,
        where=f"{config.where(path)}: {path}: ",
        user_column=known[message.user_id_field] if by_user else None,
        choices=files[1] if by_user else "",
    )
