"""Makes `docs/components.md` from the docstrings of the layers and the configs of their tests.

    python docs/make_components.py

The page is kept in the repository; a test compares it with what this program makes.
"""

from __future__ import annotations

import pathlib
import re
import sys
import textwrap
from collections.abc import Iterator

from easyssl.docstrings import LayerDoc, layer_docs

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "components.md"
CONFIGS = ROOT / "tests" / "components" / "configs"

# Every layer that the package exports belongs to a group, in the order of the page.
GROUPS = {
    "Encoders": (
        "BST",
        "SASRecEncoder",
        "BERT4RecEncoder",
        "GRU4RecEncoder",
        "CaserEncoder",
        "MeanPooling",
        "EncoderBlock",
        "MultiHeadSelfAttention",
    ),
    "Augmentation": ("SeqAugment", "SeqAugmentOps", "ClozeMask", "FeatureMasking", "ValueDropout"),
    "Contrast": ("AuxiliaryLoss",),
    "Clustering": ("SinkhornClustering", "ClusterDistillation", "PrototypeContrast"),
    "Several interests": (
        "MultiInterestAttention",
        "InterestReadout",
        "ReContrast",
        "ReAttend",
        "ReConstruct",
    ),
    "Whitening": ("ParametricWhitening", "MoEWhiteningAdaptor"),
    "Retrieval": ("BatchSoftmax",),
    "Adversarial training": ("AdversarialClassifier", "GradientReversal"),
    "Feature interaction": (
        "Cross",
        "DotInteraction",
        "FM",
        "CIN",
        "BiLinear",
        "SENet",
        "FiBiNet",
        "MaskBlock",
        "MaskNet",
        "PPNet",
    ),
    "Embeddings of numbers": ("PeriodicEmbedding", "AutoDisEmbedding", "NaryDisEmbedding"),
    "Basic layers": ("MLP", "Highway", "Gate", "Dropout", "Dice"),
    "Features": ("FeatureGroup", "InputLayer", "EmbeddingLayer", "EmbeddingTable"),
}

INTRO = """# Components

<!-- Made by docs/make_components.py from docstrings in easyssl/layers/ and from tests/components/configs/.
     Change those, then run it again. -->

All layers of `easyssl.layers`. `easyssl layers` lists those that a config may name, and `easyssl layers NAME`
shows what this page says of one. Beside them a config may name some layers of Keras, with which
`easyssl layers` ends.

The examples are run by the tests, after `import tensorflow as tf`, `from tensorflow import keras` and the
import of the layer from `easyssl.layers`. Each layer also takes what Keras layers take, such as `name` and
`dtype`. How the losses that layers report reach the training loss is told in
[the architecture](architecture.md#losses-and-metrics-of-layers).
"""


def make() -> str:
    """Returns the page.

    Raises:
        ValueError: If a layer is in no group or no config, or a group names a layer that there is not.
    """
    docs = dict(layer_docs())
    grouped = [name for names in GROUPS.values() for name in names]
    if missing := sorted(set(docs) - set(grouped)):
        raise ValueError(f"add {missing} to GROUPS in docs/make_components.py")
    if gone := sorted(set(grouped) - set(docs)):
        raise ValueError(f"GROUPS in docs/make_components.py names {gone}, which is not exported")
    lines = [INTRO]
    for group, names in GROUPS.items():
        lines += [f"- [{group}](#{group.lower().replace(' ', '-')}): "]
        lines[-1] += ", ".join(f"[{name}](#{name.lower()})" for name in names)
    for group, names in GROUPS.items():
        lines += ["", f"## {group}"]
        for name in names:
            lines += ["", *_section(docs[name])]
    return "\n".join(lines) + "\n"


def _section(layer: LayerDoc) -> Iterator[str]:
    doc = layer.doc
    yield f"### {layer.class_name}"
    yield from ("", doc.summary)
    if doc.description:
        yield from ("", doc.description)
    if not layer.names:
        yield from ("", "For Python only: configs do not name it.")
    if layer.parameters:
        yield from ("", "| parameter | type | default | meaning |", "| --- | --- | --- | --- |")
        for parameter in layer.parameters:
            default = "required" if parameter.default is None else f"`{parameter.default}`"
            cells = (f"`{parameter.name}`", f"`{parameter.type}`", default, parameter.text)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    for title, text in (("Takes", layer.inputs), ("Gives", layer.outputs)):
        if text:
            yield from ("", f"**{title}**: {text}")
    for error, text in doc.raises.items():
        yield from ("", f"**Errors**: `{error}`: {text}")
    if doc.example:
        yield from ("", "In Keras:", "", "```python", doc.example, "```")
    if (found := _config(layer)) is not None:
        path, block = found
        yield from ("", f"In a config ([the whole model](../{path.relative_to(ROOT).as_posix()})):")
        yield from ("", "```", block, "```")
    if doc.references:
        yield from ("", "References:", "")
        yield from (f"- {entry}" for entry in _references(doc.references))


def _references(text: str) -> list[str]:
    """Returns the entries of a section: they end with a full stop at a line's end, or a semicolon."""
    joined = re.sub(r"(?<![.\n])\n", " ", text)
    entries = (entry.strip() for line in joined.splitlines() for entry in line.split("; "))
    return [entry.rstrip(".") + "." for entry in entries if entry]


def _config(layer: LayerDoc) -> tuple[pathlib.Path, str] | None:
    """Returns a config that names a layer, and its first block with it; None if configs cannot name it.

    The config that is called like the layer comes first, then the others in alphabetical order.

    Raises:
        ValueError: If configs may name the layer, but none does.
    """
    if not layer.names:
        return None
    own = layer.class_name.lower()
    for path in sorted(CONFIGS.glob("*.config"), key=lambda p: (p.stem.replace("_", "") != own, p.name)):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^ *blocks \{", text, flags=re.MULTILINE):
            block = _braced(text, match.start())
            if any(f"class_name: '{name}'" in block for name in layer.names):
                return path, textwrap.dedent(block)
    raise ValueError(f"no config in {CONFIGS.relative_to(ROOT)} has a layer {' or '.join(layer.names)}")


def _braced(text: str, start: int) -> str:
    """Returns the text from `start` to the brace that closes the first one."""
    depth = 0
    for match in re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|#.*|[{}]").finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if match.group() == "}" and not depth:
            return text[start : match.end()]
    raise ValueError("a brace is not closed")


def main() -> int:
    """Writes the page and returns the exit code."""
    TARGET.write_text(make(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
