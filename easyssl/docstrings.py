"""What the docstrings of layers say, read from source text: for `easyssl layers` and `docs/components.md`.

Files are read with `ast`, so TensorFlow is not imported.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from easyssl.config.class_sources import LAYERS, ClassSources, registered_names
from easyssl.config.signatures import constructor_arguments, method

_SECTION = re.compile(r"^(Args|Returns|Raises|Example|References|Attributes):$", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}\**(\w+): ", re.MULTILINE)
# A default that is told for its own sake; one with ", which is ..." says more than the signature.
_DEFAULT = re.compile(r"\s*\bDefaults to (?:\"[^\"]*\"|[^,;]*?)\.$")


@dataclass(frozen=True)
class Docstring:
    """A docstring in its parts.

    Attributes:
        summary: The first paragraph, one line.
        description: The paragraphs up to the first section, with their line breaks.
        arguments: Text of each argument, in one line.
        returns: Text of the section "Returns", in one line.
        raises: Text by error class, in one line.
        example: The example as it is written, without its indentation.
        references: Text of the section, with its line breaks.
    """

    summary: str = ""
    description: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    returns: str = ""
    raises: Mapping[str, str] = field(default_factory=dict)
    example: str = ""
    references: str = ""


@dataclass(frozen=True)
class ParameterDoc:
    """A constructor parameter: its type and default as written, None without a default, and what it is."""

    name: str
    type: str
    default: str | None
    text: str


@dataclass(frozen=True)
class LayerDoc:
    """What is told about a layer.

    Attributes:
        class_name: Of the Python class.
        names: What configs may call it, its own name first; empty if they cannot.
        doc: The docstring of the class; parts that it leaves out are those of its base.
        parameters: In the order of the constructor, a base's last.
        inputs: What `call` takes.
        outputs: What `call` returns.
    """

    class_name: str
    names: tuple[str, ...]
    doc: Docstring
    parameters: tuple[ParameterDoc, ...]
    inputs: str
    outputs: str


def parse_docstring(text: str | None) -> Docstring:
    """Takes a Google-style docstring apart.

    Example:
        >>> doc = parse_docstring('''Halves.
        ...
        ...     Args:
        ...         x: A number, not
        ...             too small.
        ... ''')
        >>> doc.summary, doc.arguments
        ('Halves.', {'x': 'A number, not too small.'})
    """
    head, *rest = _SECTION.split(inspect.cleandoc(text or ""))
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    summary, _, description = head.strip().partition("\n\n")
    return Docstring(
        _line(summary),
        description.strip(),
        _entries(sections.get("Args", "")),
        _line(sections.get("Returns", "")),
        _entries(sections.get("Raises", "")),
        inspect.cleandoc(sections.get("Example", "")),
        inspect.cleandoc(sections.get("References", "")),
    )


@functools.cache
def layer_docs(folder: Path = LAYERS) -> Mapping[str, LayerDoc]:
    """Returns the layers that the package in a folder exports (`__all__`), by the name of their class."""
    classes = ClassSources(folder)
    return {name: _layer_doc(classes[name]) for name in sorted(_exported(folder / "__init__.py"))}


def _exported(file: Path) -> list[str]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _layer_doc(lineage: tuple[ast.ClassDef, ...]) -> LayerDoc:
    docs = [parse_docstring(ast.get_docstring(cls)) for cls in lineage]
    calls = [parse_docstring(ast.get_docstring(m)) for cls in lineage if (m := method(cls, "call"))]
    own = docs[0]
    doc = Docstring(
        own.summary,
        own.description,
        next((d.arguments for d in docs if d.arguments), {}),
        own.returns,
        next((d.raises for d in docs if d.raises), {}),
        own.example,
        next((d.references for d in docs if d.references), ""),
    )
    told = {name: text for other in reversed(docs) for name, text in other.arguments.items()}
    parameters: dict[str, ParameterDoc] = {}
    for cls in lineage:
        for argument, default in constructor_arguments(cls):
            text = _DEFAULT.sub("", told.get(argument.arg, ""))
            kind = _type(argument.annotation)
            value = None if default is None else ast.unparse(default)
            parameters.setdefault(argument.arg, ParameterDoc(argument.arg, kind, value, text))
    names = sorted(registered_names(lineage[0]), key=lambda name: name != lineage[0].name)
    return LayerDoc(
        lineage[0].name,
        tuple(names),
        doc,
        tuple(parameters.values()),
        next((c.arguments["inputs"] for c in calls if "inputs" in c.arguments), ""),
        next((c.returns for c in calls if c.returns), ""),
    )


def _type(annotation: ast.expr | None) -> str:
    """Returns an annotation as written, but `Literal["a", "b"]` as its values."""
    text = "" if annotation is None else ast.unparse(annotation)
    return re.sub(r"Literal\[([^][]*)\]", lambda match: match.group(1).replace(", ", " | "), text)


def _entries(section: str) -> dict[str, str]:
    pieces = _ENTRY.split(section)
    return {name: _line(text) for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}


def _line(text: str) -> str:
    return " ".join(text.split())
