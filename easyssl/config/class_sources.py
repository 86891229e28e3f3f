"""The source of layer classes, found by a look at the text of files and parsed class by class.

Parsing all layers would take longer than checking a config that uses a few of them.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

LAYERS = Path(__file__).resolve().parents[1] / "layers"
"""Where the layers of this package are."""

# A decorator that registers the class that follows, or the class; both at the beginning of a line.
_HEAD = re.compile(r"""^(?:@(?:\w+\.)*register\(\s*["']([^"']+)["']|class\s+(\w+))""", re.MULTILINE)


class ClassSources(Mapping[str, tuple[ast.ClassDef, ...]]):
    """The classes in the files of a folder by name, each followed by its bases among them.

    Args:
        folder: The folder.

    Attributes:
        registered: The name of the class for each name that `@register` gives.

    Example:
        >>> [cls.name for cls in ClassSources(LAYERS)["MLP"]]
        ['MLP']
    """

    def __init__(self, folder: Path) -> None:
        self.registered: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        for path in sorted(folder.glob("*.py")):
            names: list[str] = []
            for found in _HEAD.finditer(path.read_text(encoding="utf-8")):
                registered, cls = found.groups()
                if registered:
                    names.append(registered)
                else:
                    self._files[cls] = path
                    self.registered.update(dict.fromkeys(names, cls))
                    names = []

    def __getitem__(self, name: str) -> tuple[ast.ClassDef, ...]:
        return tuple(self._lineage(_classes(self._files[name])[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def _lineage(self, cls: ast.ClassDef) -> Iterator[ast.ClassDef]:
        yield cls
        for base in map(last_name, cls.bases):
            if base in self._files and base != cls.name:
                yield from self[base]


@functools.cache
def _classes(path: Path) -> dict[str, ast.ClassDef]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef)}


def registered_names(cls: ast.ClassDef) -> Iterator[str]:
    """Yields the names that `@register` gives a class, the outermost decorator first."""
    for decorator in cls.decorator_list:
        if isinstance(decorator, ast.Call) and last_name(decorator.func) == "register" and decorator.args:
            (name, *_) = decorator.args
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value


def last_name(node: ast.expr) -> str:
    """Returns the name that an expression such as `package.module.Name` ends with, `""` for others."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
