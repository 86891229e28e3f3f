"""The graph that is served: raw columns -> feature transform -> model -> named outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from easyssl.data.rows import Column
from easyssl.data.transform import COLUMN_DTYPES

Tensors = Mapping[str, tf.Tensor]
Predict = Callable[[Tensors], Tensors]

# A tf.train.Example knows three kinds of values only.
_EXAMPLE_DTYPES = {
    tf.int32: tf.int64,
    tf.int64: tf.int64,
    tf.bool: tf.int64,
    tf.string: tf.string,
    tf.float32: tf.float32,
    tf.float64: tf.float32,
}


class ServingModule(tf.Module):
    """What a SavedModel holds: traced functions and exactly the variables that they read.

    Variables that only training uses, such as optimizer slots, random states and the weights of a contrastive
    branch, are not part of it. The model is in it once: what takes
    rows in another form parses them and calls it.

    Args:
        predict: From raw columns `[batch]` to predictions `[batch]` or `[batch, n]`.
        columns: The columns that `predict` reads.
        variables: All variables that `predict` may read.
        resources: Lookup tables and the like that `predict` may read.
        parts: Further signatures by name: the columns that each reads, and its function of these columns.
        separator: If not empty, `serve_rows` takes rows of text, the cells of `columns` joined by it.
    """

    def __init__(
        self,
        predict: Predict,
        columns: Sequence[Column],
        variables: Iterable[tf.Variable],
        resources: Sequence[object] = (),
        parts: Mapping[str, tuple[Sequence[Column], Predict]] = MappingProxyType({}),
        separator: str = "",
    ) -> None:
        super().__init__(name="easyssl_model")

        self.arguments = argument_names([c.name for c in columns])

        def serve_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.answer(parse_examples(examples, columns))

        self.serve = self._trace(predict, columns)
        self.parts = {name: self._trace(function, read) for name, (read, function) in parts.items()}
        self.part_columns = {name: tuple(c.name for c in read) for name, (read, _) in parts.items()}
        self.serve_examples = tf.function(serve_examples, autograph=False).get_concrete_function(
            examples=tf.TensorSpec([None], tf.string, name="examples")
        )
        self.columns, self.separator = tuple(columns), separator
        self.serve_rows = self._trace_rows() if separator else None
        graphs = [function.graph for function in (self.serve, *self.parts.values())]
        read = {id(handle) for graph in graphs for handle, _ in graph.captures}
        self.read_variables = [v for v in variables if id(v.handle) in read]
        self.resources = list(resources)

    def answer(self, rows: Tensors) -> dict[str, tf.Tensor]:
        """Runs `serving_default` on columns `[batch]` by column name."""
        return self.serve(**{self.arguments[name]: values for name, values in rows.items()})

    def answer_part(self, part: str, rows: Tensors) -> dict[str, tf.Tensor]:
        """Runs one of `parts` on columns `[batch]` by column name; more than it reads are ignored."""
        return self.parts[part](**{self.arguments[name]: rows[name] for name in self.part_columns[part]})

    @property
    def signatures(self) -> dict[str, object]:
        """The signatures by name."""
        rows = {} if self.serve_rows is None else {"serve_rows": self.serve_rows}
        return {"serving_default": self.serve, "serve_examples": self.serve_examples, **rows, **self.parts}

    def _trace_rows(self) -> Any:
        """Returns a function of rows as text."""
        from easyssl.export.row_text import parse_rows

        def serve_rows(features: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.answer(parse_rows(features, self.columns, self.separator))

        spec = tf.TensorSpec([None], tf.string, name="features")
        return tf.function(serve_rows, autograph=False).get_concrete_function(features=spec)

    def _trace(self, predict: Predict, columns: Sequence[Column]) -> Any:
        """Returns a function of arguments called as the columns are, as far as a SavedModel can have that."""

        def serve(**arguments: tf.Tensor) -> dict[str, tf.Tensor]:
            raw = {column.name: arguments[self.arguments[column.name]] for column in columns}
            return _as_outputs(predict(fill_empty(raw, columns)))

        signature = {}
        for column in columns:
            argument = self.arguments[column.name]
            signature[argument] = tf.TensorSpec([None], COLUMN_DTYPES[column.type], name=argument)
        return tf.function(serve, autograph=False).get_concrete_function(**signature)


def argument_names(columns: Sequence[str]) -> dict[str, str]:
    """Returns the input name of each column: its own wherever a SavedModel can have it.

    Inputs must be identifiers that differ in more than case. In any other name the characters that do not fit
    become `_`; a name that is then taken, or of which nothing is left, becomes `column_<position>`.

    Example:
        >>> argument_names(["user_id", "geo.city", "价格"])
        {'user_id': 'user_id', 'geo.city': 'geo_city', '价格': 'column_3'}
    """
    names: dict[str, str] = {}
    taken = {"self"}
    fitting = [c for c in columns if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", c)]
    for column in [*fitting, *columns]:  # a name that fits is never lost to one that had to be changed
        if column not in names:
            name = re.sub(r"[^A-Za-z0-9_]", "_", column).lstrip("_0123456789")
            if not name or name.lower() in taken:
                name = f"column_{columns.index(column) + 1}"
            names[column] = name
            taken.add(name.lower())
    return {column: names[column] for column in columns}


def fill_empty(raw: Tensors, columns: Sequence[Column]) -> dict[str, tf.Tensor]:
    """Puts a text column's default where its cell is empty, as the readers do before training.

    Args:
        raw: Columns `[batch]` by name.
        columns: The columns and their defaults.
    """
    filled = dict(raw)
    for column in columns:
        if column.type == "STRING" and column.default:
            cell = filled[column.name]
            filled[column.name] = tf.where(tf.equal(cell, ""), tf.constant(column.default), cell)
    return filled


def parse_examples(examples: tf.Tensor, columns: Sequence[Column]) -> dict[str, tf.Tensor]:
    """Parses serialized `tf.train.Example`s `[batch]` into columns `[batch]`, with defaults."""
    features = {}
    for column in columns:
        dtype = _EXAMPLE_DTYPES[COLUMN_DTYPES[column.type]]
        features[column.name] = tf.io.FixedLenFeature([], dtype, typed_default(column))
    parsed = tf.io.parse_example(examples, features)
    return {c.name: tf.cast(parsed[c.name], COLUMN_DTYPES[c.type]) for c in columns}


def typed_default(column: Column) -> bytes | int | float:
    """Returns the value of an empty cell: the column's default, else the zero of its type."""
    text = column.default
    if column.type == "STRING":
        return text.encode()
    if column.type in ("FLOAT", "DOUBLE"):
        return float(text or 0.0)
    if column.type == "BOOL":
        return int(text.strip().lower() in ("1", "true", "t", "yes"))
    return int(text or 0)


def _as_outputs(predictions: Tensors) -> dict[str, tf.Tensor]:
    """Casts what is floating to float32, whatever dtype policy the model computes in."""
    outputs = {}
    for name, value in predictions.items():
        outputs[name] = tf.identity(tf.cast(value, tf.float32) if value.dtype.is_floating else value)
    return outputs
