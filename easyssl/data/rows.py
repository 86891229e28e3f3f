"""Raw columns as readers hand them on: names and types, and blocks of rows as NumPy arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

# The array type of each column type. A STRING column is an array of `bytes` objects.
DTYPES: dict[str, np.dtype] = {
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "STRING": np.dtype(object),
    "FLOAT": np.dtype(np.float32),
    "DOUBLE": np.dtype(np.float64),
    "BOOL": np.dtype(np.bool_),
}


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of the input.

    Attributes:
        name: Its name, in a header and in features.
        type: A key of `DTYPES`.
        default: Text of the value for empty cells; `""` stands for the zero of the type (`b""`, 0, False).
        required: False if a file may lack the column altogether, as labels may while predicting.
        mark_empty: Whether readers tell for which empty cells a value stands in.

    Raises:
        ValueError: If the type is unknown.

    Example:
        >>> Column("age", "INT32", default="-1").dtype
        dtype('int32')
    """

    name: str
    type: str = "STRING"
    default: str = ""
    required: bool = True
    mark_empty: bool = False

    def __post_init__(self) -> None:
        if self.type not in DTYPES:
            raise ValueError(f"column '{self.name}' has type '{self.type}'; valid are {', '.join(DTYPES)}")

    @property
    def dtype(self) -> np.dtype:
        """The NumPy type of the column's arrays."""
        return DTYPES[self.type]


@dataclasses.dataclass(frozen=True, order=True)
class Position:
    """A place in a file where a chunk of rows may start.

    Attributes:
        offset: Bytes before it in the decompressed file; for Parquet, rows before it.
        line: Number of the line or record that starts there, from 1.
    """

    offset: int = 0
    line: int = 1


START = Position()


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive good rows of one file. It may be empty where all rows were malformed.

    Attributes:
        columns: Name to array `[rows]`; see `DTYPES`.
        lines: Line (CSV) or record number of each row, from 1, `[rows]` int64.
        path: The file.
        start: Where the chunk begins in the file.
        end: Where the next chunk begins. Reading again from `end` gives the same following chunks as
            reading on.
        empty: Name to bool array `[rows]`: the cells of columns with `mark_empty` that were empty and hold
            another value instead, a default or 0. Columns without such cells may be left out.
    """

    columns: Mapping[str, np.ndarray]
    lines: np.ndarray
    path: str
    start: Position
    end: Position
    empty: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)


def keep_rows(columns: Mapping[str, np.ndarray], keep: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the rows of each column that a mask or a list of places chooses."""
    return {name: values[keep] for name, values in columns.items()}


def object_array(values: Sequence[bytes]) -> np.ndarray:
    """Returns `bytes` objects as an object array `[len(values)]`."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def select_columns(columns: Sequence[Column], names: Sequence[str] | None) -> tuple[Column, ...]:
    """Returns the columns that `names` asks for, in the order of `columns`; all if `names` is None.

    Raises:
        ValueError: If a name is not among the columns, or two columns have the same name.
    """
    known = [column.name for column in columns]
    if len(set(known)) != len(known):
        twice = next(name for name in known if known.count(name) > 1)
        raise ValueError(f"column '{twice}' is declared twice")
    if names is None:
        return tuple(columns)
    missing = sorted(set(names) - set(known))
    if missing:
        raise ValueError(f"column '{missing[0]}' is not declared")
    return tuple(column for column in columns if column.name in set(names))
