"""Labels and row weights as the losses and metrics read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from easyssl.config.expressions import ExpressionError
from easyssl.data.from_config import columns_from_config
from easyssl.data.label_functions import LabelFunction, label_functions
from easyssl.data.loss_columns import LossColumn
from easyssl.errors import DataError, nearest


class Labels:
    """Takes the labels and the row weights out of raw columns.

    A label of width 1 is `[batch]`; a wider one is `[batch, width]`, split at the characters of its
    separator. Labels that are text become float32, numbers keep their type (softmax needs integers) except
    that float64 becomes float32.

    Args:
        names: Label columns.
        separators: Separator of each wide label by column.
        widths: Width of each wide label by column.
        weight: Column with a weight for each row, or None.
        limits: Lowest and highest value of a label, and whether it must be whole, by column.
        loss_columns: What losses read beside labels, such as sessions.
        functions: Functions that are applied to labels first, by column.
    """

    def __init__(
        self,
        names: Sequence[str],
        separators: Mapping[str, str] | None = None,
        widths: Mapping[str, int] | None = None,
        weight: str | None = None,
        limits: Mapping[str, tuple[float, float, bool]] | None = None,
        loss_columns: Sequence[LossColumn] = (),
        functions: Mapping[str, LabelFunction] | None = None,
    ) -> None:
        self.names = tuple(names)
        self.separators = dict(separators or {})
        self.widths = dict(widths or {})
        self.weight = weight
        self.limits = dict(limits or {})
        self.loss_columns = tuple(loss_columns)
        self.functions = dict(functions or {})

    @classmethod
    def from_config(
        cls,
        config: Any,
        names: Sequence[str],
        limits: Mapping[str, tuple[float, float, bool]] | None = None,
        loss_columns: Sequence[LossColumn] = (),
    ) -> Labels:
        """Reads what `data_config` says about labels.

        Args:
            config: A `Config`.
            names: The label columns that the model needs.
            limits: What the model's losses allow, see the class.
            loss_columns: What the model's losses read beside labels.

        Raises:
            ConfigError: If a name is not among the label fields, the weight is not an input field, or a
                label's function does not fit its column.
        """
        data = config.message.data_config
        fields = list(data.label_fields)
        separators, widths = {}, {}
        for name in names:
            if name not in fields:
                raise config.error(
                    "data_config.label_fields", f"the model needs the label '{name}'{nearest(name, fields)}"
                )
            index = fields.index(name)
            if index < len(data.label_dim) and data.label_dim[index] > 1:
                widths[name] = data.label_dim[index]
                separators[name] = data.label_sep[index] if index < len(data.label_sep) else ","
        weight = data.sample_weight or None
        inputs = [field.input_name for field in data.input_fields]
        if weight is not None and weight not in inputs:
            raise config.error(
                "data_config.sample_weight", f"'{weight}' is not an input field{nearest(weight, inputs)}"
            )
        functions = label_functions(config)
        _try(config, functions)
        return cls(names, separators, widths, weight, limits, loss_columns, functions)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are read."""
        others = [column.column for column in self.loss_columns]
        weight = [] if self.weight is None else [self.weight]
        return tuple(dict.fromkeys([*self.names, *others, *weight]))

    def labels(self, raw: Any) -> dict[str, np.ndarray]:
        """Returns the labels of a raw batch by column, and what else losses read by its key.

        Raises:
            DataError: If a label is missing, is not a number or is none that its function or its loss can
                use; the message names the file and line.
        """
        found = {name: self._label(name, raw) for name in self.names}
        for name, values in found.items():
            self._check(name, values, raw)
        return found | {each.key: each.read(_column(each.column, raw)) for each in self.loss_columns}

    def _check(self, name: str, values: np.ndarray, raw: Any) -> None:
        low, high, whole = self.limits.get(name, (-np.inf, np.inf, False))
        good = np.isfinite(values) & (values >= low) & (values <= high)
        if whole:
            good &= values == np.floor(values)
        bad = np.argwhere(~good)
        if bad.size:
            kind = "a whole number" if whole else "a number"
            span = f" from {low:g} to {high:g}" if name in self.limits else ""
            raise DataError(
                f"{place(raw, bad[0][0])}: label '{name}' is {values[tuple(bad[0])]:g}, expected {kind}{span}"
            )

    def weights(self, raw: Any) -> np.ndarray | None:
        """Returns the float32 row weights `[batch]`, or None if there is no weight column.

        Raises:
            DataError: If a weight is not a number or is negative.
        """
        if self.weight is None:
            return None
        weights = _numbers(self.weight, _column(self.weight, raw), raw).astype(np.float32)
        bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if bad.size:
            raise DataError(
                f"{place(raw, bad[0])}: column '{self.weight}' has {weights[bad[0]]:g}, expected a finite "
                "weight of at least 0"
            )
        return weights

    def _label(self, name: str, raw: Any) -> np.ndarray:
        values = _column(name, raw)
        width = self.widths.get(name, 1)
        if width == 1 or values.dtype != object:
            numbers = _numbers(name, values, raw)
            if name not in self.functions:
                return numbers
            try:
                return _floats(self.functions[name](numbers))
            except ExpressionError as error:
                raise DataError(f"{place_of_all(raw)}: user_define_fn of label '{name}': {error}") from None
        separators = self.separators[name]
        rows = np.empty((len(values), width), np.float32)
        for index, cell in enumerate(values):
            text = cell.decode("utf-8", "replace")
            for separator in separators[1:]:
                text = text.replace(separator, separators[0])
            parts = [part for part in text.split(separators[0]) if part]
            if len(parts) != width:
                raise DataError(
                    f"{place(raw, index)}: label '{name}' has {len(parts)} values, expected {width}"
                )
            rows[index] = _numbers(name, np.array(parts, object), raw, index)
        return rows


