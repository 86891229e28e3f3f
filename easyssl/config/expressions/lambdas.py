"""The language of functions on tensors, such as `lambda x: tf.concat([x[0], x[1]], axis=1)`."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence

from easyssl.config.expressions.functions import BUILTINS, FUNCTIONS
from easyssl.config.expressions.nodes import (
    Call,
    Comprehension,
    Constant,
    Display,
    Name,
    Node,
    Shape,
    Slice,
    Subscript,
)
from easyssl.config.expressions.parser import Parser
from easyssl.errors import nearest

MAX_ITEMS = 16


class LambdaParser(Parser):
    """The language of functions on tensors: adds subscripts, shapes, lists and what is done with lists."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        super().__init__(text, names, FUNCTIONS)

    def _parse_list(self, tree: ast.List, depth: int) -> Node:
        return self._display("list", tree, tree.elts, depth)

    def _parse_tuple(self, tree: ast.Tuple, depth: int) -> Node:
        return self._display("tuple", tree, tree.elts, depth)

    def _display(self, kind: str, tree: ast.expr, items: Sequence[ast.expr], depth: int) -> Node:
        if len(items) > MAX_ITEMS:
            self.refuse(tree, f"a {kind} may have {MAX_ITEMS} items at most, found {len(items)}")
        return Display(kind, tuple(self.parse(item, depth) for item in items), column=self.column(tree))

    def _parse_subscript(self, tree: ast.Subscript, depth: int) -> Node:
        value = self.parse(tree.value, depth)
        if isinstance(tree.slice, ast.Tuple):
            parts = tuple(self._index(part, depth + 1) for part in tree.slice.elts)
            index: Node = Display("tuple", parts, column=self.column(tree.slice))
            if len(parts) > MAX_ITEMS:
                self.refuse(tree.slice, f"an index may have {MAX_ITEMS} parts at most, found {len(parts)}")
        else:
            index = self._index(tree.slice, depth)
        return Subscript(value, index, column=self.column(tree))

    def _index(self, tree: ast.expr, depth: int) -> Node:
        if isinstance(tree, ast.Slice):
            parts = (tree.lower, tree.upper, tree.step)
            start, stop, step = (None if part is None else self.parse(part, depth) for part in parts)
            return Slice(start, stop, step, column=self.column(tree))
        if isinstance(tree, ast.Constant) and tree.value is Ellipsis:
            return Constant.of(Ellipsis, self.column(tree))
        if isinstance(tree, ast.Constant) and isinstance(tree.value, bool):
            self.refuse(tree, "an index is a number")
        return self.parse(tree, depth)

    def _parse_listcomp(self, tree: ast.ListComp, depth: int) -> Node:
        if len(tree.generators) > 1:
            self.refuse(tree, "a comprehension may have one 'for'")
        (generator,) = tree.generators
        if generator.ifs or generator.is_async:
            self.refuse(tree, "a comprehension may have no 'if' and no 'async'")
        if not isinstance(generator.target, ast.Name):
            self.refuse(generator.target, "a comprehension has one variable")
        variable = generator.target.id
        self.check_new_name(variable, generator.target)
        iterable = self.parse(generator.iter, depth)
        source = iterable
        while isinstance(source, Subscript):
            source = source.value
        if not (isinstance(source, Name) or (isinstance(source, Call) and source.function == "range")):
            self.refuse(generator.iter, "a comprehension runs over range(...) or an argument")
        self._names.add(variable)
        element = self.parse(tree.elt, depth)
        self._names.remove(variable)
        if any(isinstance(node, Comprehension) for node in element.walk()):
            self.refuse(tree.elt, "a comprehension inside a comprehension is not allowed")
        return Comprehension(element, variable, iterable, column=self.column(tree))

    def check_new_name(self, name: str, tree: ast.AST) -> None:
        """Refuses names that hide others or start with an underscore."""
        if name in self._names or name in BUILTINS or name == "tf":
            self.refuse(tree, f"'{name}' already has a meaning; use another name")
        if name.startswith("_"):
            self.refuse(tree, f"the name '{name}' starts with an underscore")

    def _parse_attribute(self, tree: ast.Attribute, depth: int) -> Node:
        if tree.attr != "shape":
            self.refuse(tree, "attributes are not allowed, only the shape of a tensor and functions of 'tf.'")
        return Shape(self.parse(tree.value, depth), column=self.column(tree))

    def _parse_call(self, tree: ast.Call, depth: int) -> Node:
        shape = self._shape_in_old_words(tree, depth)
        if shape is not None:
            return shape
        name = self._dotted(tree.func)
        if name not in BUILTINS:
            return super()._parse_call(tree, depth)
        if tree.keywords or not 1 <= len(tree.args) <= BUILTINS[name]:
            expected = "1 argument" if BUILTINS[name] == 1 else f"1 to {BUILTINS[name]} arguments"
            self.refuse(tree, f"'{name}' takes {expected}")
        arguments = tuple(self.parse(argument, depth) for argument in tree.args)
        return Call(name, arguments, (), column=self.column(tree))

    def _shape_in_old_words(self, tree: ast.Call, depth: int) -> Node | None:
        """Reads `x.get_shape()`, and `.as_list()` of a shape, as TensorFlow 1 has them."""
        called = tree.func
        if not isinstance(called, ast.Attribute) or tree.args or tree.keywords:
            return None
        if called.attr == "get_shape":
            return Shape(self.parse(called.value, depth), column=self.column(tree))
        if called.attr == "as_list":
            shape = self.parse(called.value, depth)
            if isinstance(shape, Shape):
                return shape
        return None

    def _unknown_function(self, name: str) -> str:
        known = [f"tf.{known}" for known in self._functions]
        return f"'{name}' is not a function of the expression language{nearest(name, [*known, *BUILTINS])}"
