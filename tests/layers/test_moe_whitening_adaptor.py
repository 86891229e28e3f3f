import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.layers import MoEWhiteningAdaptor, ParametricWhitening
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 6)).astype("float32")
STEPS = RNG.normal(size=(3, 4, 6)).astype("float32") + 1.5
LENGTHS = np.array([4, 2, 0], "int32")


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def reference(layer, x, gate=None):
    shifts, kernels, gate_kernel = (
        tf.convert_to_tensor(w).numpy().astype("float64")
        for w in (layer.shifts, layer.kernels, layer.gate_kernel)
    )
    gate = softmax(x @ gate_kernel) if gate is None else gate
    experts = np.stack([(x - b) @ w for b, w in zip(shifts, kernels, strict=True)], axis=-1)
    return np.sum(experts * gate[..., None, :], axis=-1)


def made(width=6, **kwargs):
    """A layer with other than the initial weights."""
    layer = MoEWhiteningAdaptor(**{"units": 3, "num_experts": 4} | kwargs)
    layer.build([None, width])
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=tuple(weight.shape)))
    return layer


def test_gate():
    run_layer_test(
        MoEWhiteningAdaptor,
        {"units": 3, "num_experts": 2, "seed": 1},
        X,
        expected_output_shape=(5, 3),
        expected_num_trainable_weights=4,
        expected_num_non_trainable_weights=2,
        is_random=True,
    )


def test_gate_of_a_sequence_with_lengths():
    run_layer_test(
        MoEWhiteningAdaptor,
        {"units": 3, "num_experts": 2, "dropout": 0.0, "gate_noise": False, "gate_input": "dropped"},
        [STEPS, LENGTHS],
        expected_output_shape=[(3, 4, 3), (3,)],
        expected_num_trainable_weights=3,
        expected_num_non_trainable_weights=0,
        policies=("mixed_bfloat16",),
    )


def test_masks_pass_on():
    run_layer_test(MoEWhiteningAdaptor, {"units": 2}, STEPS, keeps_mask=True, policies=())


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_without_training_it_is_the_definition(width, units, experts, sequence):
    layer = made(width, units=units, num_experts=experts)
    x = np.random.default_rng(experts).normal(size=(2, 3, width) if sequence else (4, width))
    np.testing.assert_allclose(layer(x.astype("float32")), reference(layer, x), rtol=1e-4, atol=1e-5)


def test_one_expert_is_a_parametric_whitening():
    layer, single = made(num_experts=1), ParametricWhitening(3)
    single.build([None, 6])
    single.shift.assign(layer.shifts[0])
    single.kernel.assign(layer.kernels[0])
    np.testing.assert_allclose(layer(X), single(X), atol=1e-6)


def test_at_first_the_gate_is_uniform():
    layer = MoEWhiteningAdaptor(3, num_experts=4)
    layer.build([None, 6])
    expected = reference(layer, X, np.full([5, 4], 0.25))
    np.testing.assert_allclose(layer(X), expected, atol=1e-6)


@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_the_noise_is_normal_with_the_learned_spread(floor):
    """With two experts that give (1, 0) and (0, 1), the output tells the gate's logits."""
    layer = MoEWhiteningAdaptor(2, num_experts=2, dropout=0.0, noise_floor=floor, seed=3)
    layer.build([None, 1])
    layer.kernels.assign([[[1.0, 0.0]], [[0.0, 1.0]]])
    layer.gate_kernel.assign([[0.7, 0.0]])
    layer.noise_kernel.assign([[0.3, -1.0]])
    output = layer(tf.ones([20000, 1]), training=True).numpy()
    np.testing.assert_allclose(output.sum(axis=1), 1.0, atol=1e-5)
    difference = np.log(output[:, 0]) - np.log(output[:, 1])
    spread = np.sqrt(sum((np.log1p(np.exp(v)) + floor) ** 2 for v in (0.3, -1.0)))
    assert difference.mean() == pytest.approx(0.7, abs=4 * spread / np.sqrt(20000))
    assert difference.std() == pytest.approx(spread, rel=0.02)


