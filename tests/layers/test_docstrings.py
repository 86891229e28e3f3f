"""Docstrings are checked like code: their examples run, and the defaults they tell are the real ones."""

import ast
import doctest
import importlib
import inspect
import pathlib
import re

import pytest

import easyssl.layers

pytestmark = pytest.mark.both_keras

ROOT = pathlib.Path(easyssl.layers.__file__).parents[1]
FILES = [*(f for folder in ("functional", "layers", "losses") for f in (ROOT / folder).glob("*.py"))]
MODULES = sorted(
    ".".join(("easyssl", *file.relative_to(ROOT).with_suffix("").parts))
    for file in [*FILES, ROOT / "testing.py"]
)
MODULES = [name for name in MODULES if not name.endswith("__init__")]
ARGUMENT = re.compile(r"^ {4}\**(\w+): ", re.MULTILINE)
DEFAULT = re.compile(r"Defaults\s+to\s+(.*?)(?:,\s+which\b.*)?\.(?:\s|$)", re.DOTALL)


def documented(obj):
    """Yields (name, text) of each argument in the docstring's Args section."""
    sections = re.split(r"^(\w+):$", inspect.cleandoc(obj.__doc__ or ""), flags=re.MULTILINE)
    if "Args" not in sections:
        return
    text = sections[sections.index("Args") + 1]
    pieces = ARGUMENT.split(text)
    yield from zip(pieces[1::2], pieces[2::2], strict=True)


def public_objects(module):
    for name, obj in vars(module).items():
        if name.startswith("_") or getattr(obj, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(obj):
            yield name, obj
        elif inspect.isclass(obj):
            yield name, obj
            for method, function in vars(obj).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{name}.{method}", function


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert not failed


@pytest.mark.parametrize("name", MODULES)
def test_documented_defaults_are_the_real_ones(name):
    for owner, obj in public_objects(importlib.import_module(name)):
        parameters = inspect.signature(obj).parameters
        for argument, text in documented(obj):
            told = DEFAULT.search(text)
            if told is not None:
                default = parameters[argument].default
                where = f"{name}.{owner}: {argument}"
                assert ast.literal_eval(told.group(1)) == default, f"{where} is {default!r}"


@pytest.mark.parametrize("name", easyssl.layers.__all__)
def test_every_public_layer_documents_every_argument(name):
    cls = getattr(easyssl.layers, name)
    told = {argument for base in cls.__mro__ for argument, _ in documented(base)}
    assert set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"} <= told
