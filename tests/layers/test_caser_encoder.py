import numpy as np
import pytest
import tensorflow as tf
from encoder_oracle import array, dense, randomize
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from easyssl.layers import CaserEncoder
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
LENGTHS = np.array([6, 3, 0, 1], "int32")
SEQUENCE = RNG.normal(size=(4, 6, 3)).astype("float32")
USER = RNG.normal(size=(4, 2)).astype("float32")
SIZES = {"max_seq_len": 5, "num_vertical_filters": 2, "num_horizontal_filters": 3}


def made(inputs=(SEQUENCE, LENGTHS), **kwargs):
    layer = CaserEncoder(**{**SIZES, **kwargs})
    layer(inputs)
    randomize(layer)
    return layer


def reference(layer, sequence, lengths, user=None):
    """The definition, row by row in float64."""
    rows = []
    for index, length in enumerate(lengths):
        limit, dim = layer.max_seq_len, sequence.shape[2]
        image = np.zeros((limit, dim))
        kept = sequence[index, max(length - limit, 0) : length]
        image[: len(kept)] = kept
        seen = [dense(layer.vertical, image.T).ravel()]
        for height, convolution in enumerate(layer.horizontal, start=1):
            kernel, bias = array(convolution.kernel), array(convolution.bias)
            windows = [image[t : t + height] for t in range(limit - height + 1)]
            found = [np.einsum("hd,hdf->f", window, kernel) + bias for window in windows]
            seen.append(np.maximum(found, 0).max(axis=0))
        hidden = np.maximum(dense(layer.hidden, np.concatenate(seen)), 0)
        if layer.user_input:
            hidden = np.concatenate([hidden, user[index]])
        rows.append(dense(layer.output_dense, hidden) * (length > 0))
    return np.stack(rows)


@pytest.mark.parametrize("user", [True, False])
def test_gate(user):
    run_layer_test(
        CaserEncoder,
        {**SIZES, "max_seq_len": 3, "user_input": user},
        [SEQUENCE, LENGTHS, USER] if user else [SEQUENCE, LENGTHS],
        expected_output_shape=(4, 3),
        expected_num_trainable_weights=2 * (1 + 3 + 2),
        expected_num_non_trainable_weights=1,
        is_random=True,
    )


@pytest.mark.parametrize("kwargs", [{}, {"max_seq_len": 8}, {"max_seq_len": 1}, {"output_size": 4}])
def test_values(kwargs):
    layer = made(**kwargs)
    expected = reference(layer, SEQUENCE, LENGTHS)
    np.testing.assert_allclose(layer([SEQUENCE, LENGTHS]), expected, rtol=1e-4, atol=1e-5)


def test_values_with_a_user():
    inputs = [SEQUENCE, LENGTHS, USER]
    layer = made(inputs, user_input=True)
    np.testing.assert_allclose(layer(inputs), reference(layer, *inputs), rtol=1e-4, atol=1e-5)
    assert not np.allclose(layer([SEQUENCE, LENGTHS, USER + 1]), layer(inputs))
    layer = made(inputs)  # without `user_input` a third input is not used
    np.testing.assert_array_equal(layer(inputs), layer([SEQUENCE, LENGTHS]))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=4, max_size=4), st.integers(0, 2**16))
def test_any_lengths(lengths, seed):
    sequence = np.random.default_rng(seed).normal(size=SEQUENCE.shape).astype("float32")
    got = LAYER([sequence, np.array(lengths)])
    np.testing.assert_allclose(got, reference(LAYER, sequence, lengths), rtol=1e-4, atol=1e-5)


def test_padding_may_be_anything():
    layer = made()
    padded = np.concatenate([SEQUENCE, np.full((4, 3, 3), np.nan, "float32")], axis=1)
    sequence = tf.constant(np.where(np.arange(9)[:, None] < LENGTHS[:, None, None], padded, np.nan))
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        got = layer([sequence, LENGTHS])
        loss = tf.reduce_sum(got * tf.constant(RNG.normal(size=3), tf.float32))
    np.testing.assert_allclose(got, layer([SEQUENCE, LENGTHS]), rtol=1e-5, atol=1e-6)
    gradient, *others = tape.gradient(loss, [sequence, *layer.trainable_variables])
    steps = np.arange(9)
    kept = (steps < LENGTHS[:, None]) & (steps >= LENGTHS[:, None] - 5)
    assert not gradient.numpy()[~kept].any() and gradient.numpy()[kept].any(axis=1).all()
    assert all(np.all(np.isfinite(g)) for g in others)


def test_gradients_equal_finite_differences():
    layer, sequence = made(), tf.constant(SEQUENCE)
    weights, direction = RNG.normal(size=(4, 3)), RNG.normal(size=SEQUENCE.shape)
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        loss = tf.reduce_sum(layer([sequence, LENGTHS]) * tf.constant(weights, tf.float32))
    slope = np.sum(tape.gradient(loss, sequence).numpy() * direction)
    above, below = (reference(layer, SEQUENCE + s * 1e-6 * direction, LENGTHS) for s in (1, -1))
    assert slope == pytest.approx(np.sum((above - below) * weights) / 2e-6, rel=1e-3)


def test_edge_cases():
    layer = made()
    assert not layer([SEQUENCE, np.zeros(4, "int32")]).numpy().any()
    single = layer([SEQUENCE[1:2, :3], LENGTHS[1:2]])
    np.testing.assert_allclose(single, layer([SEQUENCE, LENGTHS])[1:2], rtol=1e-5, atol=1e-6)


def test_values_and_gradients_are_the_same_under_xla():
    layer = made(max_seq_len=3)

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


def test_the_regularizer_reaches_all_kernels():
    layer = made(kernel_regularizer=keras.regularizers.L2(0.5))
    kernels = [w for w in layer.trainable_weights if len(w.shape) > 1]
    expected = sum(0.5 * np.sum(array(kernel) ** 2) for kernel in kernels)
    assert float(tf.add_n(layer.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_seq_len": 0}, "max_seq_len=0"),
        ({"num_vertical_filters": 0}, "num_vertical_filters=0"),
        ({"output_size": 0}, "output_size=0"),
        ({"dropout_prob": -0.1}, "dropout_prob=-0.1"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        CaserEncoder(**{**SIZES, **kwargs})


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match=r"CaserEncoder 'encoder' takes a sequence \[batch, seq_len, dim\]"):
        CaserEncoder(**SIZES, name="encoder")([SEQUENCE])
    with pytest.raises(ValueError, match="takes a user's embedding .* as its third input"):
        CaserEncoder(**SIZES, user_input=True)([SEQUENCE, LENGTHS])


LAYER = made()
