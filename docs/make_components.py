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
        "TransformerEncoder",
        "TextEncoder",
        "TextCNN",
        "MeanPooling",
        "SequenceReadout",
        "TransformerBlock",
        "EncoderBlock",
        "MultiHeadSelfAttention",
    ),
    "Augmentation": (
        "SeqAugment",
        "SeqAugmentOps",
        "ClozeMask",
        "SequenceSplit",
        "FeatureMasking",
        "ValueDropout",
    ),
    "Contrast": ("AuxiliaryLoss", "MaskedItemLoss"),
    "Clustering": (
        "SinkhornClustering",
        "KMeansClustering",
        "ClusterDistillation",
        "PrototypeContrast",
        "IntentContrast",
    ),
    "Several interests": (
        "MultiInterestAttention",
        "DynamicRouting",
        "DisentangledIntents",
        "IntentPrediction",
        "InterestReadout",
        "ReContrast",
        "ReAttend",
        "ReConstruct",
    ),
    "Attention layers": ("DIN", "Attention", "MultiHeadAttention"),
    "Several tasks": ("MMoE", "AITMTower"),
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
    "Features": ("FeatureGroup", "InputLayer", "EmbeddingLayer", "EmbeddingTable", "VariationalDropout"),
}

# What a group does at a glance, under its heading.
SKETCHES = {
    "Encoders": """
SASRecEncoder, BERT4RecEncoder and BST compute step by step on tokens without padding (not under XLA):

  padded              tokens                            padded again
  a1 a2 .  .          a1 a2 b1 c1 c2 c3 c4              a1 a2 .  .
  b1 .  .  .   --->   projections, normalisation,  ---> b1 .  .  .
  c1 c2 c3 c4         dropout, feed-forward             c1 c2 c3 c4
                      (attention unpacks them)
""",
    "Augmentation": """
SeqAugment: one of these for each row; M is the mask, x and y are steps of other rows, . is padding

  the row             a  b  c  d  e  .  .
  crop         0.6    b  c  d  .  .  .  .
  mask         0.4    a  M  c  M  e  .  .
  reorder      0.6    a  d  b  c  e  .  .
  crop_remove  0.4    a  d  e  .  .  .  .
  item_drop           a  c  e  .  .  .  .
  insert       0.4    a  x  b  c  y  d  e
  substitute   0.4    a  x  c  y  e  .  .
  word_drop           a  b' c  d  e' .  .

FeatureMasking, complementary; [  ] is the default embedding of the field

  the fields          user  item  cate  price
  first view          user  [  ]  [  ]  price
  second view         [  ]  item  cate  [  ]
""",
    "Clustering": """
SinkhornClustering
  rows and prototypes --> similarities --+--> softmax ---> assignments ---+
                                         |                                +--> cross entropy
                                         +--> Sinkhorn --> targets -------+
                                              (no gradient; an even share for each prototype)
PrototypeContrast
  first view of a row --> finds the second, and the other way round, among
                          the views of other rows and the prototypes not assigned to the row
ClusterDistillation
  prototype of the row --> softmax --> KL divergence <-- softmax <-- each view of the row
""",
    "Several interests": """
  steps x --> MultiInterestAttention --> interests z, attention a --> InterestReadout

  ReContrast     z_k  -->  near the steps with much a_k, far from other steps, interests and rows
  ReAttend       z_k  -->  softmax_i(z_k . x_i)  -->  cross entropy with a_k
  ReConstruct    z_k  -->  rebuilds the steps with much a_k
""",
    "Attention layers": """
DIN
  target q --+--> attention_dnn([q, k, q - k, q * k]) --> weights --+
             |                                                      +--> sum, and q
  steps k ---+------------------------------------------------------+
""",
    "Several tasks": """
MMoE
  x --+--> experts f_1 ... f_E ---+--> sum_e g_1e f_e --> task 1
      +--> gates g_1 ... g_T -----+--> sum_e g_2e f_e --> task 2
AITMTower
  own tower --------------------------------------+--> attention of the own tower --> own tower, informed
  earlier towers --> [no gradient] --> transfer --+
""",
    "Whitening": """
MoEWhiteningAdaptor
      +--> (dropout(x) - b_1) W_1 --> * g_1 --+
  x --+--> ...                                +--> sum
      +--> (dropout(x) - b_K) W_K --> * g_K --+
      +--> noisy gate --> g_1 ... g_K
""",
    "Adversarial training": """
GradientReversal
  forward                    x --> [reversal] --> x     --> classifier --> loss L
  backward    -factor * dL/dx <--- [reversal] <-- dL/dx <-- classifier <-- L
""",
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
        if group in SKETCHES:
            lines += ["", "```", SKETCHES[group].strip("\n"), "```"]
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
