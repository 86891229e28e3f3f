"""Histories in the form `user item item ...` to rows, and the items they name to a file of item features."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from easyssl.data.prepare.files import Prepared, make_folder, quoted, reading, write_about, write_lines
from easyssl.errors import DataError

SEQUENCE_COLUMNS = ("user_id", "items", "count")
ITEM_COLUMNS = ("item_id", "popularity")
SEPARATOR = "\t"
LIST_SEPARATOR = "|"
ATTRIBUTES = "attributes"
TEXT = "text"

_MOST_DIGITS = 18  # of a number that fits into 64 bits


def prepare_sequences(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    items: Sequence[str | os.PathLike[str]] = (),
    held_out: int = 2,
    compress: bool = True,
) -> Prepared:
    """Writes `sequences.tsv`, `items.tsv` (both with `.gz`, if compressed) and `about.json`.

    A row of sequences is one user: `user_id`, `items` (their ids in the order of time, separated by `|`) and
    `count`, how many there are. Users keep the order of the source. Nothing is split here: whoever reads the
    rows leaves out the last items as targets.

    A row of items is one item that some user has met, sorted by id: `item_id`, `popularity` and what the item
    files say. The popularity of an item is how often it is in the training part, that is, in the sequences
    without the last `held_out` entries of each, so that it tells nothing about what is held out.

    Args:
        source: Text file, gzip if it ends in `.gz`, with a line `user item item ...` per user: whole numbers
            from 1 on (0 is padding), separated by white space, items in the order of time.
        out: Folder; created if absent. Files of the same names are replaced.
        items: Files about items, each gzip if it ends in `.gz`. `.json`: an object of item id -> list of
            attribute ids, which become the column `attributes`, separated by `|`. `.tsv`: a line per item;
            without a header line the first cell is the id and the last one becomes the column `text`; a
            header line that begins with `id` names the columns. Items that no user met are left out; an item
            that a file does not know gets empty cells. Defaults to (), which is none.
        held_out: How many of each user's last items are no training data. Defaults to 2, one to validate and
            one to test with.
        compress: Whether the files are gzip. Defaults to True.

    Returns:
        What was written; the facts tell the number of users, items and interactions.

    Raises:
        DataError: If a file is missing, a line cannot be read, two files have a column of the same name, an
            option is out of range or the folder cannot be written.
    """
    if held_out < 0:
        raise DataError(f"sequences: held_out is {held_out}; expected 0 or more")
    sequences = list(read_sequences(pathlib.Path(source)))
    popularity = count_items(sequences, held_out)
    tables = [read_items(pathlib.Path(path)) for path in items]
    columns = [*ITEM_COLUMNS, *(name for table in tables for name in table.columns)]
    twice = [name for i, name in enumerate(columns) if name in columns[:i]]
    if twice:
        raise DataError(f"sequences: there are two columns '{twice[0]}' about items")

    unknown = {f"items_not_in_{table.name}": len(popularity.keys() - table.rows.keys()) for table in tables}
    facts = {"held_out": held_out, **unknown}
    return write_sequences(make_folder(out), sequences, popularity, tables, facts, compress=compress)


@dataclass(frozen=True)
class ItemTable:
    """What a file says about items.

    Attributes:
        name: Name of the file.
        columns: What it says.
        rows: The cells of each item.
    """

    name: str
    columns: tuple[str, ...]
    rows: dict[int, tuple[str, ...]]


def write_sequences(
    folder: pathlib.Path,
    sequences: Sequence[tuple[str, list[str]]],
    popularity: dict[int, int],
    tables: Sequence[ItemTable],
    facts: Mapping[str, Any],
    *,
    compress: bool = True,
) -> Prepared:
    """Writes users with their items, the items, and what is known about both.

    Args:
        folder: Where to.
        sequences: Users with their items in the order of time.
        popularity: How often each item is in the training part.
        tables: What files say about items.
        facts: What else is known.
        compress: Whether the files are gzip. Defaults to True.

    Returns:
        What was written.
    """
    ending = ".tsv.gz" if compress else ".tsv"
    columns = [*ITEM_COLUMNS, *(name for table in tables for name in table.columns)]
    lines = {
        f"sequences{ending}": sequence_lines(sequences),
        f"items{ending}": item_lines(popularity, columns, tables),
    }
    written = {name: write_lines(folder / name, text) - 1 for name, text in lines.items()}
    counts = [len(own) for _, own in sequences]
    told = {
        "users": len(sequences),
        "items": len(popularity),
        "interactions": sum(counts),
        "largest_item_id": max(popularity),
        "shortest_sequence": min(counts),
        "mean_sequence": round(sum(counts) / len(counts), 4),
        "longest_sequence": max(counts),
        **facts,
        "items_unseen_in_training": sum(count == 0 for count in popularity.values()),
        "sequence_columns": list(SEQUENCE_COLUMNS),
        "item_columns": columns,
    }
    prepared = Prepared(folder, written, told)
    write_about(prepared)
    return prepared


def sequence_lines(sequences: Sequence[tuple[str, list[str]]]) -> Iterator[str]:
    """Yields the header and a row for each user with their items."""
    yield SEPARATOR.join(SEQUENCE_COLUMNS) + "\n"
    for user, own in sequences:
        yield f"{user}{SEPARATOR}{LIST_SEPARATOR.join(own)}{SEPARATOR}{len(own)}\n"


def item_lines(
    popularity: dict[int, int], columns: Sequence[str], tables: Sequence[ItemTable]
) -> Iterator[str]:
    """Yields the header and a row for each item with what tables say about it."""
    yield SEPARATOR.join(map(quoted, columns)) + "\n"
    for item, count in popularity.items():
        cells = [str(item), str(count)]
        for table in tables:
            cells += map(quoted, table.rows.get(item, ("",) * len(table.columns)))
        yield SEPARATOR.join(cells) + "\n"


def count_items(sequences: Sequence[tuple[str, list[str]]], held_out: int) -> dict[int, int]:
    """Returns how often each item is in the sequences without the last entries of each, sorted by id."""
    counts = dict.fromkeys(sorted({int(item) for _, own in sequences for item in own}), 0)
    for _, own in sequences:
        for item in own[: max(len(own) - held_out, 0)]:
            counts[int(item)] += 1
    return counts


def read_sequences(path: pathlib.Path) -> Iterator[tuple[str, list[str]]]:
    """Yields users with their items, both as they are written in numbers.

    Raises:
        DataError: If the file cannot be read or a line is malformed.
    """
    users: set[str] = set()
    with reading(path) as text:
        for number, line in enumerate(text, start=1):
            user, *own = line.split() or [""]
            for cell in (user, *own):
                _check_id(cell, f"{path}:{number}")
            if not own:
                raise DataError(f"{path}:{number}: user {user} has no items")
            if user in users:
                raise DataError(f"{path}:{number}: user {user} has a line further up")
            users.add(user)
            yield user, own
    if not users:
        raise DataError(f"{path}: has no lines")


def read_items(path: pathlib.Path) -> ItemTable:
    """Reads a file about items; see `prepare_sequences`.

    Raises:
        DataError: If the file cannot be read or a line is malformed.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind not in (".json", ".tsv"):
        raise DataError(f"{path}: files about items end in .json, .json.gz, .tsv or .tsv.gz")
    return _read_attributes(path) if kind == ".json" else _read_texts(path)


