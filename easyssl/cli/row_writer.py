"""Writes scored rows, batch by batch, as CSV or Parquet."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from easyssl.errors import UsageError

Arrays = Mapping[str, np.ndarray]
_NONE: Arrays = MappingProxyType({})


class RowWriter(Protocol):
    """Takes batches of rows; the columns of the first batch are the columns of the file."""

    def write(self, columns: Arrays, empty: Arrays = _NONE) -> None:
        """Appends rows.

        Args:
            columns: Name -> `[batch]` or `[batch, n]`, text as `bytes`.
            empty: Name -> bool `[batch]`: cells to leave empty.
        """

    def close(self) -> None:
        """Finishes the file."""


class CsvWriter:
    """CSV with a header. A value of several numbers is one cell, joined by `|`.

    Args:
        path: The file to write.
        separator: What stands between the cells.
    """

    def __init__(self, path: pathlib.Path, separator: str):
        # What is not UTF-8 goes out as the bytes that came in.
        self._file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        self._writer = csv.writer(self._file, delimiter=separator, lineterminator="\n")
        self._started = False

    def write(self, columns: Arrays, empty: Arrays = _NONE) -> None:
        """Appends rows; see `RowWriter`."""
        if not self._started:
            self._writer.writerow(columns)
            self._started = True
        cells = [_cells(values, empty.get(name)) for name, values in columns.items()]
        self._writer.writerows(zip(*cells, strict=True))

    def close(self) -> None:
        """Finishes the file."""
        self._file.close()


class ParquetWriter:
    """Parquet; a value of several numbers is a list, and an empty cell is null.

    Args:
        path: The file to write.

    Raises:
        UsageError: If pyarrow is not installed.
    """

    def __init__(self, path: pathlib.Path):
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise UsageError(
                "writing Parquet needs pyarrow; run: pip install 'easyssl[parquet]'; or name a .csv file"
            ) from error
        self._parquet = pyarrow.parquet
        self._arrow = pyarrow
        self._path = path
        self._writer: Any = None

    def write(self, columns: Arrays, empty: Arrays = _NONE) -> None:
        """Appends rows; see `RowWriter`."""
        arrays = {name: self._array(values, empty.get(name)) for name, values in columns.items()}
        table = self._arrow.table(arrays)
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Finishes the file."""
        if self._writer is not None:
            self._writer.close()

    def _array(self, values: np.ndarray, empty: np.ndarray | None) -> Any:
        if values.dtype == object:
            try:
                texts = np.array([v.decode("utf-8") for v in values], object)
                return self._arrow.array(texts, self._arrow.string(), mask=empty)
            except UnicodeDecodeError as error:
                raise UsageError(
                    f"the cell {error.object!r:.60} is not UTF-8, as Parquet text has to be; name a .csv file"
                ) from error
        return self._arrow.array(values, mask=empty) if values.ndim == 1 else self._arrow.array(list(values))


def joined(
    columns: Mapping[str, np.ndarray], predictions: Mapping[str, np.ndarray], prefix: str
) -> dict[str, np.ndarray]:
    """Returns the columns and after them the predictions, whose names get the prefix.

    Raises:
        UsageError: If a prediction would have the name of a column.
    """
    rows = dict(columns)
    for name, values in predictions.items():
        if prefix + name in rows:
            raise UsageError(
                f"the input has a column '{prefix + name}', which is also the name of a prediction; "
                "put something before the names of the predictions with --prefix"
            )
        rows[prefix + name] = values
    return rows


def _cells(values: np.ndarray, empty: np.ndarray | None) -> list[str]:
    if values.dtype == object:
        texts = [v.decode("utf-8", "surrogateescape") for v in values]
    elif values.ndim > 1:
        texts = ["|".join(row) for row in values.reshape(len(values), -1).astype(str)]
    else:
        texts = values.astype(str).tolist()  # the shortest text that reads back as the same number
    for place in () if empty is None else np.flatnonzero(empty):
        texts[place] = ""
    return texts
