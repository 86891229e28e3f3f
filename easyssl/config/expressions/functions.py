"""Which functions an expression may call. The tables are closed: a config cannot reach anything else."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

DTYPES = ("bool", "float16", "bfloat16", "float32", "float64", "int32", "int64")

BUILTINS: Mapping[str, int] = MappingProxyType({"len": 1, "list": 1, "range": 3, "sum": 1, "tuple": 1})
"""Python functions and their largest number of arguments."""


@dataclass(frozen=True)
class Function:
    """A function of TensorFlow.

    Attributes:
        target: Its path below `tf`.
        parameters: The arguments that an expression may pass, by position or keyword.
        required: How many of them must be given.
        elementwise: The output has the shape of the broadcast inputs, so it may be used among columns.
    """

    target: str
    parameters: tuple[str, ...]
    required: int
    elementwise: bool = False

    def load(self) -> Callable[..., Any]:
        """Imports TensorFlow and returns the function."""
        import tensorflow as tf

        return functools.reduce(getattr, self.target.split("."), tf)


# Keyword names of TensorFlow 1, which configs written for it may use.
OLD_KEYWORDS: Mapping[str, str] = MappingProxyType(
    {"keep_dims": "keepdims", "reduction_indices": "axis", "squeeze_dims": "axis", "dim": "axis"}
)


_ALSO_IN_MATH = (
    "reduce_sum reduce_mean reduce_max reduce_min reduce_prod reduce_logsumexp add_n argmax argmin cumsum "
    "exp sqrt square abs sign negative round floor sigmoid tanh "
    "add subtract multiply divide maximum minimum pow"
).split()


def _table() -> dict[str, Function]:
    table: dict[str, Function] = {}

    def add(names: str, parameters: str, required: int = 1, elementwise: bool = False) -> None:
        for name in names.split():
            table[name] = Function(name, tuple(parameters.split()), required, elementwise)

    add("reduce_sum reduce_mean reduce_max reduce_min reduce_prod", "input_tensor axis keepdims")
    add("reduce_logsumexp math.reduce_std math.reduce_variance", "input_tensor axis keepdims")
    add("add_n", "inputs")
    add("stack", "values axis")
    add("unstack", "value num axis")
    add("concat", "values axis", required=2)
    add("split", "value num_or_size_splits axis", required=2)
    add("reshape", "tensor shape", required=2)
    add("shape", "input")
    add("squeeze", "input axis")
    add("expand_dims", "input axis", required=2)
    add("transpose", "a perm")
    add("reverse", "tensor axis", required=2)
    add("gather", "params indices axis batch_dims", required=2)
    add("matmul", "a b transpose_a transpose_b", required=2)
    add("cast", "x dtype", required=2)
    add("clip_by_value", "t clip_value_min clip_value_max", required=3)
    add("where", "condition x y", required=3)
    add("identity stop_gradient zeros_like ones_like", "input")
    add("argmax argmin cumsum math.l2_normalize nn.softmax nn.log_softmax", "input axis")
    add("math.log math.log1p math.expm1 exp sqrt square abs sign negative round floor", "x", elementwise=True)
    add("math.ceil math.rsqrt sigmoid tanh", "x", elementwise=True)
    add("nn.relu nn.relu6 nn.elu nn.selu nn.silu nn.swish nn.gelu nn.leaky_relu", "features")
    add("math.softplus nn.softplus", "features")
    add("nn.sigmoid nn.tanh", "x")
    add("add subtract multiply divide maximum minimum pow", "x y", required=2, elementwise=True)
    add("math.divide_no_nan math.squared_difference", "x y", required=2, elementwise=True)
    # TensorFlow names these first arguments in its own ways.
    for name, first in {
        "cumsum": "x",
        "math.l2_normalize": "x",
        "nn.softmax": "logits",
        "nn.log_softmax": "logits",
    }.items():
        known = table[name]
        table[name] = Function(known.target, (first, *known.parameters[1:]), known.required)
    # Second names of the same functions, the last two from TensorFlow 1.
    for name in _ALSO_IN_MATH:
        table[f"math.{name}"] = table[name]
    for alias, name in {
        "nn.l2_normalize": "math.l2_normalize",
        "log": "math.log",
        "log1p": "math.log1p",
    }.items():
        table[alias] = table[name]
    return table


FUNCTIONS: Mapping[str, Function] = MappingProxyType(_table())
"""By the name after `tf.`."""
