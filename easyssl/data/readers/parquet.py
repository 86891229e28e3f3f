"""Reads Parquet files, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from easyssl.data.cells import check_default, convert
from easyssl.data.quarantine import BadRows
from easyssl.data.rows import (
    START,
    Chunk,
    Column,
    Position,
    keep_rows,
    object_array,
    select_columns,
)
from easyssl.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    import pyarrow

_LIST_ITEMS = ("text", "whole numbers", "numbers")
_ACCEPTED = {
    "STRING": ("text", "whole numbers"),
    "BOOL": ("booleans",),
    "INT32": ("whole numbers", "booleans"),
    "INT64": ("whole numbers", "booleans"),
    "FLOAT": ("numbers", "whole numbers"),
    "DOUBLE": ("numbers", "whole numbers"),
}


class _Converted(NamedTuple):
    """A column: values, malformed rows, their reason, what was expected of them, and empty cells."""

    values: np.ndarray
    bad: np.ndarray
    reason: str
    expected: str
    empty: np.ndarray


class ParquetReader:
    """Reads Parquet files with pyarrow.

    Nulls are empty cells. A STRING column may hold text, bytes or whole numbers (written in decimal); an
    integer or floating point column holds numbers that fit it, a BOOL column booleans. A list column is
    read as text if `list_separators` gives it a separator: its items joined by it. Any other type is an
    error that names the column. Malformed rows go to `BadRows` with one of the reasons `overflow`,
    `non_finite`, `separator_in_item`. A file that pyarrow cannot read always raises.

    Args:
        columns: The columns to read; files may have more, in any order.
        select: Names of the columns to keep. Default: all.
        list_separators: Column to the text between items of a list.
        chunk_rows: Rows that are converted at once.

    Raises:
        UsageError: If pyarrow is not installed.
        ValueError: If a default value is not of its column's type.

    Example:
        >>> reader = ParquetReader([Column("user_id"), Column("history")], list_separators={"history": "|"})
        >>> rows = sum(len(chunk) for chunk in reader.read("train.parquet", BadRows()))  # doctest: +SKIP
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        select: Sequence[str] | None = None,
        list_separators: Mapping[str, str] | None = None,
        chunk_rows: int = 8192,
    ) -> None:
        try:
            import pyarrow.compute
            import pyarrow.parquet
            import pyarrow.types
        except ImportError:
            raise UsageError("reading Parquet needs pyarrow: pip install 'easyssl[parquet]'") from None
        self._pyarrow = pyarrow
        self.columns = select_columns(columns, select)
        self.block_size = chunk_rows
        self._list_separators = dict(list_separators or {})
        for column in self.columns:
            check_default(column)

    def read(self, path: str, bad_rows: BadRows, start: Position = START) -> Iterator[Chunk]:
        """Yields the rows of a file from `start` on, a block of a row group at a time.

        Raises:
            DataError: If the file cannot be read, lacks a column or has it in a type that does not fit, or a
                row is malformed and may not be skipped.
        """
        pyarrow = self._pyarrow
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                columns = self._check_schema(path, file.schema_arrow)
                first = 0
                for group in range(file.num_row_groups):
                    end = first + file.metadata.row_group(group).num_rows
                    if end > start.offset:
                        yield from self._read_group(file, group, columns, path, first, start.offset, bad_rows)
                    first = end
        except (pyarrow.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{path}: cannot be read as Parquet: {reason}") from None

    def _read_group(
        self,
        file: Any,
        group: int,
        columns: Sequence[Column],
        path: str,
        first: int,
        skip: int,
        bad_rows: BadRows,
    ) -> Iterator[Chunk]:
        names = [column.name for column in columns]
        for batch in file.iter_batches(self.block_size, row_groups=[group], columns=names):
            last = first + batch.num_rows
            if first >= skip:
                yield self._chunk(batch, columns, path, first, bad_rows)
            first = last

    def _chunk(
        self, batch: Any, columns: Sequence[Column], path: str, first: int, bad_rows: BadRows
    ) -> Chunk:
        values = {}
        empty = {}
        malformed: dict[int, tuple[str, str]] = {}
        for column in columns:
            converted = self._convert(batch.column(column.name), column)
            values[column.name] = converted.values
            if column.mark_empty:
                empty[column.name] = converted.empty
            for index in np.flatnonzero(converted.bad).tolist():
                found = batch.column(column.name)[index].as_py()
                detail = f"column '{column.name}' holds {found!r}, expected {converted.expected}"
                malformed.setdefault(int(index), (converted.reason, detail))
        for index, (reason, detail) in sorted(malformed.items()):
            text = repr({column.name: batch.column(column.name)[index].as_py() for column in columns})
            bad_rows.add(path, first + index + 1, reason, text, detail)
        lines = np.arange(first + 1, first + batch.num_rows + 1)
        if malformed:
            keep = np.ones(len(lines), bool)
            keep[list(malformed)] = False
            values, empty, lines = keep_rows(values, keep), keep_rows(empty, keep), lines[keep]
        start, end = Position(first, first + 1), Position(first + batch.num_rows, first + batch.num_rows + 1)
        return Chunk(values, lines, path, start, end, empty)

    def _convert(self, array: pyarrow.Array, column: Column) -> _Converted:
        types, compute = self._pyarrow.types, self._pyarrow.compute
        good = np.zeros(len(array), bool)
        if types.is_dictionary(array.type):
            array = array.dictionary_decode()
        default = convert([b""], column)[0][0]
        if types.is_list(array.type) or types.is_large_list(array.type):
            separator = self._list_separators[column.name]
            texts, bad = self._join(array, separator)
            expected = f"items without the separator {separator!r}"
            return _filled(texts, default, bad, "separator_in_item", expected)
        if column.type == "STRING":
            kind = self._pyarrow.large_string() if types.is_integer(array.type) else array.type
            array = array.cast(kind).cast(self._pyarrow.large_binary())
            return _filled([cell or b"" for cell in array.to_pylist()], default, good)
        missing = array.is_null().to_numpy(zero_copy_only=False)
        if column.type == "BOOL":
            flags = compute.fill_null(array, bool(default)).to_numpy(zero_copy_only=False)
            return _Converted(flags, good, "", "", missing)
        if types.is_boolean(array.type):
            array = array.cast(self._pyarrow.int8())
        stored = compute.fill_null(array, 0).to_numpy(zero_copy_only=False)
        if column.dtype.kind == "i":
            limits = np.iinfo(column.dtype)
            bad = (stored > limits.max) | (stored < limits.min)
            reason, expected = "overflow", f"{column.type} (from {limits.min} to {limits.max})"
            result = np.where(bad, 0, stored).astype(column.dtype)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                result = stored.astype(column.dtype)
            bad = ~np.isfinite(result)
            reason, expected = "non_finite", f"{column.type} that is finite"
        result[missing] = default
        return _Converted(result, bad & ~missing, reason, expected, missing)

    def _join(self, array: Any, separator: str) -> tuple[list[bytes], np.ndarray]:
        """Returns lists as text, and a mask of those with an item that has the separator in it."""
        byte_separator = separator.encode()
        cells = []
        bad = np.zeros(len(array), bool)
        for index, items in enumerate(array.to_pylist()):
            texts = [_item_text(item) for item in items or ()]
            bad[index] = any(byte_separator in text for text in texts)
            cells.append(byte_separator.join(texts))
        return cells, bad

    def _check_schema(self, path: str, schema: Any) -> list[Column]:
        """Returns the columns that the file has."""
        found = []
        for column in self.columns:
            if column.name not in schema.names:
                if column.required:
                    raise DataError(
                        f"{path}: there is no column '{column.name}'{nearest(column.name, schema.names)}"
                    )
                continue
            kind = schema.field(column.name).type
            problem = self._type_problem(kind, column)
            if problem:
                raise DataError(f"{path}: column '{column.name}' has type {kind}, {problem}")
            found.append(column)
        return found

    def _type_problem(self, kind: Any, column: Column) -> str:
        """Returns what is wrong with a column's type, or nothing."""
        family = _family(self._pyarrow.types, kind)
        if family != "list":
            accepted = _ACCEPTED[column.type]
            return "" if family in accepted else f"expected {' or '.join(accepted)} for {column.type}"
        if column.type != "STRING":
            return f"expected {column.type}; declare the column STRING to read lists"
        if _family(self._pyarrow.types, kind.value_type) not in _LIST_ITEMS:
            return f"expected a list of {' or '.join(_LIST_ITEMS)}"
        if column.name not in self._list_separators:
            return (
                "but no single separator is known to join its items; give all features that read it the same"
            )
        return ""


def _filled(
    cells: list[bytes], default: bytes, bad: np.ndarray, reason: str = "", expected: str = ""
) -> _Converted:
    """Returns text cells with the default in the place of empty ones."""
    empty = np.fromiter((not cell and bool(default) for cell in cells), bool, len(cells))
    return _Converted(object_array([cell or default for cell in cells]), bad, reason, expected, empty)


def _family(types: Any, kind: Any) -> str:
    """Returns what values of an Arrow type are."""
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_list(kind) or types.is_large_list(kind):
        return "list"
    if (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    ):
        return "text"
    if types.is_integer(kind):
        return "whole numbers"
    if types.is_floating(kind):
        return "numbers"
    return "booleans" if types.is_boolean(kind) else "other"


def _item_text(item: Any) -> bytes:
    if isinstance(item, bytes):
        return item
    return b"" if item is None else str(item).encode()
