"""FeatureTransform against a reference in plain Python, eagerly and in a graph."""

import re

import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.data.features.types import Buckets, FeatureSpec
from easyssl.data.transform import FeatureTransform

VOCABULARY = Buckets("vocabulary", 3, entries=("a", "b", "1"))
ALL = {
    "id": FeatureSpec("id", "IdFeature", ("id",), buckets=VOCABULARY),
    "vector": FeatureSpec("vector", "RawFeature", ("vector",), element="RawFeature", raw_input_dim=3),
    "tags": FeatureSpec("tags", "TagFeature", ("tags",), buckets=VOCABULARY, separator="|;"),
    "hist": FeatureSpec("hist", "SequenceFeature", ("hist",), buckets=VOCABULARY, max_seq_len=6),
    "none": FeatureSpec(
        "none", "SequenceFeature", ("hist",), buckets=VOCABULARY, empty_sequence="NO_STEP", separator=";"
    ),
    "multi": FeatureSpec(
        "multi", "SequenceFeature", ("hist",), buckets=VOCABULARY, separator=";", seq_multi_sep="|"
    ),
}
COLUMNS = {"id": "STRING", "vector": "STRING", "tags": "STRING", "hist": "STRING"}
CELL = st.text(alphabet="ab1x|;", max_size=24)
NUMBERS = st.lists(st.integers(-5, 5), max_size=3).map(lambda n: "|".join(map(str, n)))
ROWS = st.lists(st.tuples(CELL, NUMBERS, CELL, CELL), min_size=1, max_size=6)


def known(piece):
    return VOCABULARY.entries.index(piece) if piece in VOCABULARY.entries else 0


def expected_row(row):
    """What one row is, without padding, written down from the description of the config language."""
    name, numbers, tag, hist = row
    pieces = [p for p in re.split(r"[|;]", tag) if p]
    steps = hist.split(";")
    multi = [[known(p) for p in step.split("|") if p] for step in steps]
    while multi and not multi[-1]:
        multi.pop()
    return {
        "id": [known(name) if name else -1],
        "vector": ([float(n) for n in numbers.split("|") if n] + [0.0] * 3)[:3],
        "tags": [known(p) for p in pieces],
        "hist": [known(p) for p in hist.split("|")][:6],
        "none": [known(p) for p in steps] if hist else [],
        "multi": multi,
    }


def unpadded(name, outputs, row):
    cells = outputs[name][row]
    if name == "vector":
        return cells.tolist()
    if name == "id":
        return [int(cells)]
    if name == "multi":
        kept = [[int(i) for i in step if i >= 0] for step in cells]
        assert not any(kept[outputs["multi/length"][row] :])
        return kept[: outputs["multi/length"][row]]
    kept = [int(i) for i in cells if i >= 0]
    assert kept == cells[: len(kept)].tolist()
    if name in ("hist", "none"):
        assert outputs[f"{name}/length"][row] == len(kept)
    return kept


def columns_of(rows):
    return {
        name: tf.constant(list(cells)) for name, cells in zip(COLUMNS, zip(*rows, strict=True), strict=True)
    }


TRANSFORM = FeatureTransform(ALL, COLUMNS)
GRAPH = tf.function(TRANSFORM, input_signature=[TRANSFORM.signature()], autograph=False)


@settings(max_examples=80, deadline=None)
@given(ROWS)
def test_any_rows_equal_the_reference(rows):
    outputs = {name: tensor.numpy() for name, tensor in GRAPH(columns_of(rows)).items()}
    assert outputs["hist"].shape[1] <= 6
    for index, row in enumerate(rows):
        for name, expected in expected_row(row).items():
            assert unpadded(name, outputs, index) == expected, name


@settings(max_examples=20, deadline=None)
@given(ROWS)
def test_a_row_does_not_depend_on_the_rest_of_its_batch(rows):
    together = {name: tensor.numpy() for name, tensor in TRANSFORM(columns_of(rows)).items()}
    for index, row in enumerate(rows):
        alone = {name: tensor.numpy() for name, tensor in TRANSFORM(columns_of([row])).items()}
        for name in ALL:
            assert unpadded(name, alone, 0) == unpadded(name, together, index)


def test_empty_batch():
    outputs = GRAPH({name: tf.constant([], tf.string) for name in COLUMNS})
    assert {name: tensor.shape[0] for name, tensor in outputs.items()} == dict.fromkeys(outputs, 0)


def test_graph_knows_every_rank_and_the_widths_of_numbers():
    shapes = {name: tensor.shape for name, tensor in GRAPH.get_concrete_function().structured_outputs.items()}
    assert {name: shape.rank for name, shape in shapes.items()} == {
        **dict.fromkeys(["id", "hist/length", "none/length", "multi/length"], 1),
        **dict.fromkeys(["vector", "tags", "hist", "none"], 2),
        "multi": 3,
    }
    assert shapes["vector"][1] == 3
