"""Evaluates parsed expressions by walking them; the first `tf.` function imports TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from easyssl.config.expressions import arithmetic
from easyssl.config.expressions.functions import FUNCTIONS
from easyssl.config.expressions.nodes import (
    Binary,
    Call,
    Compare,
    Comprehension,
    Constant,
    Display,
    ExpressionError,
    Logical,
    Name,
    Node,
    Shape,
    Slice,
    Subscript,
    Unary,
)


def evaluate(node: Node, values: Mapping[str, Any]) -> Any:
    """Returns the value of `node`.

    Args:
        node: A parsed expression.
        values: The values of its names.

    Returns:
        A tensor, an array, a number, or a list or tuple of them.

    Raises:
        ExpressionError: If an operation fails; the column is the operation's.
    """
    try:
        return _RULES[type(node)](node, values)
    except ExpressionError:
        raise
    except _failures() as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ExpressionError(reason, node.column) from error


def _failures() -> tuple[type[Exception], ...]:
    """Returns what an operation on unsuitable values raises."""
    plain = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
    tensorflow = sys.modules.get("tensorflow")
    return plain if tensorflow is None else (*plain, tensorflow.errors.InvalidArgumentError)


def _constant(node: Constant, values: Mapping[str, Any]) -> Any:
    return node.value


def _name(node: Name, values: Mapping[str, Any]) -> Any:
    return values[node.name]


def _display(node: Display, values: Mapping[str, Any]) -> Any:
    items = [evaluate(item, values) for item in node.items]
    return items if node.kind == "list" else tuple(items)


def _slice(node: Slice, values: Mapping[str, Any]) -> slice:
    return slice(*(part and evaluate(part, values) for part in (node.start, node.stop, node.step)))


def _subscript(node: Subscript, values: Mapping[str, Any]) -> Any:
    return evaluate(node.value, values)[evaluate(node.index, values)]


def _shape(node: Shape, values: Mapping[str, Any]) -> list[int | None]:
    return list(evaluate(node.value, values).shape)


def _unary(node: Unary, values: Mapping[str, Any]) -> Any:
    operand = evaluate(node.operand, values)
    if node.op == "not":
        return _logic("logical_not", operand)
    return -operand if node.op == "-" else +operand if isinstance(operand, (int, float)) else operand


def _binary(node: Binary, values: Mapping[str, Any]) -> Any:
    return arithmetic.calculate(node.op, evaluate(node.left, values), evaluate(node.right, values))


def _compare(node: Compare, values: Mapping[str, Any]) -> Any:
    left = evaluate(node.left, values)
    result: Any = None
    for op, right_node in zip(node.ops, node.rights, strict=True):
        right = evaluate(right_node, values)
        holds = arithmetic.COMPARISONS[op](left, right)
        result = holds if result is None else _logic("logical_and", result, holds)
        left = right
    return result


def _logical(node: Logical, values: Mapping[str, Any]) -> Any:
    result = evaluate(node.operands[0], values)
    for operand in node.operands[1:]:
        result = _logic(f"logical_{node.op}", result, evaluate(operand, values))
    return result


def _logic(name: str, *operands: Any) -> Any:
    """Applies `logical_and`, `logical_or` or `logical_not` to truth values, arrays or tensors."""
    if all(isinstance(operand, bool) for operand in operands):
        return {"logical_and": all, "logical_or": any, "logical_not": lambda v: not v[0]}[name](operands)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and any(tensorflow.is_tensor(operand) for operand in operands):
        return getattr(tensorflow, name)(*operands)
    import numpy as np

    return getattr(np, name)(*operands)


def _call(node: Call, values: Mapping[str, Any]) -> Any:
    arguments = [evaluate(argument, values) for argument in node.arguments]
    if node.function in _BUILTINS:
        return _BUILTINS[node.function](*arguments)
    keywords = {name: evaluate(value, values) for name, value in node.keywords}
    return FUNCTIONS[node.function.removeprefix("tf.")].load()(*arguments, **keywords)


def _comprehension(node: Comprehension, values: Mapping[str, Any]) -> list[Any]:
    items = _items(evaluate(node.iterable, values))
    return [evaluate(node.element, {**values, node.variable: item}) for item in items]


def _items(value: Any) -> Any:
    if not isinstance(value, (list, tuple, range)):
        raise TypeError("expected a list or a tuple; use tf.unstack to split a tensor")
    return value


_BUILTINS = {
    "len": lambda value: len(_items(value)),
    "list": lambda value: list(_items(value)),
    "range": arithmetic.bounded_range,
    "sum": lambda value: arithmetic.total(_items(value)),
    "tuple": lambda value: tuple(_items(value)),
}

_RULES: Mapping[type[Node], Any] = {
    Binary: _binary,
    Call: _call,
    Compare: _compare,
    Comprehension: _comprehension,
    Constant: _constant,
    Display: _display,
    Logical: _logical,
    Name: _name,
    Shape: _shape,
    Slice: _slice,
    Subscript: _subscript,
    Unary: _unary,
}
