"""Text cells to numbers: a whole column at once if all are well formed, else cell by cell."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from easyssl.data.quarantine import shown
from easyssl.data.rows import Column, object_array

_INTEGER = re.compile(rb"[ \t]*[+-]?[0-9]+[ \t]*")
_NUMBER = re.compile(rb"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*")
_NON_FINITE = re.compile(rb"[ \t]*[+-]?(nan|inf|infinity)[ \t]*", re.IGNORECASE)
_BOOLEANS = {b"true": True, b"1": True, b"false": False, b"0": False}
# An integer of more digits than this fits no type; Python refuses to convert very long ones.
_MAX_DIGITS = 64


class BadCell(NamedTuple):
    """Why one cell is malformed: its row in the block, the reason's name, what was found and expected."""

    row: int
    reason: str
    detail: str


def convert(cells: Sequence[bytes], column: Column) -> tuple[np.ndarray, list[BadCell]]:
    """Converts the cells of one column.

    Empty cells become the column's default. Blanks around numbers are accepted; digits grouped by
    underscores, hexadecimal numbers, `nan` and `inf` are not.

    Args:
        cells: Text of each cell.
        column: Name, type and default.

    Returns:
        Values `[len(cells)]` of the column's type, and the malformed cells, whose values are zero.

    Raises:
        ValueError: If the column's default is not a value of its type.

    Example:
        >>> convert([b"7", b"", b"1.0"], Column("age", "INT32", default="-1"))[0]
        array([ 7, -1,  0], dtype=int32)
    """
    if column.type == "STRING":
        if column.default and b"" in cells:
            default = column.default.encode()
            cells = [cell or default for cell in cells]
        return object_array(cells), []
    if b"" in cells:
        default = column.default.encode() or b"0"
        _check_default(column, default)
        cells = [cell or default for cell in cells]
    values = _convert_block(cells, column)
    if values is not None:
        return values, []
    return _convert_each(cells, column)


def empty_cells(cells: Sequence[bytes], column: Column) -> np.ndarray | None:
    """Returns which cells are empty and get another value from `convert`; None if there are none.

    Without `Column.mark_empty` nobody asks, and the answer is None as well.
    """
    if not column.mark_empty or (column.type == "STRING" and not column.default) or b"" not in cells:
        return None
    return np.fromiter((not cell for cell in cells), bool, len(cells))


def check_default(column: Column) -> None:
    """Checks that the column's default is a value of its type.

    Raises:
        ValueError: If it is not.
    """
    if column.default and column.type != "STRING":
        _check_default(column, column.default.encode())


def _check_default(column: Column, default: bytes) -> None:
    _, reason, detail = _convert_cell(default, column)
    if reason:
        raise ValueError(f"default value of {detail}")


def _convert_block(cells: Sequence[bytes], column: Column) -> np.ndarray | None:
    """Converts a whole column, or returns None if any cell needs a closer look."""
    if column.type == "BOOL":
        return None
    integers = column.type in ("INT32", "INT64")
    # Joined by commas and with a last cell added, the parser gives as many values as there are cells only if
    # each cell is one number: a cell that is none stops it, and the added cell shows that nothing trails.
    joined = b",".join(cells) + b",0"
    if joined.translate(None, b"0123456789+-," if integers else b"0123456789+-.eE,"):
        return _convert_blanks(cells, column, joined)
    # The parser takes a sign without digits for zero.
    if joined.count(b",") != len(cells) or b"-," in joined or b"+," in joined:
        return None
    try:
        values = np.fromstring(joined.decode("ascii"), np.int64 if integers else np.float64, sep=",")
    except (ValueError, DeprecationWarning):
        return None
    if len(values) != len(cells) + 1:
        return None
    return _narrow(values[:-1], column, saturated=True)


def _convert_blanks(cells: Sequence[bytes], column: Column, joined: bytes) -> np.ndarray | None:
    """Converts a column whose cells have blanks around their numbers."""
    try:
        if column.type in ("INT32", "INT64"):
            if joined.translate(None, b"0123456789+-, \t"):
                return None
            values = np.fromiter(map(int, cells), np.int64, len(cells))
        else:
            if joined.translate(None, b"0123456789+-.eE, \t"):
                return None
            values = np.fromiter(map(float, cells), np.float64, len(cells))
    except (ValueError, OverflowError):
        return None
    return _narrow(values, column)


def _narrow(values: np.ndarray, column: Column, saturated: bool = False) -> np.ndarray | None:
    """Casts to the column's type; None if a value does not fit (or may have been cut to the limits)."""
    if not len(values):
        return values.astype(column.dtype)
    if column.dtype.kind == "i":
        limits = np.iinfo(column.dtype)
        slack = 1 if saturated and column.dtype == np.int64 else 0
        if values.min() < limits.min + slack or values.max() > limits.max - slack:
            return None
        return values.astype(column.dtype, copy=False)
    with np.errstate(over="ignore"):
        narrowed = values.astype(column.dtype, copy=False)
    return narrowed if np.isfinite(narrowed).all() else None


def _convert_each(cells: Sequence[bytes], column: Column) -> tuple[np.ndarray, list[BadCell]]:
    values = np.zeros(len(cells), column.dtype)
    bad = []
    for index, cell in enumerate(cells):
        value, reason, detail = _convert_cell(cell, column)
        if reason:
            bad.append(BadCell(index, reason, detail))
        else:
            values[index] = value
    return values, bad


def _convert_cell(cell: bytes, column: Column) -> tuple[float, str, str]:
    """Returns value, reason, detail; the reason is empty for a good cell."""
    found = f"column '{column.name}' holds {shown(cell)}, expected {column.type}"
    if column.type == "BOOL":
        flag = _BOOLEANS.get(cell.strip(b" \t").lower())
        return (0, "bad_boolean", f"{found} (true, false, 1 or 0)") if flag is None else (flag, "", "")
    if column.dtype.kind == "i":
        if not _INTEGER.fullmatch(cell):
            hint = " without a decimal point or exponent" if _NUMBER.fullmatch(cell) else ""
            return 0, "bad_number", found + hint
        limits = np.iinfo(column.dtype)
        digits = cell.strip(b" \t").lstrip(b"+-0")
        integer = int(cell) if len(digits) <= _MAX_DIGITS else limits.max + 1
        if not limits.min <= integer <= limits.max:
            return 0, "overflow", f"{found} (from {limits.min} to {limits.max})"
        return integer, "", ""
    if _NON_FINITE.fullmatch(cell):
        return 0, "non_finite", f"{found} that is finite"
    if not _NUMBER.fullmatch(cell):
        return 0, "bad_number", found
    with np.errstate(over="ignore"):
        number = float(column.dtype.type(float(cell)))
    if not math.isfinite(number):
        limit = np.finfo(column.dtype).max
        return 0, "overflow", f"{found} (at most {limit:.3g} in size)"
    return number, "", ""
