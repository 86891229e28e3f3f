"""Arithmetic and comparison with bounds, so that no expression can make a number or a list of absurd size."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

MAX_LENGTH = 1024
"""Most elements that `range`, or the repetition of a list, may have."""

_MAX_RESULT = 2**63 - 1

ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": operator.truediv,
        "//": operator.floordiv,
        "%": operator.mod,
        "**": operator.pow,
    }
)

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
    }
)


def calculate(op: str, left: Any, right: Any) -> Any:
    """Returns `left op right`.

    Raises:
        ValueError: If an integer or the length of a list would leave its bounds.
    """
    if isinstance(left, int) and isinstance(right, int):
        if op == "**" and left.bit_length() * abs(right) > 2 * 63:
            raise ValueError("the power is too large")
        result = ARITHMETIC[op](left, right)
        if isinstance(result, int) and abs(result) > _MAX_RESULT:
            raise ValueError("the result does not fit into 64 bits")
        return result
    for sequence, count in ((left, right), (right, left)):
        if op == "*" and isinstance(sequence, (list, tuple)) and isinstance(count, int):
            if len(sequence) * count > MAX_LENGTH:
                raise ValueError(f"a list may have {MAX_LENGTH} elements at most")
    result = ARITHMETIC[op](left, right)
    if isinstance(result, complex):
        raise ValueError("the result is not a real number")
    return result


def bounded_range(*arguments: Any) -> range:
    """Returns `range(*arguments)`.

    Raises:
        ValueError: If it is longer than `MAX_LENGTH`.
    """
    result = range(*arguments)
    if len(result) > MAX_LENGTH:
        raise ValueError(f"a range may have {MAX_LENGTH} elements at most, found {len(result)}")
    return result


def total(values: Any) -> Any:
    """Returns the sum of a list."""
    return functools.reduce(operator.add, values, 0)
