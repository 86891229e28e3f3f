"""The expression language of configs: a closed subset of Python expressions, evaluated by our own walker.

Configs hold small functions as text, such as `lambda x: tf.reduce_sum(x, axis=1, keepdims=True)`. They are
parsed into immutable trees that know arguments, numbers, subscripts, shapes of tensors, arithmetic,
comparisons, lists, simple comprehensions and the functions of a fixed table. Everything else is refused at
its column. Python never evaluates the text, so a config cannot reach any other attribute, import a module or
build a value of absurd size. Parsing needs no TensorFlow.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from easyssl.config.expressions.columns import ColumnParser
from easyssl.config.expressions.evaluator import evaluate
from easyssl.config.expressions.lambdas import LambdaParser
from easyssl.config.expressions.nodes import Constant, ExpressionError, Name, Node, Subscript
from easyssl.config.expressions.parser import parse_text

__all__ = [
    "Expression",
    "ExpressionError",
    "indexed_item",
    "parse_column_expression",
    "parse_expression",
    "parse_slice",
]

_SLICE_PARAMETERS = ("x", "i")
_NAME = re.compile(r"tf(\.[A-Za-z]\w*)+", re.ASCII)


@dataclass(frozen=True)
class Expression:
    """A parsed expression; call it with the values of its parameters.

    Two expressions are equal when they have the same parameters and the same tree, whatever their spacing.

    Attributes:
        text: What `parse_expression` (or `parse_column_expression`) turns into this expression again.
        parameters: Names of the arguments, in order.
        body: The tree.

    Example:
        >>> parse_expression("lambda x: [x[0], 2 * x[1]]")([3, 4])
        [3, 8]
    """

    text: str = field(compare=False)
    parameters: tuple[str, ...]
    body: Node

    def __call__(self, *values: Any) -> Any:
        """Returns the value of the expression.

        Args:
            *values: One per parameter: tensors, arrays, numbers, or lists and tuples of them.

        Raises:
            ExpressionError: If an operation fails on these values.
        """
        if len(values) != len(self.parameters):
            raise TypeError(f"'{self.text}' takes {len(self.parameters)} values, found {len(values)}")
        return evaluate(self.body, dict(zip(self.parameters, values, strict=True)))

    def __str__(self) -> str:
        return self.text


def parse_expression(text: str, parameters: Sequence[str] | None = None) -> Expression:
    """Parses a function on tensors.

    Args:
        text: `lambda x: ...`, `lambda x, i: ...`, the part after the colon alone, or, for a function of one
            value, its name, such as `tf.nn.relu`.
        parameters: Names for the part alone; a lambda must have as many. By default a lambda may have one or
            two parameters of any name, and the part alone is a function of `x`.

    Raises:
        ExpressionError: If the text is not in the language.
    """
    stripped = text.strip()
    names = tuple(parameters or ("x",))
    if len(names) == 1 and _NAME.fullmatch(stripped):
        stripped = f"{stripped}({names[0]})"
    with _columns_shifted(len(text) - len(text.lstrip())):
        body = parse_text(stripped)
        if isinstance(body, ast.Lambda):
            names = _lambda_parameters(stripped, body, parameters)
            body = body.body
        return Expression(stripped, names, LambdaParser(stripped, names).parse(body))


def parse_slice(text: str, allow_index: bool = False) -> Expression:
    """Parses a subscript, as a function of the value that it is applied to.

    Args:
        text: One or more subscripts, such as `[1]` or `[:, :8]`.
        allow_index: The function takes a second value, which the text calls `i`.

    Raises:
        ExpressionError: If the text is anything but subscripts.

    Example:
        >>> parse_slice("[1:]")(["a", "b", "c"])
        ['b', 'c']
    """
    parameters = _SLICE_PARAMETERS[: 2 if allow_index else 1]
    prefix = f"lambda {', '.join(parameters)}: x"
    with _columns_shifted(len(text) - len(text.lstrip()) - len(prefix)):
        full = prefix + text.strip()
        inner = parse_text(full)
        inner = inner.body if isinstance(inner, ast.Lambda) else inner
        while isinstance(inner, ast.Subscript):
            inner = inner.value
        if not text.strip().startswith("[") or not (isinstance(inner, ast.Name) and inner.id == "x"):
            raise ExpressionError("expected a subscript such as '[0]' or '[:, :8]'", len(prefix) + 1)
        return parse_expression(full, parameters)


def indexed_item(expression: Expression) -> int | None:
    """Returns which item a subscript with a single number takes, None for any other expression.

    Example:
        >>> indexed_item(parse_slice("[1]")), indexed_item(parse_slice("[:, 1]"))
        (1, None)
    """
    body = expression.body
    if isinstance(body, Subscript) and isinstance(body.value, Name) and isinstance(body.index, Constant):
        return body.index.value if body.index.kind == "int" else None
    return None


def parse_column_expression(text: str, names: Sequence[str]) -> Expression:
    """Parses a feature computed from columns.

    Args:
        text: Such as `(age >= 18) & (age <= limit + 5)` or `tf.math.log1p(age) / 10.0`. Operands of `&` and
            `|` must be in parentheses (see `columns`).
        names: The columns that it may use. They are the parameters of the expression.

    Raises:
        ExpressionError: If the text is not in the language, or uses another column.
    """
    stripped = text.strip()
    with _columns_shifted(len(text) - len(text.lstrip())):
        return Expression(stripped, tuple(names), ColumnParser(stripped, names).parse(parse_text(stripped)))


@contextlib.contextmanager
def _columns_shifted(by: int) -> Iterator[None]:
    try:
        yield
    except ExpressionError as error:
        raise ExpressionError(error.reason, max(error.column + by, 1)) from None


def _lambda_parameters(text: str, tree: ast.Lambda, parameters: Sequence[str] | None) -> tuple[str, ...]:
    parser = LambdaParser(text, ())
    found = tree.args
    if found.vararg or found.kwarg or found.kwonlyargs or found.posonlyargs:
        parser.refuse(tree, "a lambda has plain parameters only")
    if found.defaults:
        parser.refuse(found.defaults[0], "a parameter may have no default value")
    names = tuple(argument.arg for argument in found.args)
    allowed = (1, 2) if parameters is None else (len(parameters),)
    if len(names) not in allowed:
        expected = " or ".join(str(count) for count in allowed)
        parser.refuse(tree, f"expected a lambda with {expected} parameters, found {len(names)}")
    for argument in found.args:
        parser.check_new_name(argument.arg, argument)
    return names
