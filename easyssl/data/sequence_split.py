"""Rows of a history and the items after it, cut out of whole histories without leakage."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from easyssl.config.bind import python_value
from easyssl.data.quarantine import BadRows
from easyssl.data.readers import Reader
from easyssl.data.rows import START, Chunk, Column, Position, keep_rows, object_array
from easyssl.errors import nearest

if TYPE_CHECKING:
    from easyssl.config import Config

PLACE = "data_config.sequence_split"
TRAIN, VALIDATION, TEST = "train", "validation", "test"


def next_column(items: str) -> str:
    """Returns the name of the column with the items after the history that the column `items` holds."""
    return f"{items}/next"


@dataclasses.dataclass(frozen=True)
class SequenceSplit:
    """How whole histories are cut.

    With the items x_1 .. x_n of a row, the history and the items after it are

    - leaving one out: x_1 .. x_{n-3} and x_{n-2} to train with, x_1 .. x_{n-2} and x_{n-1} to validate with,
      x_1 .. x_{n-1} and x_n to test with;
    - leaving users out: x_1 .. x_{n-1} and x_n for users to train with; x_1 .. x_m and x_{m+1} .. x_n for the
      others, with m the share `given` of n, rounded down, but at least 1.

    Rows that have no history, or nothing after it, are left out.

    Attributes:
        items: The column with the items.
        aligned: Columns with something about each item, cut likewise.
        separator: What separates items.
        part: `"train"`, `"validation"` or `"test"`.
        user: Column that tells users apart; empty when one item of each user is left out.
        held_out_users: Share of users to validate with, and again to test with.
        given: Share of a held out user's items that are the history.
        whole: Whether histories to train with hold the item after them as well, for a model that hides items
            by itself.

    Example:
        >>> split = SequenceSplit("items", part="validation")
        >>> split.cut([b"1|2|3|4"])  # 1|2 and 3
        ([2], [3])
    """

    items: str
    aligned: tuple[str, ...] = ()
    separator: bytes = b"|"
    part: str = TRAIN
    user: str = ""
    held_out_users: float = 0.1
    given: float = 0.8
    whole: bool = False

    def cut(self, cells: Iterable[bytes]) -> tuple[list[int], list[int]]:
        """Returns of each cell how many items are the history, and up to which one those after it go."""
        counts = [cell.count(self.separator) + 1 if cell else 0 for cell in cells]
        if not self.user:
            after = {TRAIN: 2, VALIDATION: 1, TEST: 0}[self.part]
            ends = [count - after for count in counts]
            return [end - 1 for end in ends], ends
        if self.part == TRAIN:
            return [count - 1 for count in counts], counts
        return [max(1, int(count * self.given + 1e-9)) for count in counts], counts

    def chosen(self, users: Iterable[object]) -> np.ndarray:
        """Returns which rows belong to this part, bool `[rows]`."""
        low = {TRAIN: 2 * self.held_out_users, VALIDATION: self.held_out_users, TEST: 0.0}[self.part]
        high = {TRAIN: 1.0, VALIDATION: 2 * self.held_out_users, TEST: self.held_out_users}[self.part]
        places = np.array([_place(user) for user in users])
        return (places >= low) & (places < high)


class SplitReader:
    """Cuts the rows of another reader.

    Args:
        reader: Reads whole histories.
        split: How they are cut.
        columns: Which columns chunks have, of the reader's and `next_column`. Default: all.
    """

    def __init__(self, reader: Reader, split: SequenceSplit, columns: Sequence[str] | None = None) -> None:
        self.reader = reader
        self.split = split
        self.block_size = reader.block_size
        self.added = Column(next_column(split.items), "STRING")
        wanted = {*(column.name for column in reader.columns), self.added.name}
        wanted = wanted if columns is None else wanted & set(columns)
        self.columns = tuple(c for c in (*reader.columns, self.added) if c.name in wanted)

    def read(self, path: str, bad_rows: BadRows, start: Position = START) -> Iterator[Chunk]:
        """Yields the cut rows of a file; see `Reader`."""
        for chunk in self.reader.read(path, bad_rows, start):
            yield self._cut(chunk)

    def describe(self) -> str:
        """Returns a text that changes with the rows."""
        return str(dataclasses.astuple(self.split))

    def _cut(self, chunk: Chunk) -> Chunk:
        split = self.split
        cells = chunk.columns[split.items]
        ends, stops = (np.array(values, np.int64) for values in split.cut(cells))
        keep = (ends > 0) & (stops > ends)
        if split.user:
            keep &= split.chosen(chunk.columns[split.user])
        columns = keep_rows(chunk.columns, keep)
        ends, stops = ends[keep], stops[keep]
        kept = {column.name for column in self.columns}
        if self.added.name in kept:
            columns[self.added.name] = _each(columns[split.items], ends, stops, split.separator)
        if split.whole and split.part == TRAIN:
            ends = stops
        for name in (split.items, *split.aligned):
            if name in kept:
                columns[name] = _each(columns[name], np.zeros_like(ends), ends, split.separator)
        columns = {name: values for name, values in columns.items() if name in kept}
        empty = {name: marks for name, marks in keep_rows(chunk.empty, keep).items() if name in kept}
        return dataclasses.replace(chunk, columns=columns, lines=chunk.lines[keep], empty=empty)


def split_from_config(config: Config, mode: str) -> SequenceSplit | None:
    """Returns how `data_config.sequence_split` cuts rows, None without it and when predicting.

    Args:
        config: The config.
        mode: `"train"`, `"evaluate"` or `"predict"`.

    Raises:
        ConfigError: If a field does not fit.
    """
    data = config.message.data_config
    if not data.HasField("sequence_split"):
        return None
    message = data.sequence_split
    fields = [field.input_name for field in data.input_fields]
    names = [("items", message.items), *((f"aligned[{i}]", name) for i, name in enumerate(message.aligned))]
    by_user = message.protocol == message.LEAVE_USERS_OUT
    for field, name in [*names, ("user", message.user)] if by_user else names:
        if name not in fields:
            found = f"'{name}' is not an input field{nearest(name, fields)}" if name else "is not set"
            raise config.error(f"{PLACE}.{field}", found)
    if not message.separator:
        raise config.error(f"{PLACE}.separator", "is empty, expected what separates items")
    shares: dict[str, float] = {}
    for field, low, high in (("held_out_users", 0.0, 0.5), ("given_history", 0.0, 1.0)):
        shares[field] = python_value(message.DESCRIPTOR.fields_by_name[field], getattr(message, field))
        if not low < shares[field] < high:
            found = f"is {shares[field]:g}, expected a number between {low:g} and {high:g}"
            raise config.error(f"{PLACE}.{field}", found)
    if mode == "predict":
        return None
    model = config.message.model_config.next_item
    testing = message.evaluate == message.TEST
    return SequenceSplit(
        message.items,
        tuple(message.aligned),
        message.separator.encode(),
        TRAIN if mode == "train" else TEST if testing else VALIDATION,
        message.user if by_user else "",
        shares["held_out_users"],
        shares["given_history"],
        whole=model.targets == model.HIDDEN_STEPS,
    )


def split_columns(split: SequenceSplit, columns: Sequence[str] | None) -> list[str] | None:
    """Returns the columns to read from files so that rows can be cut; None stands for all."""
    if columns is None:
        return None
    needed = [split.items, *([split.user] if split.user else [])]
    added = next_column(split.items)
    return list(dict.fromkeys([*(name for name in columns if name != added), *needed]))


def _each(cells: np.ndarray, begins: np.ndarray, ends: np.ndarray, separator: bytes) -> np.ndarray:
    """Returns the items from `begins` to before `ends` of each cell."""
    places = zip(cells, begins.tolist(), ends.tolist(), strict=True)
    return object_array(
        [separator.join(cell.split(separator, end)[begin:end]) for cell, begin, end in places]
    )


def _place(user: object) -> float:
    """Returns where a user stands between 0 and 1: a function of the text of its id."""
    text = user if isinstance(user, bytes) else str(user).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2.0**64
