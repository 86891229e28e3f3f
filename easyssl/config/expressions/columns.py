"""The language of features computed from columns, such as `(age >= 18) & (age <= limit + 5)`.

Python gives `&` and `|` a higher precedence than comparisons, the configs' first reader gave them none at all
(strictly from left to right). The two agree only where parentheses leave no choice, so these are required:
each operand of `&` and `|` must be a comparison in parentheses or be logical itself, and a mix of `&` and `|`
must be parenthesised. `and`, `or` and `not` have Python's precedence.
"""

from __future__ import annotations

import ast
from collections.abc import Collection

from easyssl.config.expressions.functions import FUNCTIONS
from easyssl.config.expressions.nodes import Compare, Logical, Node, Unary
from easyssl.config.expressions.parser import Parser

_ELEMENTWISE = {name: function for name, function in FUNCTIONS.items() if function.elementwise}


class ColumnParser(Parser):
    """Arithmetic, comparisons, logic and element-wise `tf.` functions of columns."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        super().__init__(text, names, _ELEMENTWISE)

    def _parse_boolop(self, tree: ast.BoolOp, depth: int) -> Node:
        op = "and" if isinstance(tree.op, ast.And) else "or"
        operands = tuple(self._truth(value, f"'{op}'", depth) for value in tree.values)
        return Logical(op, operands, column=self.column(tree))

    def _parse_binop(self, tree: ast.BinOp, depth: int) -> Node:
        if isinstance(tree.op, (ast.BitAnd, ast.BitOr)):
            sign, op = ("&", "and") if isinstance(tree.op, ast.BitAnd) else ("|", "or")
            for operand in (tree.left, tree.right):
                inner = operand.op if isinstance(operand, ast.BinOp) else tree.op
                mixed = isinstance(inner, (ast.BitAnd, ast.BitOr)) and type(inner) is not type(tree.op)
                if mixed and not self._enclosed(operand):
                    self.refuse(operand, "'&' and '|' have no precedence; add parentheses")
            operands = tuple(self._truth(value, f"'{sign}'", depth) for value in (tree.left, tree.right))
            return Logical(op, operands, column=self.column(tree))
        return super()._parse_binop(tree, depth)

    def _operand(self, tree: ast.expr, depth: int) -> Node:
        node = self.parse(tree, depth)
        if _is_logical(node):
            self.refuse(tree, "arithmetic needs numbers, found a comparison")
        return node

    def _parse_unaryop(self, tree: ast.UnaryOp, depth: int) -> Node:
        if isinstance(tree.op, ast.Not):
            return Unary("not", self._truth(tree.operand, "'not'", depth), column=self.column(tree))
        return super()._parse_unaryop(tree, depth)

    def _truth(self, tree: ast.expr, what: str, depth: int) -> Node:
        node = self.parse(tree, depth)
        if not _is_logical(node):
            self.refuse(tree, f"{what} needs comparisons on both sides, each in parentheses")
        return node

    def _enclosed(self, tree: ast.expr) -> bool:
        """Whether a part of the expression stands in parentheses of its own."""
        before = self._bytes[: tree.col_offset].rstrip()
        after = self._bytes[tree.end_col_offset or 0 :].lstrip()
        return before.endswith(b"(") and after.startswith(b")")


def _is_logical(node: Node) -> bool:
    return isinstance(node, (Compare, Logical)) or (isinstance(node, Unary) and node.op == "not")
