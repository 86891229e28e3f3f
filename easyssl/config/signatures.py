"""What the constructors of layers accept, read from source text or from live classes.

The layers of this package are read with `ast`, so that a config can be checked without importing TensorFlow.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from easyssl.config.class_sources import LAYERS, ClassSources, last_name

_KINDS = {
    **dict.fromkeys(("int", "float", "bool", "str"), ""),
    **dict.fromkeys(("list", "tuple", "Sequence", "Iterable", "Collection", "List", "Tuple"), "list"),
    **dict.fromkeys(("dict", "Mapping", "Dict", "MutableMapping"), "dict"),
}
# Set by the block that holds the layer, never by its parameters.
_RESERVED = frozenset({"self", "name", "dtype"})
_LOSS_CALLS = frozenset({"report_loss", "add_loss"})


@dataclass(frozen=True)
class Kind:
    """The values that a parameter takes.

    Attributes:
        names: Some of `"int"`, `"float"`, `"bool"`, `"str"`, `"list"`, `"dict"` and `"none"`; empty for any
            value.
        item: The kind of a list's elements.
        choices: The only strings allowed, if any are listed.
    """

    names: frozenset[str] = frozenset()
    item: Kind | None = None
    choices: tuple[str, ...] = ()

    def __or__(self, other: Kind) -> Kind:
        if not self.names or not other.names:
            return ANY
        item = (
            self.item if other.item is None else other.item if self.item is None else self.item | other.item
        )
        return Kind(self.names | other.names, item, self.choices + other.choices)


ANY = Kind()


@dataclass(frozen=True)
class Parameter:
    """One constructor parameter."""

    name: str
    kind: Kind = ANY
    required: bool = True


@dataclass(frozen=True)
class Signature:
    """What a layer class accepts.

    Attributes:
        class_name: As in configs.
        parameters: By name, in order.
        reports_loss: The class adds losses to the training loss.
    """

    class_name: str
    parameters: Mapping[str, Parameter]
    reports_loss: bool = False


class Catalogue(Mapping[str, Signature]):
    """What the layers that are registered in the files of a folder accept; each is read when it is asked for.

    Args:
        sources: The classes in these files.
    """

    def __init__(self, sources: ClassSources) -> None:
        self._sources = sources
        self._read: dict[str, Signature] = {}

    def __getitem__(self, name: str) -> Signature:
        if name not in self._read:
            lineage = self._sources[self._sources.registered[name]]
            parameters = {p.name: p for p in _merge(_static_parameters(cls) for cls in lineage)}
            self._read[name] = Signature(name, parameters, any(_calls_loss(cls) for cls in lineage))
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._sources.registered

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources.registered)

    def __len__(self) -> int:
        return len(self._sources.registered)


@functools.cache
def static_catalogue(folder: Path = LAYERS) -> Mapping[str, Signature]:
    """Reads the layers that are registered in the files of a folder.

    Args:
        folder: Where the layers are; by default those of this package.

    Returns:
        Signatures by registered name, that is, for each class decorated with `@register("Name")`.
    """
    return Catalogue(ClassSources(folder))


def signature_of(cls: type) -> Signature:
    """Returns the signature of a class: its own parameters and those that it hands on to bases of its kind.

    Example:
        >>> class Scale:
        ...     def __init__(self, factor: float, bias: float = 0.0): ...
        >>> list(signature_of(Scale).parameters)
        ['factor', 'bias']
    """
    lineage = [base for base in cls.__mro__ if base is cls or _is_ours(base)]
    parameters = _merge(_live_parameters(base) for base in lineage if "__init__" in vars(base))
    reports = any(_code_calls_loss(f.__code__) for base in lineage for f in _functions(base))
    return Signature(cls.__name__, {p.name: p for p in parameters}, reports)


def signature_of_function(function: Callable[..., Any], name: str) -> Signature:
    """Returns the keyword-only arguments of a function, as a signature.

    Args:
        function: The function.
        name: What errors call it.

    Example:
        >>> def scaled(x, *, factor: float = 1.0): ...
        >>> list(signature_of_function(scaled, "scaled").parameters)
        ['factor']
    """
    parameters = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            annotation = inspect.formatannotation(parameter.annotation).strip("'")
            required = parameter.default is parameter.empty
            kind = kind_of(annotation, parameter.default)
            parameters[parameter.name] = Parameter(parameter.name, kind, required)
    return Signature(name, parameters)


def kind_of(annotation: str | None, default: Any = inspect.Parameter.empty) -> Kind:
    """Returns the kind that an annotation means, or failing that, the type of the default value.

    Example:
        >>> sorted(kind_of("int | None").names)
        ['int', 'none']
    """
    if annotation:
        try:
            return _kind(ast.parse(annotation, mode="eval").body)
        except SyntaxError:
            return ANY
    if isinstance(default, bool | int | float | str):
        return Kind(frozenset({type(default).__name__}))
    return ANY


def _kind(node: ast.expr) -> Kind:
    if isinstance(node, ast.Constant):
        if node.value is None:
            return Kind(frozenset({"none"}))
        return kind_of(node.value) if isinstance(node.value, str) else ANY
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _kind(node.left) | _kind(node.right)
    if isinstance(node, ast.Subscript):
        return _generic(last_name(node.value), node.slice)
    name = last_name(node)
    return Kind(frozenset({_KINDS[name] or name})) if name in _KINDS else ANY


def _generic(name: str, argument: ast.expr) -> Kind:
    """Returns the kind of `name[argument]`."""
    arguments = argument.elts if isinstance(argument, ast.Tuple) else [argument]
    if name == "Optional":
        return _kind(argument) | Kind(frozenset({"none"}))
    if name == "Union":
        return functools.reduce(Kind.__or__, map(_kind, arguments))
    if name == "Literal":
        values = [a.value for a in arguments if isinstance(a, ast.Constant)]
        strings = tuple(v for v in values if isinstance(v, str))
        return Kind(frozenset({"str"}), choices=strings) if len(strings) == len(arguments) else ANY
    if _KINDS.get(name) == "list":
        items = [_kind(a) for a in arguments if not (isinstance(a, ast.Constant) and a.value is Ellipsis)]
        return Kind(frozenset({"list"}), item=functools.reduce(Kind.__or__, items))
    return Kind(frozenset({"dict"})) if _KINDS.get(name) == "dict" else ANY


def _merge(lineage: Iterable[tuple[list[Parameter], bool]]) -> list[Parameter]:
    """Joins the parameters of a class and its bases, as far as each hands on what it does not know."""
    merged: dict[str, Parameter] = {}
    for parameters, hands_on in lineage:
        for parameter in parameters:
            merged.setdefault(parameter.name, parameter)
        if not hands_on:
            break
    return list(merged.values())


def constructor_arguments(cls: ast.ClassDef) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yields the arguments of a class's own constructor with their defaults, but for what blocks set."""
    if (init := method(cls, "__init__")) is None:
        return
    positional = [*init.args.posonlyargs, *init.args.args]
    missing = [None] * (len(positional) - len(init.args.defaults))
    pairs = [
        *zip(positional, [*missing, *init.args.defaults], strict=True),
        *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True),
    ]
    yield from ((argument, default) for argument, default in pairs if argument.arg not in _RESERVED)


