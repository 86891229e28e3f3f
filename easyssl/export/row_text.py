"""Rows as text: the cells of a row joined by a separator, as some clients send them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from easyssl.data.rows import Column
from easyssl.data.transform import COLUMN_DTYPES
from easyssl.export.serving import typed_default

_TRUE = ("1", "true", "t", "yes")


def parse_rows(texts: tf.Tensor, columns: Sequence[Column], separator: str) -> dict[str, tf.Tensor]:
    """Splits rows into columns `[batch]`; an empty cell has its column's default. Quotes are text.

    Args:
        texts: `[batch]` string; each row has a cell for every column.
        columns: The columns in the order of the cells.
        separator: One character.
    """
    defaults = []
    for column in columns:
        dtype = COLUMN_DTYPES[column.type]
        value = typed_default(column)
        if dtype == tf.bool:
            dtype, value = tf.string, b"true" if value else b"false"
        defaults.append(tf.constant([value], dtype))
    cells = tf.io.decode_csv(texts, defaults, field_delim=separator, use_quote_delim=False)
    raw = {column.name: cell for column, cell in zip(columns, cells, strict=True)}
    for column in columns:
        if COLUMN_DTYPES[column.type] == tf.bool:
            lower = tf.strings.lower(tf.strings.strip(raw[column.name]))
            raw[column.name] = tf.reduce_any(tf.equal(lower[:, tf.newaxis], tf.constant(_TRUE)), axis=1)
    return raw


def rows_as_text(
    rows: Mapping[str, np.ndarray], columns: Sequence[Column], separator: str
) -> list[bytes] | None:
    """Returns rows as `parse_rows` takes them; None if a cell holds the separator or a line end.

    Args:
        rows: Column name -> `[n]`, text as `bytes`.
        columns: The columns in the order of the cells.
        separator: One character.
    """
    cells = [[_cell(value) for value in rows[column.name]] for column in columns]
    unfit = (separator.encode(), b"\n", b"\r")
    if any(mark in cell for column in cells for cell in column for mark in unfit):
        return None
    return [separator.encode().join(row) for row in zip(*cells, strict=True)]


def _cell(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool | np.bool_):
        return b"true" if value else b"false"
    return str(value).encode()