def _column(name: str, raw: Any) -> np.ndarray:
    if name not in raw.columns:
        raise DataError(f"{place(raw, 0)}: the column '{name}' is missing")
    return np.asarray(raw.columns[name])


def _try(config: Any, functions: Mapping[str, LabelFunction]) -> None:
    """Applies each function to a few values of its column's type."""
    for column in columns_from_config(config) if functions else ():
        if column.name not in functions:
            continue
        kind = np.dtype(np.float32) if column.dtype == object else column.dtype
        try:
            functions[column.name](_floats(np.ones(3, kind)))
        except ExpressionError as error:
            data = config.message.data_config
            index = next(i for i, f in enumerate(data.input_fields) if f.input_name == column.name)
            hint = "; declare the column FLOAT, or use tf.cast" if kind.kind in "iu" else ""
            raise config.error(
                f"data_config.input_fields[{index}].user_define_fn",
                f"it fails on {column.type} values: {error}{hint}",
            ) from None


def _floats(values: np.ndarray) -> np.ndarray:
    """Returns integers as they are, and any other numbers as float32."""
    return values if values.dtype.kind in "iu" else values.astype(np.float32)


def _numbers(name: str, values: np.ndarray, raw: Any, row: int | None = None) -> np.ndarray:
    if values.dtype != object:
        return _floats(values)
    numbers = np.empty(len(values), np.float32)
    for index, cell in enumerate(values):
        try:
            numbers[index] = float(cell)
        except ValueError:
            where = place(raw, index if row is None else row)
            text = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell
            raise DataError(f"{where}: column '{name}' has {text!r}, expected a number") from None
    return numbers


def place(raw: Any, row: int) -> str:
    """Returns `file:line` of a row of a raw batch.

    Args:
        raw: A batch with `paths` and `lines`.
        row: Place in the batch, from 0; behind its rows are the items that were sampled for it.
    """
    if row >= len(raw.lines):
        return f"{raw.sampled.path}:{raw.sampled.lines[row - len(raw.lines)]}"
    return f"{raw.paths[row]}:{raw.lines[row]}"


def place_of_all(raw: Any) -> str:
    """Returns the files and lines that a raw batch was read from, such as `a.csv:65-128`.

    With shuffled rows the lines are the lowest and the highest one of each file.
    """
    spans: dict[str, tuple[int, int]] = {}
    for path, line in zip(raw.paths, raw.lines, strict=True):
        low, high = spans.get(str(path), (int(line), int(line)))
        spans[str(path)] = (min(low, int(line)), max(high, int(line)))
    return ", ".join(f"{path}:{low}-{high}" for path, (low, high) in spans.items())
