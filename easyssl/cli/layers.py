"""`easyssl layers`: the layers that a config may name, and what each of them takes."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from easyssl.errors import UsageError, nearest

if TYPE_CHECKING:
    from easyssl.docstrings import LayerDoc

SUMMARY = "list the layers that a config may name, or explain one"
DESCRIPTION = """\
Lists the layers that a config may name by class_name, or explains one of them: its parameters with their
defaults, what it takes and gives, its errors and an example.

Nothing is imported or built, so the answer comes at once. docs/components.md has the same on one page.
"""
EPILOG = """\
examples:
  easyssl layers
  easyssl layers SinkhornClustering
"""

_WIDTH = 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="a class_name, such as SeqAugment")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.docstrings import layer_docs
    from easyssl.registry import KERAS_LAYERS

    docs = {name: doc for doc in layer_docs().values() for name in doc.names}
    if args.name is None:
        print("\n".join(_list(docs, KERAS_LAYERS)))
    elif args.name in docs:
        print("\n".join(_explain(docs[args.name])))
    elif args.name in KERAS_LAYERS:
        print(f"{args.name} is a layer of Keras; its parameters are those of keras.layers.{args.name}.")
    else:
        known = nearest(args.name, [*docs, *KERAS_LAYERS])
        raise UsageError(f"easyssl layers: there is no layer '{args.name}'{known}")
    return 0


def _list(docs: dict[str, LayerDoc], of_keras: tuple[str, ...]) -> Iterator[str]:
    width = max(map(len, docs))
    for name, doc in sorted(docs.items(), key=lambda entry: entry[0].lower()):
        text = doc.doc.summary if name == doc.names[0] else f"Another name of {doc.names[0]}."
        yield f"{name:<{width}}  {text}"
    yield ""
    yield from _paragraph(f"Of Keras: {', '.join(of_keras)}.")
    yield ""
    yield "'easyssl layers NAME' explains one; a --plugin file adds layers of yours."


def _explain(layer: LayerDoc) -> Iterator[str]:
    doc = layer.doc
    yield " or ".join(layer.names)
    yield ""
    yield from _paragraph(doc.summary)
    if doc.description:
        yield ""
        yield from doc.description.splitlines()
    yield from ("", "Parameters:")
    for parameter in layer.parameters:
        default = "required" if parameter.default is None else f"default {parameter.default}"
        yield f"  {parameter.name}: {parameter.type}, {default}"
        yield from _paragraph(parameter.text, "      ")
    for title, text in (("Takes", layer.inputs), ("Gives", layer.outputs)):
        if text:
            yield from ("", f"{title}:")
            yield from _paragraph(text, "  ")
    if doc.raises:
        yield from ("", "Errors:")
        for name, text in doc.raises.items():
            yield from _paragraph(f"{name}: {text}", "  ")
    for title, text in (("Example", doc.example), ("References", doc.references)):
        if text:
            yield from ("", f"{title}:")
            yield from textwrap.indent(text, "  ").splitlines()


def _paragraph(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
