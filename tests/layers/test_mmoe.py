import interaction_oracle as oracle
import numpy as np
import pytest
from tensorflow import keras

from easyssl.layers import MMoE
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5)).astype("float32")
EXPERTS = [RNG.normal(size=(4, 3)).astype("float32") for _ in range(3)]
MLP = {"hidden_units": [6, 2], "final_activation": "linear"}


def mixtures(layer, experts, x):
    """The gates of each task, `[task][batch, expert]`, and their mixtures."""
    gates, outputs = [], []
    for gate in layer.gates:
        scores = np.exp(oracle.dense(gate, x.astype("float64")))
        gates.append(scores / scores.sum(axis=1, keepdims=True))
        outputs.append(sum(gates[-1][:, e : e + 1] * f for e, f in enumerate(experts)))
    return gates, outputs


@pytest.mark.parametrize(
    ("kwargs", "inputs", "shapes", "trainable"),
    [
        ({"num_task": 2, "expert_mlp": MLP, "num_expert": 3}, X, [(4, 2)] * 2, 3 * 6 + 2 * 2),
        ({"num_task": 3}, [*EXPERTS, X], [(4, 3)] * 3, 3 * 2),
    ],
)
def test_gate(kwargs, inputs, shapes, trainable):
    run_layer_test(
        MMoE,
        kwargs,
        inputs,
        expected_output_shape=shapes,
        expected_num_trainable_weights=trainable,
        policies=("mixed_bfloat16",),
        tolerance=1e-4,
    )


def test_values_with_experts_of_its_own():
    layer = oracle.built(MMoE(2, expert_mlp=MLP, num_expert=3), X)
    expected = mixtures(layer, [oracle.mlp(expert, X) for expert in layer.experts], X)[1]
    np.testing.assert_allclose(np.stack(layer(X)), expected, rtol=1e-4, atol=1e-4)
    assert oracle.count(layer) == 3 * (5 * 6 + 6 * 2 + 2 * (6 + 2)) + 2 * (5 * 3 + 3)


@pytest.mark.parametrize("num_expert", [None, 3])
def test_values_with_experts_that_are_inputs(num_expert):
    layer = oracle.built(MMoE(2, num_expert=num_expert), [*EXPERTS, X])
    np.testing.assert_allclose(
        np.stack(layer([*EXPERTS, X])), mixtures(layer, EXPERTS, X)[1], rtol=1e-5, atol=1e-5
    )
    assert oracle.count(layer) == 2 * (5 * 3 + 3)


def test_no_experts_hand_the_input_on():
    assert MMoE(2, expert_mlp=MLP, num_expert=0)(X) is not None
    np.testing.assert_array_equal(MMoE(2, num_expert=0)(X), X)


def test_shares_of_the_experts_are_shown():
    layer = oracle.built(MMoE(2, name="mix"), [*EXPERTS, X])
    gates = np.stack(mixtures(layer, EXPERTS, X)[0])
    with collect_losses() as collected:
        layer([*EXPERTS, X], training=True)
    load = gates.mean(axis=(0, 1))
    expected = {
        "mix_max_load": load.max(),
        "mix_min_load": load.min(),
        "mix_gate_entropy": -(gates * np.log(gates)).sum(axis=-1).mean(),
    }
    assert {name: float(value) for name, value in collected.metrics.items()} == pytest.approx(
        expected, rel=1e-5
    )


def test_regularizer():
    layer = MMoE(2, expert_mlp=MLP, num_expert=2, kernel_regularizer=keras.regularizers.L2(0.5))
    oracle.built(layer, X)
    oracle.l2(layer, *layer.gates, *(block.dense for expert in layer.experts for block in expert.blocks))


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"num_task": 0}, X, "num_task=0"),
        ({"num_task": 2, "num_expert": -1}, X, "num_expert=-1"),
        ({"num_task": 2, "expert_mlp": MLP}, X, "needs `num_expert`"),
        ({"num_task": 2, "expert_mlp": {"units": 3}, "num_expert": 2}, X, "no parameter 'units'"),
        ({"num_task": 2, "expert_mlp": MLP, "num_expert": 2}, [X, X], r"takes \[batch, dim\]"),
        ({"num_task": 2, "num_expert": 2}, [*EXPERTS, X], "takes a list of 2 experts"),
        ({"num_task": 2}, [EXPERTS[0], X, X], "of one width"),
        ({"num_task": 2}, X, "takes a list of n experts"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        MMoE(**kwargs)(inputs)