def _read_attributes(path: pathlib.Path) -> ItemTable:
    with reading(path) as text:
        try:
            found: Any = json.load(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}: is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected an object of item id -> list of attribute ids")
    rows: dict[int, tuple[str, ...]] = {}
    for item, attributes in found.items():
        _check_id(item, str(path))
        known = isinstance(attributes, list) and all(type(a) is int for a in attributes)
        if not known:
            raise DataError(f"{path}: item {item}: expected a list of whole numbers")
        rows[int(item)] = (LIST_SEPARATOR.join(map(str, attributes)),)
    return ItemTable(path.name, (ATTRIBUTES,), rows)


def _read_texts(path: pathlib.Path) -> ItemTable:
    rows: dict[int, tuple[str, ...]] = {}
    columns: tuple[str, ...] = (TEXT,)
    width = 0
    with reading(path) as text:
        for number, line in enumerate(text, start=1):
            cells = line.rstrip("\r\n").split(SEPARATOR)
            where = f"{path}:{number}"
            if number == 1:
                width = len(cells)
                if width < 2:
                    raise DataError(f"{where}: has 1 cell; expected an id and a text, separated by a tab")
                if cells[0] == "id":
                    columns = tuple(cells[1:])
                    continue
            if len(cells) != width:
                raise DataError(f"{where}: has {len(cells)} cells; expected {width}")
            _check_id(cells[0], where)
            item = int(cells[0])
            if item in rows:
                raise DataError(f"{where}: item {item} has a line further up")
            rows[item] = tuple(cells[-len(columns) :])
    return ItemTable(path.name, columns, rows)


def _check_id(cell: str, where: str) -> None:
    """Ids are written in one way only, so that equal ids are equal texts."""
    if not (cell.isascii() and cell.isdigit() and cell[0] != "0" and len(cell) <= _MOST_DIGITS):
        raise DataError(f"{where}: '{cell[:40]}' is not a whole number from 1 on")
