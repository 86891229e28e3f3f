import interaction_oracle as oracle
import numpy as np
import pytest
from tensorflow import keras

from easyssl.layers import FiBiNet
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
FIELDS = [RNG.normal(size=(3, 4)).astype("float32") for _ in range(3)]
FULL = {
    "bilinear": {"num_output_units": 5, "type": "each"},
    "senet": {"reduction_ratio": 2},
    "mlp": {"hidden_units": [6, 2]},
}


def reference(layer, fields):
    """The parts have tests of their own."""
    parts = [layer.senet(fields).numpy()]
    if layer.bilinear is not None:
        parts.append(layer.bilinear(fields).numpy())
    joined = np.concatenate(parts, axis=1).astype("float64")
    return joined if layer.mlp is None else oracle.mlp(layer.mlp, joined)


def test_gate():
    run_layer_test(
        FiBiNet,
        FULL,
        FIELDS,
        expected_output_shape=(3, 2),
        expected_num_trainable_weights=6 + 6 + 6,
        expected_num_non_trainable_weights=4,
        policies=("mixed_bfloat16",),
        tolerance=1e-4,
    )


@pytest.mark.parametrize(
    ("kwargs", "parameters"),
    [
        ({}, 12 * 3 + 3 + 3 * 12 + 12 + 2 * 12),
        ({"bilinear": {"num_output_units": 5, "type": "all"}}, 111 + 4 * 4 + 4 + 3 * 5 + 5),
        ({"mlp": FULL["mlp"]}, 111 + 12 * 6 + 6 * 2 + 2 * (6 + 2)),
        (FULL, 12 * 6 + 6 + 6 * 12 + 12 + 24 + 2 * 20 + 20 + 17 * 6 + 6 * 2 + 2 * 8),
    ],
)
def test_values_and_number_of_parameters(kwargs, parameters):
    layer = oracle.built(FiBiNet(**kwargs), FIELDS)
    np.testing.assert_allclose(layer(FIELDS), reference(layer, FIELDS), rtol=1e-4, atol=1e-4)
    assert oracle.count(layer) == parameters


def test_the_regularizer_reaches_the_mlp_only():
    layer = oracle.built(FiBiNet(**FULL, kernel_regularizer=keras.regularizers.L2(0.5)), FIELDS)
    oracle.l2(layer, *(block.dense for block in layer.mlp.blocks))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"bilinear": {}}, "FiBiNet: `bilinear` needs the parameter 'num_output_units'"),
        ({"senet": {"ratio": 2}}, "FiBiNet: `senet` has no parameter 'ratio'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FiBiNet(**kwargs)
