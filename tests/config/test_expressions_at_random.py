"""The expression language: random arithmetic, and random text."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.config.expressions import (
    ExpressionError,
    parse_column_expression,
    parse_expression,
    parse_slice,
)

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
