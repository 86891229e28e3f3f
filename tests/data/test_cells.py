"""Checks the conversion of text cells against Python's numbers and TensorFlow's CSV decoder."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyssl.data.cells import check_default, convert
from easyssl.data.rows import Column

NUMERIC = ["INT32", "INT64", "FLOAT", "DOUBLE"]


@pytest.mark.parametrize(
    ("kind", "cell", "reason"),
    [
        ("INT32", b"1.0", "bad_number"),
        ("INT32", b"1e3", "bad_number"),
        ("INT32", b"x", "bad_number"),
        ("INT32", b" ", "bad_number"),
        ("INT32", b"-", "bad_number"),
        ("INT32", b"1-2", "bad_number"),
        ("INT32", b"1 2", "bad_number"),
        ("INT32", b"1_000", "bad_number"),
        ("INT32", b"0x10", "bad_number"),
        ("INT32", "１".encode(), "bad_number"),
        ("INT32", b"1,2", "bad_number"),
        ("INT32", b"2147483648", "overflow"),
        ("INT32", b"-2147483649", "overflow"),
        ("INT64", b"9223372036854775808", "overflow"),
        ("INT64", b"-9223372036854775809", "overflow"),
        ("INT64", b"9" * 5000, "overflow"),
        ("FLOAT", b"nan", "non_finite"),
        ("FLOAT", b" -Inf ", "non_finite"),
        ("DOUBLE", b"infinity", "non_finite"),
        ("FLOAT", b"1e39", "overflow"),
        ("DOUBLE", b"1e309", "overflow"),
        ("FLOAT", b"1,5", "bad_number"),
        ("FLOAT", b"1e", "bad_number"),
        ("FLOAT", b".", "bad_number"),
        ("FLOAT", b"1.2.3", "bad_number"),
        ("FLOAT", b"1_0.5", "bad_number"),
        ("DOUBLE", b"\x00", "bad_number"),
        ("BOOL", b"yes", "bad_boolean"),
        ("BOOL", b"2", "bad_boolean"),
    ],
)
def test_malformed_cells_are_named_and_others_kept(kind, cell, reason):
    values, bad = convert([b"1", cell, b"0"], Column("price", kind))
    assert [(entry.row, entry.reason) for entry in bad] == [(1, reason)]
    assert values[[0, 2]].tolist() == [1, 0]
    assert "column 'price'" in bad[0].detail and f"expected {kind}" in bad[0].detail
    assert "\n" not in bad[0].detail and len(bad[0].detail) < 250


@pytest.mark.parametrize(
    ("kind", "cells", "values"),
    [
        (
            "INT32",
            [b"2147483647", b"-2147483648", b"+7", b" 7", b"7\t", b"007", b"-0"],
            [2**31 - 1, -(2**31), 7, 7, 7, 7, 0],
        ),
        ("INT64", [b"9223372036854775807", b"-9223372036854775808"], [2**63 - 1, -(2**63)]),
        (
            "DOUBLE",
            [b"1", b"-1.5", b".5", b"5.", b" 1e3 ", b"1E-3", b"4.9e-324"],
            [1, -1.5, 0.5, 5, 1000, 0.001, 5e-324],
        ),
        ("FLOAT", [b"0.1", b"3.4028235e38"], [np.float32(0.1), np.finfo(np.float32).max]),
        ("BOOL", [b"true", b"FALSE", b"1", b" 0 "], [True, False, True, False]),
        ("STRING", [b"a", b"", b"\xff\n"], [b"a", b"", b"\xff\n"]),
    ],
)
def test_good_cells(kind, cells, values):
    result, bad = convert(cells, Column("x", kind))
    assert not bad
    assert result.dtype == Column("x", kind).dtype
    assert result.tolist() == [value.item() if isinstance(value, np.generic) else value for value in values]


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        ("INT32", "", 0),
        ("INT32", "-1", -1),
        ("FLOAT", "0.5", 0.5),
        ("BOOL", "true", True),
        ("STRING", "none", b"none"),
    ],
)
def test_empty_cells_become_the_default(kind, default, value):
    values, bad = convert([b"", b"1"], Column("x", kind, default))
    assert not bad
    assert values[0] == value
    assert values[1] == (b"1" if kind == "STRING" else 1)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40))
def test_integers_read_back(numbers):
    cells = [str(number).encode() for number in numbers]
    values, bad = convert(cells, Column("x", "INT64"))
    assert values.tolist() == numbers and not bad


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_doubles_read_back_exactly(numbers):
    cells = [repr(number).encode() for number in numbers]
    values, bad = convert(cells, Column("x", "DOUBLE"))
    assert values.tolist() == numbers and not bad


@given(
    st.lists(st.text("0123456789+-.eE, _x\t", max_size=6).map(str.encode), min_size=1, max_size=12),
    st.sampled_from(NUMERIC),
)
def test_a_column_is_converted_as_its_cells_are_one_by_one(cells, kind):
    column = Column("x", kind)
    values, bad = convert(cells, column)
    alone = [convert([cell], column) for cell in cells]
    assert values.tolist() == [value[0] for value, _ in alone]
    assert [entry.row for entry in bad] == [row for row, (_, bad_alone) in enumerate(alone) if bad_alone]
    for row, cell in enumerate(cells):
        if not bad or row not in [entry.row for entry in bad]:
            assert values[row] == column.dtype.type(float(cell or b"0"))


def test_same_cells_are_accepted_as_by_tensorflow():
    import tensorflow as tf

    cells = [
        "1",
        "-1",
        " 1",
        "1 ",
        "1.0",
        "1.",
        ".5",
        "1e3",
        "x",
        "1x",
        "+1",
        "- 1",
        "1_0",
        "",
        "99999999999",
    ]
    for kind, zero in [
        ("INT32", tf.int32),
        ("INT64", tf.int64),
        ("FLOAT", tf.float32),
        ("DOUBLE", tf.float64),
    ]:
        for cell in cells:
            try:
                wanted = tf.io.decode_csv([cell + ",z"], [tf.constant([0], zero), "y"])[0].numpy().tolist()
            except tf.errors.InvalidArgumentError:
                wanted = None
            values, bad = convert([cell.encode()], Column("x", kind))
            assert (None if bad else values.tolist()) == wanted, (kind, cell)


@pytest.mark.parametrize(
    ("kind", "default"), [("INT32", "x"), ("INT64", "1.0"), ("FLOAT", "nan"), ("BOOL", "maybe")]
)
def test_a_default_of_another_type_is_an_error(kind, default):
    with pytest.raises(ValueError, match=f"default value of column 'x' holds '{default}', expected {kind}"):
        check_default(Column("x", kind, default))
