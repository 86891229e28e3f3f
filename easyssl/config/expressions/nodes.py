"""The parts of a parsed expression: frozen, hashable, equal when they mean the same, with their columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any


class ExpressionError(ValueError):
    """An expression that is not in the language, or that cannot be evaluated.

    Attributes:
        reason: What is wrong.
        column: Where in the expression's text, counted from 1.
    """

    def __init__(self, reason: str, column: int) -> None:
        super().__init__(f"{reason} (column {column})")
        self.reason = reason
        self.column = column


@dataclass(frozen=True)
class Node:
    """Base of all parts. Columns do not count in comparisons."""

    column: int = field(default=1, compare=False, kw_only=True)

    def walk(self) -> Iterator[Node]:
        """Yields this part and everything below it."""
        yield self
        for item in fields(self):
            yield from _nodes(getattr(self, item.name))


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield from value.walk()
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)


@dataclass(frozen=True)
class Constant(Node):
    """A number, True, False, None, Ellipsis or the name of a dtype."""

    value: Any
    kind: str  # the type's name: without it Constant(1) would equal Constant(True)

    @staticmethod
    def of(value: Any, column: int) -> Constant:
        """Returns the constant for a Python value."""
        return Constant(value, type(value).__name__, column=column)


@dataclass(frozen=True)
class Name(Node):
    """A parameter or the variable of a comprehension."""

    name: str


@dataclass(frozen=True)
class Display(Node):
    """`[a, b]` or `(a, b)`."""

    kind: str  # "list" or "tuple"
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Slice(Node):
    """`start:stop:step` inside a subscript."""

    start: Node | None
    stop: Node | None
    step: Node | None


@dataclass(frozen=True)
class Subscript(Node):
    """`value[index]`; an index of several parts is a tuple display."""

    value: Node
    index: Node


@dataclass(frozen=True)
class Shape(Node):
    """`value.shape`, the sizes of a tensor's axes, None where they differ from batch to batch."""

    value: Node


@dataclass(frozen=True)
class Unary(Node):
    """`-a`, `+a` or, among columns, `not a`."""

    op: str
    operand: Node


@dataclass(frozen=True)
class Binary(Node):
    """Arithmetic."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Compare(Node):
    """`a < b`, or a chain of comparisons that must all hold."""

    left: Node
    ops: tuple[str, ...]
    rights: tuple[Node, ...]


@dataclass(frozen=True)
class Logical(Node):
    """`a and b` or `a or b`, element by element (columns only)."""

    op: str  # "and" or "or"
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Call(Node):
    """A call of a function of the tables in `functions`.

    All arguments of `tf.` functions are in `keywords`, sorted by name; those of list functions are in
    `arguments`.
    """

    function: str
    arguments: tuple[Node, ...]
    keywords: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Comprehension(Node):
    """`[element for variable in iterable]`."""

    element: Node
    variable: str
    iterable: Node
