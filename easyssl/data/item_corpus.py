"""The items that a model ranks: a file with one row per item."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from easyssl.data.cells import check_default
from easyssl.data.files import expand_files
from easyssl.data.from_config import one_character
from easyssl.data.quarantine import BadRows, shown
from easyssl.data.rows import Column
from easyssl.errors import DataError, nearest

if TYPE_CHECKING:
    from easyssl.config import Config

PLACE = "data_config.item_corpus"


@dataclasses.dataclass(frozen=True)
class ItemCorpus:
    """The rows of the items.

    Attributes:
        columns: Values by column, `[items]` each.
        ids: The values of the column that identifies an item, `[items]`.
        popularity: How often each item is in the training data, float64 `[items]`; None if that is not known.
        paths: File of each item, `[items]`.
        lines: Line or record of each item, `[items]`.
    """

    columns: Mapping[str, np.ndarray]
    ids: np.ndarray
    popularity: np.ndarray | None
    paths: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def numbers_of(self, column: str) -> np.ndarray:
        """Numbers the different cells of a column: int32 `[items]`, -1 for empty ones."""
        cells = self.columns[column]
        numbers = np.unique(cells, return_inverse=True)[1].astype(np.int32)
        return np.where(cells == b"", np.int32(-1), numbers) if cells.dtype == object else numbers


def corpus_columns(config: Config) -> dict[str, Column]:
    """Returns the columns of the item corpus by name; none if the config has no corpus.

    Raises:
        ConfigError: If names are empty, double or those of columns of the rows, a default value is not of
            its column's type, or a column that is named is not there.
    """
    data = config.message.data_config
    rows = {field.input_name for field in data.input_fields}
    columns: dict[str, Column] = {}
    for index, field in enumerate(data.item_corpus.input_fields):
        place, name = f"{PLACE}.input_fields[{index}]", field.input_name
        if not name:
            raise config.error(place, "input_name is missing")
        if name in columns or name in rows:
            also = (
                "" if name in columns else " among data_config.input_fields; items and rows need other names"
            )
            raise config.error(f"{place}.input_name", f"column '{name}' is declared twice{also}")
        kinds = field.DESCRIPTOR.fields_by_name["input_type"].enum_type.values_by_number
        column = Column(name, kinds[field.input_type].name, field.default_val)
        try:
            check_default(column)
        except ValueError as error:
            raise config.error(f"{place}.default_val", str(error)) from None
        columns[name] = column
    if data.HasField("item_corpus"):
        for field in ("item_id", *(("popularity",) if data.item_corpus.popularity else ())):
            name = getattr(data.item_corpus, field)
            if name not in columns:
                found = f"'{name}' is not among input_fields{nearest(name, columns)}"
                raise config.error(f"{PLACE}.{field}", found if name else "is not set")
    return columns


def read_corpus(config: Config) -> ItemCorpus:
    """Reads the file of items.

    Args:
        config: A config with `data_config.item_corpus`.

    Raises:
        ConfigError: If a field does not fit.
        DataError: If a file cannot be read, a row is malformed, or an id is empty or comes twice.
    """
    message = config.message.data_config.item_corpus
    columns = corpus_columns(config)
    if not message.input_path:
        raise config.error(f"{PLACE}.input_path", "is not set, expected a file with one row per item")
    files = expand_files(
        message.input_path,
        config.where(f"{PLACE}.input_path"),
        lambda name: config.resolve_path(name, f"{PLACE}.input_path"),
    )
    chunks = [
        chunk
        for path in files
        for chunk in _reader(config, path, list(columns.values())).read(path, BadRows())
        if len(chunk)
    ]
    if not chunks:
        raise DataError(f"{files[0]}: has no items")
    found = {name: np.concatenate([chunk.columns[name] for chunk in chunks]) for name in columns}
    lines = np.concatenate([chunk.lines for chunk in chunks])
    paths = np.concatenate([np.full(len(chunk), chunk.path, object) for chunk in chunks])
    _check_ids(found[message.item_id], paths, lines)
    popularity = None
    if message.popularity:
        popularity = _counts(found[message.popularity], message.popularity, paths, lines)
    return ItemCorpus(found, found[message.item_id], popularity, paths, lines)


def _reader(config: Config, path: str, columns: list[Column]) -> Any:
    if path.endswith(".parquet"):
        from easyssl.data.readers.parquet import ParquetReader

        return ParquetReader(columns)
    from easyssl.data.readers.csv import CsvReader

    separator = config.message.data_config.item_corpus.separator
    separator = one_character(config, separator, f"{PLACE}.separator")
    return CsvReader(columns, separator=separator, with_header=True)


def _check_ids(ids: np.ndarray, paths: np.ndarray, lines: np.ndarray) -> None:
    places: dict[Any, int] = {}
    for place, name in enumerate(ids.tolist()):
        if name == b"":
            raise DataError(f"{paths[place]}:{lines[place]}: the id of the item is empty")
        first = places.setdefault(name, place)
        if first != place:
            cell = name if isinstance(name, bytes) else str(name).encode()
            raise DataError(
                f"{paths[place]}:{lines[place]}: the item {shown(cell)} comes a second time, after line "
                f"{lines[first]}"
            )


def _counts(values: np.ndarray, name: str, paths: np.ndarray, lines: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        raise DataError(
            f"column '{name}' holds the popularity of items; declare its input_type, such as INT64"
        )
    counts = values.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(counts) & (counts >= 0)))
    if bad.size:
        where = f"{paths[bad[0]]}:{lines[bad[0]]}"
        raise DataError(f"{where}: the popularity is {counts[bad[0]]:g}, expected a number from 0 on")
    return counts
