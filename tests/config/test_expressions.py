"""The expression language: it computes what Python and NumPy do, and what it reads it can write."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

from easyssl.config.expressions import (
    parse_column_expression,
    parse_expression,
    parse_slice,
)
from easyssl.config.expressions.functions import FUNCTIONS

# Functions of one argument, among them all of existing configs, with the same in NumPy: of a list of three
# [2, 4] arrays, or of an array.
ON_LISTS = [
    ("lambda x: [x, x]", lambda x: [x, x]),
    ("lambda x: [x]", lambda x: [x]),
    ("lambda x: x[0]", lambda x: x[0]),
    ("lambda x: x[1]", lambda x: x[1]),
    ("lambda x: tf.add_n(x)", lambda x: np.sum(x, axis=0)),
    ("lambda x: tf.stack(x, axis=1)", lambda x: np.stack(x, axis=1)),
    ("lambda x: tf.concat(x, axis=1)", lambda x: np.concatenate(x, axis=1)),
    ("lambda x: tf.concat(x, 1)", lambda x: np.concatenate(x, axis=1)),
    ("lambda feas: [f * 2.0 for f in feas]", lambda x: [2.0 * f for f in x]),
    ("lambda x: [x[i] for i in range(len(x) - 1)]", lambda x: x[:-1]),
    ("lambda x: (x[0], list(x)[1:])", lambda x: (x[0], x[1:])),
    ("lambda x: sum(x) / len(x)", lambda x: np.mean(x, axis=0)),
    ("x[-1]", lambda x: x[-1]),
]
ON_ARRAYS = [
    ("lambda x: tf.reduce_sum(x, axis=1, keepdims=True)", lambda x: x.sum(1, keepdims=True)),
    ("lambda x: tf.reduce_sum(x, axis=1, keep_dims=True)", lambda x: x.sum(1, keepdims=True)),
    ("lambda x: tf.reduce_sum(x, axis=1)", lambda x: x.sum(1)),
    ("lambda x: tf.reduce_mean(x, 0)", lambda x: x.mean(0)),
    (
        "lambda x: tf.unstack(tf.reshape(x, [-1, 2, 6]), axis=1)",
        lambda x: [x.reshape(-1, 2, 6)[:, i] for i in range(2)],
    ),
    ("lambda x: tf.math.log1p(x) / 10.0", lambda x: np.log1p(x) / 10.0),
    ("lambda x: -x ** 2 + 1.5 * x // 2", lambda x: -(x**2) + 1.5 * x // 2),
    ("lambda x: tf.cast(x >= 0.5, tf.float32)", lambda x: (x >= 0.5).astype(np.float32)),
    ("lambda x: tf.cast(0.2 < x < 0.7, 'int32')", lambda x: ((x > 0.2) & (x < 0.7)).astype(np.int32)),
    ("lambda x: x[..., None, ::2]", lambda x: x[..., None, ::2]),
    ("lambda x: tf.squeeze(tf.expand_dims(x, -1), -1)", lambda x: x),
    ("lambda x: tf.split(x, 2, axis=1)", lambda x: np.split(x, 2, axis=1)),
    ("lambda x: tf.where(x > 0.5, x, 0.0)", lambda x: np.where(x > 0.5, x, 0)),
    ("lambda x: tf.math.multiply(x, tf.math.maximum(x, 0.5))", lambda x: x * np.maximum(x, 0.5)),
    ("lambda x: tf.reshape(x, [tf.shape(x)[0], -1])", lambda x: x.reshape(len(x), -1)),
    ("lambda x: tf.reshape(x, [-1, x.shape[1] // 2, 2])", lambda x: x.reshape(len(x), -1, 2)),
    ("lambda x: tf.reshape(x, [-1, 1] + x.get_shape().as_list()[1:])", lambda x: x[:, None]),
    ("lambda x: [x[:, i] for i in range(x.get_shape()[-1])]", lambda x: list(x.T)),
    ("tf.math.square", np.square),
    ("tf.nn.relu6", lambda x: np.clip(x, 0, 6)),
]
SLICES = [
    ("[0]", lambda x: x[0]),
    ("[1]", lambda x: x[1]),
    (" [-1] ", lambda x: x[-1]),
    ("[:, :8]", lambda x: x[:, :8]),
    ("[..., 1:]", lambda x: x[..., 1:]),
    ("[0][1:3]", lambda x: x[0][1:3]),
    ("[::-1, None]", lambda x: x[::-1, None]),
]
COLUMNS = [
    ("age_level>=1", lambda a, b: a >= 1),
    ("age_level==item_age_level", lambda a, b: a == b),
    ("age_level<(item_age_level+5)", lambda a, b: a < b + 5),
    ("(age_level>=item_age_level) | (age_level>5)", lambda a, b: (a >= b) | (a > 5)),
    ("(age_level>=item_age_level) & (age_level<=(item_age_level+5))", lambda a, b: (a >= b) & (a <= b + 5)),
    ("tf.math.log1p(age_level) / 10.0", lambda a, b: np.log1p(a) / 10),
    ("age_level > 1 and not item_age_level > 4", lambda a, b: (a > 1) & ~(b > 4)),
    ("age_level < 2 or age_level > 6 and item_age_level == 1", lambda a, b: (a < 2) | ((a > 6) & (b == 1))),
    (
        "((age_level > 1) | (item_age_level > 2)) & (age_level != 3)",
        lambda a, b: ((a > 1) | (b > 2)) & (a != 3),
    ),
    ("2 <= age_level < 5", lambda a, b: (a >= 2) & (a < 5)),
    ("-age_level * 2 - item_age_level / 4", lambda a, b: -a * 2 - b / 4),
]


def same(found, expected):
    """Compares nested lists and tuples of arrays, and their types."""
    if isinstance(expected, (list, tuple)):
        assert type(found) is type(expected) and len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            same(a, b)
    else:
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6)


@pytest.fixture
def array():
    return np.random.default_rng(7).uniform(size=(3, 12)).astype(np.float32)


@pytest.mark.parametrize(("text", "reference"), ON_LISTS)
def test_functions_of_lists(text, reference):
    values = list(np.random.default_rng(1).normal(size=(3, 2, 4)).astype(np.float32))
    same(parse_expression(text)(values), reference(values))


@pytest.mark.parametrize(("text", "reference"), ON_ARRAYS)
def test_functions_of_tensors(text, reference, array):
    import tensorflow as tf

    same(parse_expression(text)(tf.constant(array)), reference(array))


@pytest.mark.parametrize(("text", "reference"), ON_LISTS[:-1] + ON_ARRAYS)
def test_expressions_inside_a_tf_function(text, reference, array):
    import tensorflow as tf

    value = [array[:, :4], array[:, 4:8], array[:, 8:]] if (text, reference) in ON_LISTS else array
    expression = parse_expression(text)
    same(tf.function(lambda x: expression(x), autograph=False)(value), reference(value))


@pytest.mark.parametrize(("text", "reference"), SLICES)
def test_slices(text, reference):
    value = np.arange(60.0).reshape(3, 4, 5)
    same(parse_slice(text)(value), reference(value))


def test_index_of_a_repeated_layer():
    value = [[10, 11, 12], "rest"]
    assert parse_slice("[i]", allow_index=True)([5, 6, 7], 2) == 7
    assert parse_expression("lambda x, i: [x[0][i], x[1]]")(value, 1) == [11, "rest"]
    assert parse_expression("[x[0][i], x[1]]", ("x", "i"))(value, 1) == [11, "rest"]


@pytest.mark.parametrize(("text", "reference"), COLUMNS)
def test_columns(text, reference):
    import tensorflow as tf

    a, b = (np.array(v, np.float64) for v in np.random.default_rng(3).integers(0, 9, size=(2, 200)))
    expression = parse_column_expression(text, ["age_level", "item_age_level"])
    found = expression(tf.constant(a), tf.constant(b))
    assert found.dtype == (tf.bool if reference(a, b).dtype == bool else tf.float64)
    same(found, reference(a, b))


def test_equality_ignores_spacing_and_keeps_types():
    assert parse_expression("lambda x:x [0]") == parse_expression("lambda x: x[0]") == parse_slice("[0]")
    assert hash(parse_expression("lambda x:x [0]")) == hash(parse_slice("[0]"))
    assert parse_expression("tf.reduce_sum(x, 1)") == parse_expression("tf.reduce_sum(x, axis=1)")
    assert parse_expression("[1, x]") != parse_expression("[1.0, x]") != parse_expression("[True, x]")
    assert parse_expression("lambda x: x[0]") != parse_expression("lambda y: y[0]")


@pytest.mark.parametrize("text", [text for text, _ in ON_LISTS + ON_ARRAYS])
def test_text_parses_to_the_same_expression(text):
    expression = parse_expression(text)
    assert parse_expression(expression.text) == expression


@pytest.mark.parametrize(("text", "_"), SLICES)
def test_text_of_a_slice_is_a_lambda(text, _):
    expression = parse_slice(text)
    assert parse_expression(expression.text) == expression


def test_the_table_matches_the_functions_of_tensorflow():
    for name, function in FUNCTIONS.items():
        known = inspect.signature(function.load()).parameters
        assert set(function.parameters) <= set(known), name
        needed = [p for p in known.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        assert {p.name for p in needed} <= set(function.parameters[: function.required]), name


def test_parsing_does_not_import_tensorflow():
    program = (
        "import sys; from easyssl.config.expressions import *; "
        "assert parse_expression('lambda x: [2 * a for a in x]')([1, 2]) == [2, 4]; "
        "parse_expression('lambda x: tf.add_n(x)'); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
