"""The expression language: what it refuses, and where it says so."""

import re

import numpy as np
import pytest

from easyssl.config.expressions import (
    ExpressionError,
    parse_column_expression,
    parse_expression,
    parse_slice,
)
from easyssl.config.expressions.arithmetic import MAX_LENGTH

REFUSED = [
    # (text, column of the part that is refused, words of the reason)
    ("lambda x: x.__class__", 11, "attributes"),
    ("lambda x: x.shape.__class__", 11, "attributes"),
    ("lambda x: x.shape()", 11, "attributes"),
    ("lambda x: x.get_shape(1)", 11, "attributes"),
    ("lambda x: x.as_list()", 11, "attributes"),
    ("lambda x: tf.shape.x", 11, "attributes"),
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


def test_the_number_of_values_is_checked():
    with pytest.raises(TypeError, match="takes 1 values, found 2"):
        parse_expression("lambda x: x")(1, 2)


def test_the_number_of_parameters_can_be_fixed():
    with pytest.raises(ExpressionError, match="with 1 parameters, found 2"):
        parse_expression("lambda x, i: x", ("x",))
