"""The expression language of configs: a closed subset of Python expressions, evaluated by our own walker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ExpressionError(ValueError):
    """An expression that is not in the language or cannot be evaluated.

    Attributes:
        column: Where in the expression's text, counted from 1.
    """

    def __init__(self, text: str, column: int) -> None:
        super().__init__(text)
        self.column = column


@dataclass(frozen=True)
class Expression:
    """A parsed expression of one or two parameters; call it with their values."""

    text: str
    parameters: tuple[str, ...]
    body: Any
