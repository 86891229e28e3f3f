import numpy as np
import pytest
import tensorflow as tf
from encoder_oracle import array, dense, randomize, read
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.layers import GRU4RecEncoder
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
LENGTHS = np.array([6, 3, 0, 1], "int32")
SEQUENCE = RNG.normal(size=(4, 6, 3)).astype("float32")


def made(**kwargs):
    layer = GRU4RecEncoder(**{"hidden_size": 5, **kwargs})
    layer([SEQUENCE, LENGTHS])
    randomize(layer)
    return layer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recur(layer, steps):
    """The states of one GRU layer, `[steps, hidden_size]`; columns are update gate, reset gate, candidate."""
    kernel, recurrent, *bias = (np.asarray(w, np.float64) for w in layer.get_weights())
    before, behind = bias[0] if bias else (0.0, 0.0)
    state, states = np.zeros(recurrent.shape[0]), []
    for x in steps:
        x_update, x_reset, x_new = np.split(x @ kernel + before, 3)
        h_update, h_reset, h_new = np.split(state @ recurrent + behind, 3)
        update = sigmoid(x_update + h_update)
        new = np.tanh(x_new + sigmoid(x_reset + h_reset) * h_new)
        state = update * state + (1 - update) * new
        states.append(state)
    return np.array(states).reshape(-1, recurrent.shape[0])


def reference(layer, sequence, lengths):
    rows = []
    for row, length in zip(sequence, lengths, strict=True):
        states = row[:length].astype(np.float64)
        for recurrent in layer.recurrent:
            states = recur(recurrent, states)
        rows.append(read(dense(layer.output_dense, states), layer.output_kind, sequence.shape[1]))
    return np.stack(rows)


def test_gate():
    run_layer_test(
        GRU4RecEncoder,
        {"hidden_size": 5, "output_size": 4},
        [SEQUENCE, LENGTHS],
        expected_output_shape=(4, 4),
        expected_num_trainable_weights=3 + 2,
        expected_num_non_trainable_weights=1,
        is_random=True,
    )


@pytest.mark.parametrize("output", ["last", "mean", "sequence"])
@pytest.mark.parametrize("kwargs", [{}, {"use_bias": False}, {"num_hidden_layers": 2, "output_size": 7}])
def test_values(kwargs, output):
    layer = made(**kwargs, output=output)
    got = layer([SEQUENCE, LENGTHS])
    np.testing.assert_allclose(got, reference(layer, SEQUENCE, LENGTHS), rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=4, max_size=4), st.integers(0, 2**16))
def test_any_lengths(lengths, seed):
    sequence = np.random.default_rng(seed).normal(size=SEQUENCE.shape).astype("float32")
    got = LAST([sequence, np.array(lengths)])
    np.testing.assert_allclose(got, reference(LAST, sequence, lengths), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["last", "mean"])
def test_padding_may_be_anything(output):
    layer = made(output=output)
    expected = layer([SEQUENCE, LENGTHS])
    padded = np.concatenate([SEQUENCE, np.full((4, 3, 3), np.nan, "float32")], axis=1)
    padded[1:] = np.where(np.arange(9)[:, None] < LENGTHS[1:, None, None], padded[1:], np.nan)
    with tf.GradientTape() as tape:
        sequence = tf.constant(padded)
        tape.watch(sequence)
        got = layer([sequence, LENGTHS])
        loss = tf.reduce_sum(got)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    gradient, *others = tape.gradient(loss, [sequence, *layer.trainable_variables])
    valid = np.arange(9) < LENGTHS[:, None]
    assert not gradient.numpy()[~valid].any() and gradient.numpy()[valid].any(axis=1).all()
    assert all(np.all(np.isfinite(g)) for g in others)


def test_no_step_depends_on_later_steps():
    layer, full = made(output="sequence"), np.full(4, 6, "int32")
    changed = SEQUENCE.copy()
    changed[:, 3:] += 1.0
    first, second = layer([SEQUENCE, full]).numpy(), layer([changed, full]).numpy()
    np.testing.assert_allclose(first[:, :3], second[:, :3], rtol=1e-5, atol=1e-6)
    assert np.all(np.abs(first[:, 3:] - second[:, 3:]).max(axis=-1) > 1e-3)


def test_gradients_equal_finite_differences():
    layer, sequence = made(num_hidden_layers=2), tf.constant(SEQUENCE)
    weights, direction = RNG.normal(size=(4, 3)), RNG.normal(size=SEQUENCE.shape)
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        loss = tf.reduce_sum(layer([sequence, LENGTHS]) * tf.constant(weights, tf.float32))
    slope = np.sum(tape.gradient(loss, sequence).numpy() * direction)
    above, below = (reference(layer, SEQUENCE + s * 1e-5 * direction, LENGTHS) for s in (1, -1))
    assert slope == pytest.approx(np.sum((above - below) * weights) / 2e-5, rel=1e-3)


def test_edge_cases():
    layer = made()
    assert not layer([SEQUENCE, np.zeros(4, "int32")]).numpy().any()
    single = layer([SEQUENCE[1:2, :3], LENGTHS[1:2]])
    np.testing.assert_allclose(single, layer([SEQUENCE, LENGTHS])[1:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer([SEQUENCE, LENGTHS, None]), layer([SEQUENCE, LENGTHS]))


@pytest.mark.parametrize("use_bias", [True, False])
def test_values_and_gradients_are_the_same_under_xla(use_bias):
    layer = made(use_bias=use_bias)

    def both(sequence, lengths):
        with tf.GradientTape() as tape:
            encoded = layer([sequence, lengths])
            loss = tf.reduce_sum(tf.square(encoded - 1.0))
        return [encoded, *tape.gradient(loss, layer.trainable_variables)]

    spec = [tf.TensorSpec([None, None, 3]), tf.TensorSpec([None], tf.int32)]
    compiled = tf.function(both, input_signature=spec, jit_compile=True, autograph=False)
    eager = both(tf.constant(SEQUENCE), tf.constant(LENGTHS))
    for got, want in zip(compiled(SEQUENCE, LENGTHS), eager, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_dropout_acts_on_the_input_only():
    layer = made(hidden_dropout_prob=0.99)
    outputs = layer([SEQUENCE, LENGTHS], training=True).numpy()
    bias_only = reference(layer, np.zeros_like(SEQUENCE), LENGTHS)
    same = np.isclose(outputs, bias_only, atol=1e-5).all(axis=1)
    assert same.any() and not np.allclose(layer([SEQUENCE, LENGTHS]), bias_only)
    assert array(layer.dropout.random_state)[1] == 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0"),
        ({"output_size": -2}, "output_size=-2"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob=1.0"),
        ({"output": "means"}, "did you mean 'mean'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        GRU4RecEncoder(**kwargs)


def test_other_inputs_are_refused():
    with pytest.raises(
        ValueError, match=r"GRU4RecEncoder 'encoder' takes a sequence \[batch, seq_len, dim\]"
    ):
        GRU4RecEncoder(name="encoder")(SEQUENCE)


LAST = made()
