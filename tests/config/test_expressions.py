"""The expression language: what it accepts and refuses, and that it computes what Python and NumPy do."""

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.config.expressions import (
    ExpressionError,
    parse_column_expression,
    parse_expression,
    parse_slice,
)
from easyssl.config.expressions.arithmetic import MAX_LENGTH
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
REFUSED = [
    # (text, column of the part that is refused, words of the reason)
    ("lambda x: x.__class__", 11, "attributes"),
    ("lambda x: x.__class__.__mro__[1]", 11, "attributes"),
    ("__import__('os').system('id')", 1, "only functions of 'tf.'"),
    ("lambda x: __import__('os')", 11, "not a function"),
    ("lambda x: tf.io.read_file(x)", 11, "tf.io.read_file"),
    ("lambda x: tf.py_function(x, x, x)", 11, "tf.py_function"),
    ("lambda x: tf.__init__(x)", 11, "not a function"),
    ("lambda x: tf.reduce_sum.__globals__", 11, "attributes"),
    ("lambda x: open('/etc/passwd')", 11, "'open'"),
    ("lambda x: getattr(x, 'shape')", 11, "'getattr'"),
    ("lambda x: x(1)", 11, "'x' is not a function"),
    ("lambda x: [y for y in x.__dict__]", 23, "attributes"),
    ("lambda x: [a for a in x for b in x]", 11, "one 'for'"),
    ("lambda x: [a for a in x if a]", 11, "no 'if'"),
    ("lambda x: [[a for i in x] for a in x]", 12, "inside a comprehension"),
    ("lambda x: [a for a in [1, 2]]", 23, "runs over"),
    ("lambda x: [x for x in x]", 18, "already has a meaning"),
    ("lambda x: {a for a in x}", 11, "must be a list"),
    ("lambda x: sum(a for a in x)", 14, "must be a list"),
    ("lambda x, y=x: x", 13, "no default"),
    ("lambda *x: x", 1, "plain parameters"),
    ("lambda x, /: x", 1, "plain parameters"),
    ("lambda x: (lambda y: y)(x)", 12, "only functions"),
    ("lambda x: lambda y: y", 11, "lambda inside"),
    ("lambda x, y, z: x", 1, "found 3"),
    ("lambda: 0", 1, "found 0"),
    ("lambda __x: __x", 8, "underscore"),
    ("lambda tf: tf", 8, "already has a meaning"),
    ("lambda len: len", 8, "already has a meaning"),
    ("lambda x: f'{x}'", 11, "f-string"),
    ("lambda x: 'text'", 11, "string"),
    ("lambda x: b'text'", 11, "string"),
    ("lambda x: (y := x)", 12, ":="),
    ("lambda x: tf.add_n(*x)", 20, "'*'"),
    ("lambda x: tf.add_n(**x)", 22, "'**'"),
    ("lambda x: x if x else x", 11, "conditional"),
    ("lambda x: x and x", 11, "'and'"),
    ("lambda x: x is x", 11, "comparisons are"),
    ("lambda x: x @ x", 11, "operators are"),
    ("lambda x: x << 9", 11, "operators are"),
    ("lambda x: ~x", 11, "operators of one operand"),
    ("lambda x: {}", 11, "dictionary"),
    ("lambda x: 9**99", 14, "exponent"),
    ("lambda x: 2**63", 11, "64 bits"),
    ("lambda x: (2**31)**31", 11, "too large"),
    ("lambda x: 99999 * 2147483648 * 2147483648", 11, "64 bits"),
    ("lambda x: 2147483649", 11, "at most"),
    ("lambda x: 1e999", 11, "finite"),
    ("lambda x: 1j", 11, "1j"),
    ("lambda x: x + ...", 15, "not allowed"),
    ("lambda x: 1 / 0", 11, "zero"),
    ("lambda x: y", 11, "unknown name 'y'"),
    ("lambda x: tf", 11, "must be called"),
    ("lambda x: tf.reduce_sun(x)", 11, "did you mean 'tf.reduce_sum'"),
    ("lambda x: tf.reduce_sum(x, axs=1)", 28, "did you mean 'axis'"),
    ("lambda x: tf.reduce_sum(x, 1, axis=1)", 31, "twice"),
    ("lambda x: tf.reduce_sum(x, axis=1, keepdims=True, name='a')", 51, "no argument 'name'"),
    ("lambda x: tf.reduce_sum(x, 1, True, 4)", 11, "3 arguments at most"),
    ("lambda x: tf.concat(x)", 11, "needs the argument 'axis'"),
    ("lambda x: tf.cast(x, tf.string)", 22, "unknown dtype"),
    ("lambda x: len(x, x)", 11, "takes 1 argument"),
    ("lambda x: x[True]", 13, "an index is a number"),
    ("lambda x: [" + "1, " * 17 + "]", 11, "16 items"),
    ("lambda x: " + "[" * 40 + "]" * 40, None, "deep"),
    ("lambda x: " + "-" * 100 + "x", None, "deep"),
    ("lambda x: x" + "[0]" * 81, 11, "deep"),
    ("lambda x:" + " " * 250 + "x", 257, "256 characters"),
    ("lambda x: " + "(" * 240, None, "not a valid expression"),
    ("lambda x: x[", None, "not a valid expression"),
    ("lambda x: x; x", None, "not a valid expression"),
    ("import os", None, "not a valid expression"),
    ("", 1, "empty"),
    ("  ", 3, "empty"),
    ("\x00", 1, "not a valid expression"),
    ("\ud800", 1, "not a valid expression"),
    ("   lambda x: y", 14, "unknown name"),
    ("lambda x: x +\n\ty", 16, "unknown name"),
    ("lambda é: é + y", 15, "unknown name"),
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
    same(tf.function(lambda x: expression(x))(value), reference(value))


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


@pytest.mark.parametrize(("text", "column", "words"), REFUSED)
def test_refused(text, column, words):
    with pytest.raises(ExpressionError, match=re.escape(words)) as error:
        parse_expression(text)
    if column is not None:
        assert error.value.column == column


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("age>=1 & other>2", 6, "parentheses"),
        ("(age>1) | (other>1) & (age>2)", 11, "no precedence"),
        ("(age>1) & (other>1) | (age>2)", 1, "no precedence"),
        ("(age>1) + 1", 2, "numbers"),
        ("age & other", 1, "comparisons"),
        ("age > 1 and other", 13, "comparisons"),
        ("years > 1", 1, "unknown name 'years'"),
        ("tf.reduce_sum(age)", 1, "not a function"),
        ("[age]", 1, "not part"),
        ("age[0]", 1, "not part"),
        ("[a for a in age]", 1, "comprehension"),
        ("len(age)", 1, "'len'"),
        ("lambda age: age", 1, "lambda"),
        ("'a' == age", 1, "string"),
        ("age.dtype", 1, "attributes"),
    ],
)
def test_refused_among_columns(text, column, words):
    with pytest.raises(ExpressionError, match=words) as error:
        parse_column_expression(text, ["age", "other"])
    assert error.value.column == column


