"""ComboFeature, LookupFeature and ExprFeature: values, written down by hand or worked out in plain Python."""

import itertools
import math

import pytest
import tensorflow as tf

from easyssl.data.features.types import Buckets, FeatureSpec
from easyssl.data.transform import FeatureTransform

SIZE = 1000
HASH = Buckets("hash", SIZE)


def run(spec, columns, cells):
    """Transforms as an exported graph would."""
    transform = FeatureTransform({"f": spec}, dict(zip(spec.inputs, columns, strict=True)))
    graph = tf.function(transform, input_signature=[transform.signature()], autograph=False)
    raw = dict(zip(spec.inputs, cells, strict=True))
    dtypes = {name: tensor.dtype for name, tensor in transform.signature().items()}
    return graph({name: tf.constant(cell, dtypes[name]) for name, cell in raw.items()})["f"].numpy().tolist()


def fingerprint(text):
    (row,) = tf.fingerprint([[text]]).numpy().tolist()
    return int.from_bytes(bytes(row), "little")


def concatenated(first, second):
    """The fingerprint of two fingerprints, as TensorFlow's crossed columns define it."""
    wrap, mul = 2**64 - 1, 0xC6A4A7935BD1E995
    mixed = second * mul & wrap
    result = first ^ mul ^ ((mixed ^ mixed >> 47) * mul & wrap)
    result = result * mul & wrap
    result = (result ^ result >> 47) * mul & wrap
    return result ^ result >> 47


def crossed(*values):
    result = 0xDECAFCAFFE  # what the fingerprints of all columns are appended to
    for value in values:
        result = concatenated(result, fingerprint(value))
    return result % SIZE


def hashed(text):
    return fingerprint(text) % SIZE


def combo(inputs=("a", "b"), **kwargs):
    return FeatureSpec("f", "ComboFeature", inputs, buckets=HASH, **kwargs)


def test_the_hash_of_a_text_is_the_one_of_ids():
    assert [hashed("a"), hashed("1"), hashed("")] == [939, 849, 263]


def test_columns_are_crossed_by_their_fingerprints():
    found = run(combo(), ["STRING", "INT64"], [["x", "x", "", "y"], [3, 4, 3, 3]])
    assert found == [crossed("x", "3"), crossed("x", "4"), -1, crossed("y", "3")]
    three = combo(("a", "b", "c"), precision=1)
    found = run(three, ["STRING", "FLOAT", "BOOL"], [["x", "x"], [0.25, 2.0], [True, False]])
    assert found == [crossed("x", "0.2", "true"), crossed("x", "2.0", "false")]


def test_columns_are_joined_and_hashed():
    found = run(combo(combo_join_sep="X"), ["INT32", "STRING"], [[20, 7], ["F", ""]])
    assert found == [hashed("20XF"), hashed("7X")]


@pytest.mark.parametrize("join", ["", "_"])
def test_every_combination_of_several_values(join):
    spec = combo(("a", "b", "c"), combo_input_seps=("|", "", ",;"), combo_join_sep=join)
    rows = [("x|y", "1", "p,q;r"), ("x||", "", "p"), ("", "1", "p"), ("x", "2", ";;")]
    found = run(spec, ["STRING"] * 3, list(zip(*rows, strict=True)))

    def expected(row):
        a, b, c = row
        middle = [b] if b or join else []
        parts = [[p for p in a.split("|") if p], middle, [p for p in c.replace(";", ",").split(",") if p]]
        return [hashed(join.join(p)) if join else crossed(*p) for p in itertools.product(*parts)]

    assert [sorted(i for i in ids if i >= 0) for ids in found] == [sorted(expected(row)) for row in rows]
    assert {len(ids) for ids in found} == {8}  # 6 combinations, rounded up to a power of two
    assert run(spec, ["STRING"] * 3, [[""], [""], [""]]) == [[-1]]


def lookup(**kwargs):
    return FeatureSpec("f", "LookupFeature", ("k", "m"), buckets=HASH, kv_separator=":", **kwargs)


def test_the_values_of_a_key_are_looked_up():
    keys = ["a", "b", "c", "", "a"]
    maps = ["a:1|b:2|a:3", "|b:x||", "a:1", ":1|a:2", ""]
    found = run(lookup(), ["STRING", "STRING"], [keys, maps])
    none = [-1, -1]
    assert found == [[hashed("1"), hashed("3")], [hashed("x"), -1], none, none, none]
    assert run(lookup(separator=";"), ["INT64", "STRING"], [[7], ["17:a;7:b"]]) == [[hashed("b")]]


@pytest.mark.parametrize(
    "cell, message",
    [
        ("a:1|b", "an entry of the map is not key:value"),
        ("a:1|a:2|a:3", "more than lookup_max_sel_elem_num 2 values of one key"),
    ],
)
def test_a_bad_map_is_found(cell, message):
    transform = FeatureTransform({"f": lookup(lookup_max_sel_elem_num=2)}, {"k": "STRING", "m": "STRING"})
    raw = {"k": ["a", "b", "a"], "m": ["a:1|a:2", "a:1|a:2|a:3|b:1", cell]}
    with pytest.raises(tf.errors.InvalidArgumentError):
        transform(raw)
    bad = transform.find_bad_cell(raw)
    assert (bad.row, bad.cells) == (2, ("a", cell)) and message in bad.reason


def expr(text, *inputs):
    return FeatureSpec("f", "ExprFeature", inputs, element="RawFeature", expression=text)


AGES = [[1, 2, 6], [1.0, 0.5, 4.0]]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("age>=2", [0, 1, 1]),
        ("age==limit", [1, 0, 0]),
        ("age<(limit+5)", [1, 1, 1]),
        ("(age>=limit) | (age>5)", [1, 1, 1]),
        ("(age>=limit) & (age<=(limit+1))", [1, 0, 0]),
        ("tf.math.log1p(age) / 10.0", [math.log1p(age) / 10 for age in AGES[0]]),
        ("age / limit", [1, 4, 1.5]),
        ("-3", [-3, -3, -3]),
    ],
)
def test_expressions_of_columns(text, expected):
    found = run(expr(text, "age", "limit"), ["INT32", "FLOAT"], AGES)
    assert found == [[pytest.approx(value, rel=1e-6)] for value in expected]


def test_columns_of_an_expression_are_float64():
    assert run(expr("a - b", "a", "b"), ["INT64", "INT64"], [[2**40 + 1], [2**40]]) == [[1]]
    text = expr("a * 2 + b", "a", "b")
    assert run(text, ["STRING", "BOOL"], [["1.5", ""], [True, False]]) == [[4], [0]]


def test_a_cell_that_is_no_number_is_found():
    transform = FeatureTransform({"f": expr("a + b", "a", "b")}, {"a": "STRING", "b": "INT64"})
    bad = transform.find_bad_cell({"a": ["1", "x"], "b": [1, 2]})
    assert str(bad) == "feature 'f': column 'a' has 'x', column 'b' has 2: expected numbers"
