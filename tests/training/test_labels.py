"""Which labels and weights a loss can use."""

import sys

import numpy as np
import pytest

from easyssl.cli.plugin import load_plugins
from easyssl.config import parse_config
from easyssl.errors import ConfigError, DataError
from easyssl.training.labels import Labels


class Rows:
    def __init__(self, **columns):
        self.columns = {name: np.array(values) for name, values in columns.items()}
        count = len(next(iter(self.columns.values())))
        self.paths, self.lines = np.array(["a.csv"] * count), np.arange(1, count + 1)


@pytest.mark.parametrize(
    ("limits", "labels", "message"),
    [
        ((0, 1, False), [0.0, 1.0, 2.0], "a.csv:3: label 'y' is 2, expected a number from 0 to 1"),
        ((0, 1, False), [0.0, -1.0], "a.csv:2: label 'y' is -1"),
        ((0, 1, False), [float("nan"), 1.0], "a.csv:1: label 'y' is nan"),
        ((0, 2, True), [0, 1, 3], "a.csv:3: label 'y' is 3, expected a whole number from 0 to 2"),
        ((0, 2, True), [0.0, 1.5], "a.csv:2: label 'y' is 1.5, expected a whole number from 0 to 2"),
        (None, [float("inf")], "a.csv:1: label 'y' is inf, expected a number"),
    ],
)
def test_a_label_that_the_loss_cannot_use_is_told_with_its_line(limits, labels, message):
    found = Labels(["y"], limits=limits and {"y": limits})
    with pytest.raises(DataError) as error:
        found.labels(Rows(y=labels))
    assert str(error.value).startswith(message)


def test_labels_within_the_limits_pass():
    values = Labels(["y"], limits={"y": (0, 1, False)}).labels(Rows(y=[0.0, 0.25, 1.0]))
    np.testing.assert_array_equal(values["y"], np.float32([0, 0.25, 1]))


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_a_weight_must_be_finite_and_not_negative(weight):
    with pytest.raises(DataError, match="a.csv:2: column 'w' has .*, expected a finite weight of at least 0"):
        Labels(["y"], weight="w").weights(Rows(y=[0.0, 1.0], w=[1.0, weight]))


LABEL = "data_config { label_fields: 'y' input_fields { input_name: 'y' input_type: %s %s } }"


def read(kind, function, values):
    labels = Labels.from_config(parse_config(LABEL % (kind, function), "a.config"), ["y"])
    return labels.labels(Rows(y=np.array(values)))["y"]


@pytest.mark.parametrize(
    ("kind", "function", "values", "expected"),
    [
        ("FLOAT", "user_define_fn: 'tf.math.log1p'", np.float32([0, 1, 3]), np.log1p(np.float32([0, 1, 3]))),
        ("DOUBLE", "user_define_fn: 'lambda v: 2 * v + 1'", [0.0, 1.5], np.float32([1, 4])),
        ("STRING", "user_define_fn: 'tf.math.log1p'", np.array([b"1"], object), np.log1p(np.float32([1]))),
        ("INT32", "user_define_fn: 'lambda x: x >= 5'", np.int32([4, 5, 6]), np.float32([0, 1, 1])),
        (
            "INT32",
            "user_define_fn: 'lambda x: x >= 5' user_define_fn_res_type: INT64",
            np.int32([4, 5, 6]),
            np.int64([0, 1, 1]),
        ),
    ],
)
def test_a_function_of_a_label_is_applied(kind, function, values, expected):
    found = read(kind, function, values)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "function", "message"),
    [
        ("FLOAT", "user_define_fn: 'mine.remap'", r"a.config:1:\d+: .*user_define_fn: 'mine.remap'"),
        ("FLOAT", "user_define_fn: '__import__(1)'", "user_define_fn"),
        ("FLOAT", "user_define_fn: 'lambda x: tf.reduce_sum(x)'", r"fails on FLOAT values: .*found \[\]"),
        ("FLOAT", "user_define_fn: 'lambda x, y: x'", "expected a function of one value"),
        ("INT32", "user_define_fn: 'tf.math.log1p'", "fails on INT32 values: .*declare the column FLOAT"),
        ("FLOAT", "user_define_fn: 'tf.exp' user_define_fn_res_type: STRING", "found STRING"),
    ],
)
def test_a_function_that_does_not_fit_is_told_at_its_place(kind, function, message):
    with pytest.raises(ConfigError, match=message):
        read(kind, function, [1.0])


def test_a_function_of_another_column_has_no_effect():
    config = parse_config(
        "data_config { label_fields: 'y' input_fields { input_name: 'y' input_type: FLOAT }"
        " input_fields { input_name: 'z' user_define_fn: 'tf.exp' } }"
    )
    Labels.from_config(config, ["y"])
    assert len(config.warnings) == 1 and "'z' is none of the labels y" in config.warnings[0]


REMAP = """
from os.path import join

def remap(labels):
    return (labels >= 5).astype("int64")

def halved(labels):
    return labels / 2.0

def fails(labels):
    raise KeyError("k")

def shorter(labels):
    return labels[:1]
"""


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "process_lbl.py").write_text(REMAP)
    load_plugins([str(tmp_path / "process_lbl.py")])
    yield
    del sys.modules["easyssl_plugin_process_lbl"]


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        (
            "user_define_fn: 'remap' user_define_fn_path: 'samples/demo/process_lbl.py' "
            "user_define_fn_res_type: INT64",
            np.int32([4, 5, 6]),
            np.int64([0, 1, 1]),
        ),
        ("user_define_fn: 'halved' user_define_fn_path: 'process_lbl.py'", [3.0], np.float32([1.5])),
        ("user_define_fn: 'any.process_lbl.halved'", [3.0], np.float32([1.5])),
        ("user_define_fn: 'tf.square' user_define_fn_path: 'process_lbl.py'", [3.0], np.float32([9])),
    ],
)
def test_a_function_of_a_plugin_is_applied(plugin, function, values, expected):
    found = read("INT32" if isinstance(values, np.ndarray) else "FLOAT", function, values)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "user_define_fn: 'remap' user_define_fn_path: 'a/other.py'",
            r"user_define_fn_path: a config runs no code: .*--plugin other.py, with a function 'remap'",
        ),
        ("user_define_fn: 'join' user_define_fn_path: 'process_lbl.py'", "with a function 'join' in it"),
        (
            "user_define_fn: 'fails' user_define_fn_path: 'process_lbl.py'",
            "fails on FLOAT values: KeyError: 'k'",
        ),
        ("user_define_fn: 'process_lbl.shorter'", r"expected one number for each of 3 values"),
    ],
)
def test_a_function_that_no_plugin_defines_or_that_fails_is_told(plugin, function, message):
    with pytest.raises(ConfigError, match=message):
        read("FLOAT", function, [1.0])