@pytest.mark.parametrize(
    "text",
    ["", "0", "x", ".shape", "(1)", "[0], x", "[0] + 1", "[0] if x else x", "[0] for x in x", "+ 1", "s[0]"],
)
def test_only_subscripts_are_slices(text):
    with pytest.raises(ExpressionError):
        parse_slice(text)


@pytest.mark.parametrize(("text", "column"), [("[i]", 2), ("  [y]", 4), ("[0][y]", 5), ("[x.a]", 2)])
def test_columns_of_errors_in_slices(text, column):
    with pytest.raises(ExpressionError) as error:
        parse_slice(text)
    assert error.value.column == column


@pytest.mark.parametrize(
    ("text", "value", "column", "words"),
    [
        ("lambda x: [x[0], x[3]]", [1, 2], 18, "out of range"),
        ("lambda x: range(x)", MAX_LENGTH + 1, 11, "1024 elements"),
        ("lambda x: [[x] * 1024] + [x] * 1025", 1, 26, "1024 elements"),
        ("lambda x: x ** 64", 4, 11, "too large"),
        ("lambda x: x ** 0.5", -2, 11, "not a real number"),
        ("lambda x: 1 / x", 0, 11, "zero"),
        ("lambda x: 2.5 ** x", 10**6, 11, "too large|out of range"),
        ("lambda x: len(x)", 3, 11, "list or a tuple"),
        ("lambda x: [a for a in x]", np.ones(3), 11, "tf.unstack"),
        ("lambda x: tf.concat(x, axis=5)", [np.ones((1, 2)), np.ones((1, 2))], 11, "axis|dim"),
        ("lambda x: tf.add_n(x)", [np.ones(2), np.ones(3)], 11, "shape"),
    ],
)
def test_errors_while_evaluating_name_the_operation(text, value, column, words):
    with pytest.raises(ExpressionError, match=words) as error:
        parse_expression(text)(value)
    assert error.value.column == column


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