def test_noise_in_training_only_and_can_be_switched_off():
    noisy, quiet = made(dropout=0.0), made(dropout=0.0, gate_noise=False)
    np.testing.assert_array_equal(noisy(X), noisy(X))
    assert not np.allclose(noisy(X, training=True), noisy(X))
    np.testing.assert_array_equal(quiet(X, training=True), quiet(X))
    assert {w.name.split("/")[-1] for w in quiet.weights}.isdisjoint({"noise_kernel", "random_state"})


def test_equal_seeds_give_equal_draws_and_the_dropout_its_own():
    first, second = (made(seed=5)(X, training=True) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    layer = made(seed=5)
    assert int(layer.random_state[0]) != int(layer.drop.random_state[0])


@pytest.mark.parametrize(("gate_input", "changes"), [("input", False), ("dropped", True)])
def test_what_the_gate_sees(gate_input, changes):
    layer = MoEWhiteningAdaptor(2, 2, dropout=0.5, gate_noise=False, gate_input=gate_input, seed=1)
    layer.build([None, 1])
    layer.shifts.assign([[-1.0], [-1.0]])
    layer.kernels.assign([[[1.0, 0.0]], [[0.0, 1.0]]])
    layer.gate_kernel.assign([[1.0, 0.0]])
    output = layer(tf.ones([200, 1]), training=True).numpy()
    gates = output[:, 0] / output.sum(axis=1)
    expected = {1 / (1 + np.exp(-v)) for v in ((0.0, 2.0) if changes else (1.0,))}
    np.testing.assert_allclose(sorted({round(float(g), 5) for g in gates}), sorted(expected), atol=1e-4)


def test_steps_behind_the_end_are_zero_and_rows_do_not_mix():
    layer = made()
    output, lengths = layer([STEPS, LENGTHS])
    np.testing.assert_array_equal(lengths, LENGTHS)
    whole = layer(STEPS).numpy()
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(output[row, :length], whole[row, :length], atol=1e-6)
        assert not np.any(output[row, length:])
    np.testing.assert_allclose(layer(X[::-1]), layer(X)[::-1], atol=1e-6)


def test_metrics_are_over_valid_steps():
    layer = made(dropout=0.0, gate_noise=False, name="moe")
    with collect_losses() as collected:
        layer([STEPS, LENGTHS], training=True)
    valid = np.concatenate([row[:length] for row, length in zip(STEPS, LENGTHS, strict=True)])
    gate = softmax(valid @ tf.convert_to_tensor(layer.gate_kernel).numpy())
    load = gate.mean(axis=0)
    expected = {
        "moe_max_load": load.max(),
        "moe_min_load": load.min(),
        "moe_gate_entropy": np.mean(-np.sum(gate * np.log(gate), axis=1)),
    }
    assert collected.metrics.keys() == expected.keys() and not collected.terms
    for name, value in expected.items():
        assert float(collected.metrics[name]) == pytest.approx(value, rel=1e-4)
    with collect_losses() as collected:
        layer([STEPS, 0 * LENGTHS], training=True)
    assert all(float(value) == 0.0 for value in collected.metrics.values())


def test_gradients_reach_everything_trained():
    layer = made(dropout=0.0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(X, training=True)))
    for gradient in tape.gradient(loss, layer.trainable_weights):
        assert np.all(np.isfinite(gradient)) and np.any(gradient)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_large_inputs_stay_finite_in_half_precision(policy):
    layer = made(dtype=policy)
    layer.kernels.assign(1e-3 * RNG.normal(size=(4, 6, 3)))
    assert np.all(np.isfinite(tf.cast(layer(1e3 * X, training=True), tf.float32)))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="num_experts=0"):
        MoEWhiteningAdaptor(2, num_experts=0)
    with pytest.raises(ValueError, match="`noise_floor` must not be negative"):
        MoEWhiteningAdaptor(2, noise_floor=-1.0)
    with pytest.raises(ValueError, match="unknown gate_input 'droped'; did you mean 'dropped'"):
        MoEWhiteningAdaptor(2, gate_input="droped")
    with pytest.raises(ValueError, match="optionally with lengths"):
        MoEWhiteningAdaptor(2, name="moe")([X, LENGTHS])
