import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import PPNet
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4)).astype("float32")
SEEN = RNG.normal(size=(3, 5)).astype("float32")
MLP = {"hidden_units": [6, 2], "final_activation": "linear"}


def gate_reference(gate, seen):
    return 2 * oracle.mlp(gate.mlp, seen)


def reference(layer, x, seen):
    """Layer by layer, with the gates where the mode has them."""
    x, seen = x.astype("float64"), seen.astype("float64")
    if layer.full_gate_input:
        seen = np.concatenate([x, seen], axis=1)
    factors = [gate_reference(gate, seen) for gate in layer.gates]
    if layer.mode == "eager":
        x = x * gate_reference(layer.input_gate, seen)
        factors.append(1.0)
    last = len(layer.mlp.blocks) - 1
    for index, (block, factor) in enumerate(zip(layer.mlp.blocks, factors, strict=True)):
        activation = layer.mlp.final_activation if index == last else layer.mlp.activation
        x = oracle.mlp_block(block, activation, x) * factor
    return x


@pytest.mark.parametrize(
    ("kwargs", "trainable"),
    [
        ({"gate_params": {"hidden_dim": 3, "dropout_rate": 0.5}}, 2 * 3 + 2 * 4),
        ({"mode": "lazy", "gate_params": {"use_bn": True}, "full_gate_input": False}, 2 * 3 + 2 * 6),
    ],
)
def test_gate(kwargs, trainable):
    run_layer_test(
        PPNet,
        {"mlp": MLP, **kwargs},
        [X, SEEN],
        expected_output_shape=(3, 2),
        expected_num_trainable_weights=trainable,
        is_random="dropout_rate" in kwargs["gate_params"],
        policies=("mixed_bfloat16",),
        tolerance=1e-4,
    )


BASE = 4 * 6 + 6 * 2 + 2 * (6 + 2)


def gate_parameters(seen, hidden, out):
    return seen * hidden + hidden + hidden * out + out


@pytest.mark.parametrize(
    ("kwargs", "parameters"),
    [
        ({}, BASE + gate_parameters(9, 4, 4) + gate_parameters(9, 6, 6)),
        ({"mode": "lazy"}, BASE + gate_parameters(9, 6, 6) + gate_parameters(9, 2, 2)),
        ({"full_gate_input": False}, BASE + gate_parameters(5, 4, 4) + gate_parameters(5, 6, 6)),
        (
            {"gate_params": {"output_dim": 4, "hidden_dim": 3, "activation": "tanh"}},
            BASE + gate_parameters(9, 3, 4) + gate_parameters(9, 3, 6),
        ),
        (
            {"gate_params": {"use_bn": True, "output_dim": 99}, "mode": "lazy"},
            BASE + 9 * 6 + 6 * 6 + 4 * 6 + 9 * 2 + 2 * 2 + 4 * 2,
        ),
    ],
)
def test_values_and_number_of_parameters(kwargs, parameters):
    layer = oracle.built(PPNet(MLP, **kwargs), [X, SEEN])
    np.testing.assert_allclose(layer([X, SEEN]), reference(layer, X, SEEN), rtol=1e-4, atol=1e-4)
    assert oracle.count(layer) == parameters


@pytest.mark.parametrize(("mode", "gates"), [("eager", 1), ("lazy", 1)])
def test_one_layer(mode, gates):
    layer = oracle.built(PPNet({"hidden_units": [3]}, mode=mode), [X, SEEN])
    np.testing.assert_allclose(layer([X, SEEN]), reference(layer, X, SEEN), rtol=1e-4, atol=1e-4)
    assert len(layer._all_gates()) == gates


def test_gates_pass_no_gradient_to_the_input():
    layer = oracle.built(PPNet({**MLP, "use_bn": False, "use_final_bn": False}), [X, SEEN])
    for block in layer.mlp.blocks:
        block.dense.kernel.assign(tf.ones_like(block.dense.kernel))
    x = tf.abs(tf.constant(X))  # no ReLU cuts anything off
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = tf.reduce_sum(layer([x, SEEN]))
    seen = np.concatenate([x, SEEN], axis=1).astype("float64")
    first, second = (gate_reference(gate, seen) for gate in (layer.input_gate, layer.gates[0]))
    expected = first * second.sum(axis=1, keepdims=True) * 2
    np.testing.assert_allclose(tape.gradient(output, x), expected, rtol=1e-4)


def test_the_regularizer_reaches_the_mlp_only():
    layer = oracle.built(PPNet(MLP, kernel_regularizer=keras.regularizers.L2(0.5)), [X, SEEN])
    oracle.l2(layer, *(block.dense for block in layer.mlp.blocks))


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"mode": "lasy"}, [X, SEEN], "did you mean 'lazy'"),
        (
            {"gate_params": {"output_dim": 3}},
            [X, SEEN],
            "must be the width of the input, 4. Received: output_dim=3",
        ),
        ({"gate_params": {"hidden": 3}}, [X, SEEN], "`gate_params` has no parameter 'hidden'"),
        ({}, X, "takes two inputs"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        PPNet(MLP, **kwargs)(inputs)