def test_the_number_of_values_is_checked():
    with pytest.raises(TypeError, match="takes 1 values, found 2"):
        parse_expression("lambda x: x")(1, 2)


def test_the_number_of_parameters_can_be_fixed():
    with pytest.raises(ExpressionError, match="with 1 parameters, found 2"):
        parse_expression("lambda x, i: x", ("x",))


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


# A random expression is a pair: its text, and the function of (x, y) that it should be.
numbers = st.one_of(st.integers(-9, 9), st.floats(-4, 4).map(lambda v: round(v, 3))).map(
    lambda v: (repr(v), lambda x, y: v)
)
names = st.sampled_from([("x", lambda x, y: x), ("y", lambda x, y: y)])


def _combine(inner):
    def binary(op, function):
        return st.tuples(inner, inner).map(
            lambda pair: (
                f"({pair[0][0]}) {op} ({pair[1][0]})",
                lambda x, y: function(pair[0][1](x, y), pair[1][1](x, y)),
            )
        )

    return st.one_of(
        binary("+", lambda a, b: a + b),
        binary("-", lambda a, b: a - b),
        binary("*", lambda a, b: a * b),
        inner.map(lambda e: (f"-({e[0]})", lambda x, y: -e[1](x, y))),
        inner.map(lambda e: (f"({e[0]}) / 7.0", lambda x, y: e[1](x, y) / 7.0)),
        st.tuples(inner, st.integers(0, 2)).map(
            lambda p: (f"[{p[0][0]}, x, y][{p[1]}]", lambda x, y: [p[0][1](x, y), x, y][p[1]])
        ),
        names.map(
            lambda e: (
                f"sum([k * {e[0]} for k in range(3)])",
                lambda x, y: sum([k * e[1](x, y) for k in range(3)]),
            )
        ),
    )


@settings(deadline=None, max_examples=100)
@given(st.recursive(numbers | names, _combine, max_leaves=6))
def test_arithmetic_is_that_of_numpy(pair):
    text, reference = pair
    x, y = np.array([0.5, -1.0, 3.0]), np.array([2.0, 4.0, -0.25])
    try:
        expression = parse_expression(f"lambda x, y: {text}")
    except ExpressionError as error:
        assert "characters at most" in error.reason or "deep" in error.reason
        return
    np.testing.assert_allclose(expression(x, y), reference(x, y), rtol=1e-12)


FRAGMENTS = [
    *"xyi[](){}:,.*+-/%<>=&|~@!'\"\\ \n\t0123456789_#é",
    *[
        "lambda x:",
        "tf.",
        "tf.concat(x",
        "axis=1",
        "len(",
        "range(",
        " for i in x",
        " if ",
        " and ",
        "not ",
        "is ",
    ],
    *[
        "__class__",
        "x.y",
        "**",
        "//",
        ":=",
        "...",
        "None",
        "1e9",
        "9" * 40,
        "f'",
        "lambda",
        "await ",
        "0x",
        "1_0",
    ],
]


@settings(deadline=None, max_examples=250)
@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)))
def test_any_text_gives_an_expression_or_an_expression_error(text):
    for parse in (
        parse_expression,
        lambda t: parse_slice(t, allow_index=True),
        lambda t: parse_column_expression(t, ["x", "y"]),
    ):
        try:
            expression = parse(text)
        except ExpressionError as error:
            assert 1 <= error.column <= len(text) + 1
            assert "\n" not in str(error)
            continue
        try:
            expression(*[[1.0, [2, 3]], 1][: len(expression.parameters)])
        except ExpressionError:
            pass
