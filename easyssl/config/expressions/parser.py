"""From text to `nodes`: Python's own parser, then a visitor that knows only the language."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NoReturn

from easyssl.config.expressions.evaluator import evaluate
from easyssl.config.expressions.functions import BUILTINS, DTYPES, OLD_KEYWORDS, Function
from easyssl.config.expressions.nodes import (
    Binary,
    Call,
    Compare,
    Constant,
    ExpressionError,
    Name,
    Node,
    Unary,
)
from easyssl.errors import nearest

MAX_TEXT = 256
MAX_DEPTH = 16
MAX_INT = 2**31

_BINARY: Mapping[type, str] = MappingProxyType(
    {
        ast.Add: "+",
        ast.Sub: "-",
        ast.Mult: "*",
        ast.Div: "/",
        ast.FloorDiv: "//",
        ast.Mod: "%",
        ast.Pow: "**",
    }
)
_COMPARE: Mapping[type, str] = MappingProxyType(
    {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
)
# What the words of the language leave out, in the words of the reader rather than of Python's grammar.
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "Attribute": "attributes are not allowed, only functions of 'tf.'",
        "Await": "'await' is not allowed",
        "BoolOp": "'and' and 'or' are not allowed here",
        "Dict": "a dictionary is not allowed",
        "DictComp": "a comprehension must be a list",
        "FormattedValue": "an f-string is not allowed",
        "GeneratorExp": "a comprehension must be a list, in brackets",
        "IfExp": "a conditional is not allowed",
        "JoinedStr": "an f-string is not allowed",
        "Lambda": "a lambda inside an expression is not allowed",
        "ListComp": "a comprehension is not allowed here",
        "NamedExpr": "an assignment ':=' is not allowed",
        "Set": "a set is not allowed",
        "SetComp": "a comprehension must be a list",
        "Slice": "a slice belongs directly into a subscript",
        "Starred": "'*' arguments are not allowed",
        "TemplateStr": "a t-string is not allowed",
    }
)


def parse_text(text: str) -> ast.expr:
    """Returns Python's tree of one expression.

    Raises:
        ExpressionError: If the text is too long or not Python.
    """
    if len(text) > MAX_TEXT:
        raise ExpressionError(
            f"an expression may have {MAX_TEXT} characters at most, found {len(text)}", MAX_TEXT + 1
        )
    if not text.strip():
        raise ExpressionError("the expression is empty", 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(_one_line(text), mode="eval")
    except SyntaxError as error:
        column = min(max(error.offset or 1, 1), len(text) + 1)
        raise ExpressionError(f"not a valid expression: {error.msg}", column) from None
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError("not a valid expression", 1) from None
    return tree.body


def _one_line(text: str) -> str:
    """Returns the text with blanks for line breaks, so that an offset is a column."""
    return re.sub(r"\s", " ", text)


class Parser:
    """Numbers, names, arithmetic, comparisons and calls of `tf.` functions: what both languages share.

    Args:
        text: The expression, for columns.
        names: The names that stand for values.
        functions: The functions of `tf.` that may be called.
    """

    def __init__(self, text: str, names: Collection[str], functions: Mapping[str, Function]) -> None:
        self._text = text
        self._bytes = _one_line(text).encode("utf-8", "surrogatepass")
        self._names = set(names)
        self._functions = functions

    def parse(self, tree: ast.AST, depth: int = 0) -> Node:
        """Returns the node of a tree.

        Raises:
            ExpressionError: At the first part that is not in the language.
        """
        if depth > MAX_DEPTH:
            self.refuse(tree, f"nested more than {MAX_DEPTH} deep")
        kind = type(tree).__name__
        visit = getattr(self, f"_parse_{kind.lower()}", None)
        if visit is None:
            self.refuse(tree, _REFUSED.get(kind, "not part of the expression language"))
        return visit(tree, depth + 1)

    def refuse(self, tree: ast.AST, reason: str) -> NoReturn:
        """Raises the error `reason` at `tree`."""
        raise ExpressionError(reason, self.column(tree))

    def column(self, tree: ast.AST) -> int:
        """Returns the column of `tree`, counted in characters from 1."""
        before = self._bytes[: getattr(tree, "col_offset", 0)]
        return len(before.decode("utf-8", "replace")) + 1

    def _parse_constant(self, tree: ast.Constant, depth: int) -> Node:
        value = tree.value
        if isinstance(value, (str, bytes, complex)) or value is Ellipsis:
            what = "a string" if isinstance(value, (str, bytes)) else f"'{self._segment(tree)}'"
            self.refuse(tree, f"{what} is not allowed here")
        if isinstance(value, int) and abs(value) > MAX_INT:
            self.refuse(tree, f"an integer may be {MAX_INT} at most")
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(tree, "a number must be finite")
        return Constant.of(value, self.column(tree))

    def _parse_name(self, tree: ast.Name, depth: int) -> Node:
        if tree.id in self._names:
            return Name(tree.id, column=self.column(tree))
        if tree.id in BUILTINS or tree.id == "tf":
            self.refuse(tree, f"'{tree.id}' must be called")
        self.refuse(tree, f"unknown name '{tree.id}'{nearest(tree.id, self._names)}")

    def _parse_unaryop(self, tree: ast.UnaryOp, depth: int) -> Node:
        if not isinstance(tree.op, (ast.USub, ast.UAdd)):
            self.refuse(tree, "the operators of one operand are + and -")
        operand = self.parse(tree.operand, depth)
        sign = "-" if isinstance(tree.op, ast.USub) else "+"
        if sign == "-" and isinstance(operand, Constant) and operand.kind in ("int", "float"):
            return Constant.of(-operand.value, self.column(tree))
        return Unary(sign, operand, column=self.column(tree))

    def _parse_binop(self, tree: ast.BinOp, depth: int) -> Node:
        op = _BINARY.get(type(tree.op))
        if op is None:
            self.refuse(tree, "the operators are + - * / // % **")
        left, right = self._operand(tree.left, depth), self._operand(tree.right, depth)
        node = Binary(op, left, right, column=self.column(tree))
        if isinstance(node.right, Constant) and isinstance(node.right.value, int) and op == "**":
            if abs(node.right.value) > 64:
                self.refuse(tree.right, "an exponent may be 64 at most")
        if all(isinstance(part, (Binary, Constant, Unary)) for part in node.walk()):
            try:
                evaluate(node, {})
            except ExpressionError as error:
                self.refuse(tree, error.reason)
        return node

    def _operand(self, tree: ast.expr, depth: int) -> Node:
        return self.parse(tree, depth)

    def _parse_compare(self, tree: ast.Compare, depth: int) -> Node:
        ops = []
        for op in tree.ops:
            if type(op) not in _COMPARE:
                self.refuse(tree, "the comparisons are < <= > >= == !=")
            ops.append(_COMPARE[type(op)])
        left = self.parse(tree.left, depth)
        rights = tuple(self.parse(right, depth) for right in tree.comparators)
        return Compare(left, tuple(ops), rights, column=self.column(tree))

    def _parse_call(self, tree: ast.Call, depth: int) -> Node:
        name = self._dotted(tree.func)
        if not name.startswith("tf."):
            self.refuse(tree, self._unknown_function(name))
        function = self._functions.get(name[3:])
        if function is None:
            self.refuse(tree, self._unknown_function(name))
        return self._arguments(tree, name, function, depth)

    def _arguments(self, tree: ast.Call, name: str, function: Function, depth: int) -> Node:
        parameters = function.parameters
        if len(tree.args) > len(parameters):
            self.refuse(tree, f"'{name}' takes {len(parameters)} arguments at most, found {len(tree.args)}")
        given = {p: self._argument(a, p, depth) for a, p in zip(tree.args, parameters, strict=False)}
        for keyword in tree.keywords:
            if keyword.arg is None:
                self.refuse(keyword.value, "'**' arguments are not allowed")
            key = keyword.arg if keyword.arg in parameters else OLD_KEYWORDS.get(keyword.arg, keyword.arg)
            if key not in parameters:
                self.refuse(keyword, f"'{name}' has no argument '{key}'{nearest(key, parameters)}")
            if key in given:
                self.refuse(keyword, f"argument '{key}' of '{name}' is given twice")
            given[key] = self._argument(keyword.value, key, depth)
        for parameter in parameters[: function.required]:
            if parameter not in given:
                self.refuse(tree, f"'{name}' needs the argument '{parameter}'")
        return Call(name, (), tuple(sorted(given.items())), column=self.column(tree))

    def _argument(self, tree: ast.expr, parameter: str, depth: int) -> Node:
        if parameter != "dtype":
            return self.parse(tree, depth)
        if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
            name = tree.value
        else:
            name = self._dotted(tree).removeprefix("tf.")
        if name not in DTYPES:
            self.refuse(tree, f"unknown dtype '{name}'{nearest(name, DTYPES)}")
        return Constant(name, "dtype", column=self.column(tree))

    def _dotted(self, tree: ast.expr) -> str:
        """Returns `a.b.c` of a plain path that starts with `tf`, or a plain name."""
        parts: list[str] = []
        inner: ast.expr = tree
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            self.refuse(tree, "only functions of 'tf.' can be called")
        if parts and inner.id != "tf":
            self.refuse(tree, _REFUSED["Attribute"])
        return ".".join([inner.id, *reversed(parts)])

    def _unknown_function(self, name: str) -> str:
        known = [f"tf.{known}" for known in self._functions]
        return f"'{name}' is not a function of the expression language{nearest(name, known)}"

    def _segment(self, tree: ast.expr) -> str:
        start, end = tree.col_offset, tree.end_col_offset or tree.col_offset
        return self._bytes[start:end].decode("utf-8", "replace")
