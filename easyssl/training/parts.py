"""Tables whose parts are on several parameter servers, as one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_PART = re.compile(r"(?P<whole>.+)/part_(?P<number>\d+)")


class Parts:
    """Variables that hold consecutive rows of a table, with what a checkpoint needs of a `tf.Variable`.

    Args:
        variables: The parts in their order.
    """

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        self.variables = list(variables)
        rows = sum(variable.shape[0] for variable in self.variables)
        self.shape = tf.TensorShape([rows, *self.variables[0].shape[1:]])
        self.dtype = self.variables[0].dtype

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return np.asarray(np.concatenate([variable.numpy() for variable in self.variables]), *args, **kwargs)

    def assign(self, value: Any) -> None:
        """Gives each part its rows."""
        start = 0
        for variable in self.variables:
            variable.assign(value[start : start + variable.shape[0]])
            start += variable.shape[0]


def joined(variables: Mapping[str, tf.Variable]) -> dict[str, Any]:
    """Returns variables by name with the parts of each table as one, under the table's name.

    Args:
        variables: By name; the parts of a table are called `<table>/part_0`, `<table>/part_1`, ...

    Example:
        >>> sorted(joined({"t/part_0": tf.Variable([[1.0]]), "t/part_1": tf.Variable([[2.0]])}))
        ['t']
    """
    parts: dict[str, dict[int, tf.Variable]] = {}
    for name, variable in variables.items():
        matched = _PART.fullmatch(name)
        if matched is not None:
            parts.setdefault(matched["whole"], {})[int(matched["number"])] = variable
    found: dict[str, Any] = {}
    for name, variable in variables.items():
        matched = _PART.fullmatch(name)
        if matched is None:
            found[name] = variable
        elif matched["whole"] not in found:
            own = parts[matched["whole"]]
            found[matched["whole"]] = Parts([own[number] for number in sorted(own)])
    return found