def method(cls: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """Returns a method that a class defines itself."""
    return next((n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == name), None)


def _static_parameters(cls: ast.ClassDef) -> tuple[list[Parameter], bool]:
    parameters = []
    for argument, default in constructor_arguments(cls):
        annotation = ast.unparse(argument.annotation) if argument.annotation else None
        value = default.value if isinstance(default, ast.Constant) else inspect.Parameter.empty
        parameters.append(Parameter(argument.arg, kind_of(annotation, value), default is None))
    init = method(cls, "__init__")
    return parameters, init is None or init.args.kwarg is not None


def _calls_loss(cls: ast.ClassDef) -> bool:
    return any(isinstance(n, ast.Call) and last_name(n.func) in _LOSS_CALLS for n in ast.walk(cls))


def _is_ours(cls: type) -> bool:
    return cls.__module__.split(".")[0] not in {"builtins", "keras", "tensorflow", "tf_keras"}


def _live_parameters(cls: type) -> tuple[list[Parameter], bool]:
    parameters, hands_on = [], False
    for parameter in inspect.signature(vars(cls)["__init__"]).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            hands_on = True
        elif parameter.kind is not parameter.VAR_POSITIONAL and parameter.name not in _RESERVED:
            annotated = parameter.annotation is not parameter.empty
            annotation = inspect.formatannotation(parameter.annotation).strip("'") if annotated else None
            required = parameter.default is parameter.empty
            kind = kind_of(annotation, parameter.default)
            parameters.append(Parameter(parameter.name, kind, required))
    return parameters, hands_on


def _functions(cls: type) -> Iterator[FunctionType]:
    for value in vars(cls).values():
        function = inspect.unwrap(value) if callable(value) else None
        if isinstance(function, FunctionType):
            yield function


def _code_calls_loss(code: CodeType) -> bool:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return bool(_LOSS_CALLS & set(code.co_names)) or any(_code_calls_loss(c) for c in inner)
