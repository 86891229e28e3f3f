"""Histories of several domains in one file, with ids of their own."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from easyssl.data.prepare.files import Prepared, make_folder, quoted, write_about, write_lines
from easyssl.data.prepare.sequences import (
    ATTRIBUTES,
    ITEM_COLUMNS,
    LIST_SEPARATOR,
    SEPARATOR,
    SEQUENCE_COLUMNS,
    ItemTable,
    count_items,
    read_items,
    read_sequences,
)
from easyssl.errors import DataError

DOMAIN = "domain"
NO_FILE = "-"
"""Stands for no file about the items of a domain."""


@dataclass(frozen=True)
class _Domain:
    """A domain whose ids are moved behind those of the domains before."""

    name: str
    sequences: list[tuple[str, list[str]]]
    popularity: dict[int, int]
    table: ItemTable | None
    first_user: int
    first_item: int


def prepare_domains(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    items: Sequence[str | os.PathLike[str]] = (),
    held_out: int = 2,
    compress: bool = True,
) -> Prepared:
    """Writes the histories of several domains to one `sequences.tsv`, and their items to one `items.tsv`.

    The files are those of `prepare_sequences` with one more column, `domain`, the name of the source without
    its endings. Ids are made unique: those of a domain are moved behind the largest one of the domains
    before it, users and items alike. Rows of the domains are interleaved evenly, each domain in its own
    order, so that any stretch of the file, and so any batch, holds all of them in proportion to their sizes.

    Args:
        sources: A file per domain; see `prepare_sequences`.
        out: Folder; created if absent. Files of the same names are replaced.
        items: A `.tsv` file of texts per domain, in the order of the sources, `"-"` for none; see
            `prepare_sequences`. Columns that the file of one domain lacks are empty there. Defaults to (),
            which is none at all.
        held_out: How many of each user's last items are no training data. Defaults to 2.
        compress: Whether the files are gzip. Defaults to True.

    Returns:
        What was written; the facts tell which ids belong to which domain.

    Raises:
        DataError: If a file is missing or cannot be read, two domains have one name, the numbers of files
            differ, or the folder cannot be written.
    """
    if held_out < 0:
        raise DataError(f"sequences: held_out is {held_out}; expected 0 or more")
    if items and len(items) != len(sources):
        raise DataError(
            f"sequences: {len(items)} files about items for {len(sources)} sources; expected one for each, "
            f"'{NO_FILE}' for none"
        )
    domains = _read(sources, items or [NO_FILE] * len(sources), held_out)
    texts = list(dict.fromkeys(name for d in domains if d.table is not None for name in d.table.columns))
    folder, ending = make_folder(out), ".tsv.gz" if compress else ".tsv"
    lines = {
        f"sequences{ending}": _sequence_lines(domains),
        f"items{ending}": _item_lines(domains, texts),
    }
    written = {name: write_lines(folder / name, text) - 1 for name, text in lines.items()}
    facts: dict[str, object] = {
        "users": sum(len(d.sequences) for d in domains),
        "items": sum(len(d.popularity) for d in domains),
        "interactions": sum(len(own) for d in domains for _, own in d.sequences),
        "largest_item_id": domains[-1].first_item + max(domains[-1].popularity),
        "held_out": held_out,
    }
    for domain in domains:
        low, high = min(domain.popularity), max(domain.popularity)
        facts[f"items_of_{domain.name}"] = f"{domain.first_item + low} to {domain.first_item + high}"
        facts[f"users_of_{domain.name}"] = len(domain.sequences)
    facts["sequence_columns"] = [*SEQUENCE_COLUMNS, DOMAIN]
    facts["item_columns"] = [*ITEM_COLUMNS, DOMAIN, *texts]
    prepared = Prepared(folder, written, facts)
    write_about(prepared)
    return prepared


def _read(
    sources: Sequence[str | os.PathLike[str]], items: Sequence[str | os.PathLike[str]], held_out: int
) -> list[_Domain]:
    domains: list[_Domain] = []
    first_user = first_item = 0
    for source, about in zip(map(pathlib.Path, sources), items, strict=True):
        name = source.name.split(".")[0]
        if name in (domain.name for domain in domains):
            raise DataError(f"{source}: there are two domains '{name}'; rename a file")
        sequences = list(read_sequences(source))
        table = None
        if os.fspath(about) != NO_FILE:
            table = read_items(pathlib.Path(about))
            if ATTRIBUTES in table.columns and table.name.split(".gz")[0].endswith(".json"):
                raise DataError(
                    f"{about}: attributes of one domain are none of another; give a file of texts"
                )
        popularity = count_items(sequences, held_out)
        domains.append(_Domain(name, sequences, popularity, table, first_user, first_item))
        first_user += max(int(user) for user, _ in sequences)
        first_item += max(popularity)
    return domains


def _sequence_lines(domains: Sequence[_Domain]) -> Iterator[str]:
    yield SEPARATOR.join([*SEQUENCE_COLUMNS, DOMAIN]) + "\n"
    # A domain of n rows has its rows at 1/2n, 3/2n, 5/2n, ...
    places = sorted(
        ((2 * row + 1) / (2 * len(domain.sequences)), number, row)
        for number, domain in enumerate(domains)
        for row in range(len(domain.sequences))
    )
    for _, number, row in places:
        domain = domains[number]
        user, own = domain.sequences[row]
        moved = LIST_SEPARATOR.join(str(domain.first_item + int(item)) for item in own)
        cells = (str(domain.first_user + int(user)), moved, str(len(own)), quoted(domain.name))
        yield SEPARATOR.join(cells) + "\n"


def _item_lines(domains: Sequence[_Domain], texts: Sequence[str]) -> Iterator[str]:
    yield SEPARATOR.join([*ITEM_COLUMNS, DOMAIN, *map(quoted, texts)]) + "\n"
    for domain in domains:
        for item, count in domain.popularity.items():
            known: dict[str, str] = {}
            if domain.table is not None and item in domain.table.rows:
                known = dict(zip(domain.table.columns, domain.table.rows[item], strict=True))
            cells = [str(domain.first_item + item), str(count), domain.name]
            yield SEPARATOR.join(map(quoted, [*cells, *(known.get(name, "") for name in texts)])) + "\n"
