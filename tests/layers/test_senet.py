import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import SENet
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
FIELDS = [RNG.normal(size=(3, width)).astype("float32") for width in (4, 6, 2)]
EQUAL = [RNG.normal(size=(3, 6)).astype("float32") for _ in range(4)]


def reference(layer, fields):
    groups = layer.num_squeeze_group
    summaries = []
    for field in fields:
        parts = np.split(field.astype("float64"), groups, axis=1)
        summaries += [part.max(axis=1) for part in parts] + [part.mean(axis=1) for part in parts]
    z = np.stack(summaries, axis=1)
    x = np.concatenate(fields, axis=1).astype("float64")
    hidden = np.maximum(oracle.dense(layer.reduce, z), 0)
    output = x * oracle.dense(layer.excite, hidden)
    if layer.use_skip_connection:
        output = output + x
    return oracle.norm(layer.norm, output) if layer.norm is not None else output


@pytest.mark.parametrize("inputs", [FIELDS, np.stack(EQUAL, axis=1)])
def test_gate(inputs):
    run_layer_test(
        SENet,
        {"reduction_ratio": 2},
        inputs,
        expected_output_shape=(3, 12 if inputs is FIELDS else 24),
        expected_num_trainable_weights=6,
        expected_num_non_trainable_weights=0,
        policies=("mixed_float16",),
        tolerance=1e-4,
    )


@pytest.mark.parametrize("fields", [FIELDS, EQUAL, EQUAL[:1]])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"reduction_ratio": 3, "num_squeeze_group": 1},
        {"use_skip_connection": False},
        {"use_output_layer_norm": False, "reduction_ratio": 100},
    ],
)
def test_values_and_number_of_parameters(kwargs, fields):
    layer = oracle.built(SENet(**kwargs), fields)
    np.testing.assert_allclose(layer(fields), reference(layer, fields), rtol=1e-3, atol=1e-4)
    summary = 2 * len(fields) * layer.num_squeeze_group
    hidden, width = max(1, summary // layer.reduction_ratio), sum(field.shape[1] for field in fields)
    norm = 2 * width if layer.use_output_layer_norm else 0
    assert oracle.count(layer) == summary * hidden + hidden + hidden * width + width + norm


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        (
            {"num_squeeze_group": 4},
            FIELDS,
            r"num_squeeze_group=4 does not divide the width of field 1.*\[4, 6, 2\]",
        ),
        ({}, tf.zeros([3, 8]), "takes a list of fields"),
        ({"reduction_ratio": 0}, FIELDS, "reduction_ratio=0"),
        ({"num_squeeze_group": 0}, FIELDS, "num_squeeze_group=0"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        SENet(**kwargs)(inputs)
