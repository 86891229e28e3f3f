import interaction_oracle as oracle
import numpy as np
import pytest

from easyssl.layers import Highway
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5)).astype("float32")
STEPS = RNG.normal(size=(2, 3, 5)).astype("float32")


def reference(layer, x):
    x = x.astype("float64")
    if layer.projection is not None:
        x = oracle.dense(layer.projection, x)
    for gate, transform in zip(layer.gates, layer.transforms, strict=True):
        t = oracle.ACTIVATIONS["sigmoid"](oracle.dense(gate, x))
        h = oracle.ACTIVATIONS[layer.activation](oracle.dense(transform.blocks[0].dense, x))
        x = t * h + (1 - t) * x
    return x


def test_gate():
    run_layer_test(
        Highway,
        {"emb_size": 4, "num_layers": 2, "dropout_rate": 0.5, "init_gate_bias": 0.0},
        X,
        expected_output_shape=(4, 4),
        expected_num_trainable_weights=10,
        expected_num_non_trainable_weights=2,
        is_random=True,
        policies=("mixed_float16",),
    )


def test_gate_on_steps():
    run_layer_test(
        Highway,
        {"activation": "dice"},
        STEPS,
        expected_output_shape=STEPS.shape,
        expected_num_trainable_weights=5,
        keeps_mask=True,
        policies=(),
    )


@pytest.mark.parametrize(
    ("kwargs", "parameters"),
    [
        ({}, 2 * (5 * 5 + 5)),
        ({"emb_size": 5, "num_layers": 3, "activation": "tanh"}, 3 * 2 * (5 * 5 + 5)),
        ({"emb_size": 2, "dropout_rate": 0.3}, 5 * 2 + 2 + 2 * (2 * 2 + 2)),
    ],
)
def test_values_and_number_of_parameters(kwargs, parameters):
    layer = oracle.built(Highway(**kwargs), X)
    np.testing.assert_allclose(layer(X), reference(layer, X), rtol=1e-5, atol=1e-5)
    assert oracle.count(layer) == parameters


def test_the_gate_is_nearly_closed_at_first():
    layer = Highway()
    layer(X)
    np.testing.assert_array_equal(oracle.array(layer.gates[0].bias), np.full(5, -3.0))
    layer = Highway(init_gate_bias=-100.0)
    np.testing.assert_allclose(layer(X), X, rtol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"emb_size": 0}, "emb_size=0"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"dropout_rate": 1.0}, "dropout_rate=1.0"),
        ({"activation": "geluu"}, "did you mean 'gelu'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Highway(**kwargs)
