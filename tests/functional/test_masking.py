import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from easyssl.functional import length_mask, masked_softmax, select_position, weighted_mean

floats = st.floats(-1e4, 1e4, width=32)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_masked_softmax_is_the_softmax_of_what_is_valid(data):
    logits = data.draw(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2), elements=floats))
    mask = data.draw(hnp.arrays(bool, logits.shape))
    got = masked_softmax(tf.constant(logits), tf.constant(mask)).numpy()
    for row, valid, weights in zip(logits.astype(np.float64), mask, got, strict=True):
        expected = np.zeros_like(row)
        if valid.any():
            powers = np.exp(row[valid] - row[valid].max())
            expected[valid] = powers / powers.sum()
        np.testing.assert_allclose(weights, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_masked_softmax_in_half_precision(dtype):
    logits = tf.cast([[6e4, 6e4, -6e4], [1.0, 2.0, 3.0]], dtype)
    weights = masked_softmax(logits, tf.constant([[True, True, True], [False] * 3]))
    assert weights.dtype == logits.dtype
    np.testing.assert_array_equal(tf.cast(weights, tf.float32), [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])


def test_masked_softmax_gradient_of_a_masked_row_is_zero():
    logits = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        weights = masked_softmax(logits, tf.constant([[False, False], [True, False]]))
        total = tf.reduce_sum(weights * tf.constant([[1.0, 5.0]]))
    np.testing.assert_array_equal(tape.gradient(total, logits), np.zeros([2, 2]))


def test_masked_softmax_without_mask():
    logits = np.array([[0.5, -1.0, 2.0]])
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(masked_softmax(tf.constant(logits, tf.float32), None), expected, rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-2, 9), min_size=1, max_size=6), st.integers(0, 7))
def test_length_mask(lengths, size):
    expected = np.arange(size)[None] < np.array(lengths)[:, None]
    np.testing.assert_array_equal(length_mask(tf.constant(lengths), size), expected)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-2, 6), min_size=1, max_size=5), st.integers(0, 5))
def test_select_position(positions, size):
    sequence = np.random.default_rng(0).normal(size=(len(positions), size, 3)).astype(np.float32)
    got = select_position(tf.constant(sequence), tf.constant(positions)).numpy()
    for row, position, steps in zip(got, positions, sequence, strict=True):
        np.testing.assert_array_equal(row, steps[position] if 0 <= position < size else np.zeros(3))


def test_select_position_does_not_spread_nan():
    sequence = tf.constant([[[1.0], [float("nan")]]])
    np.testing.assert_array_equal(select_position(sequence, tf.constant([0])), [[1.0]])


def test_weighted_mean():
    values, weights = np.array([1.0, -2.0, 4.0, 8.0]), np.array([0.5, 2.0, 0.0, 1.0])
    expected = (values * weights).sum() / weights.sum()
    assert weighted_mean(tf.constant(values), tf.constant(weights)).numpy() == pytest.approx(expected)
    assert weighted_mean(tf.constant(values)).numpy() == pytest.approx(values.mean())
    assert weighted_mean(tf.zeros([0])).numpy() == 0.0
    assert weighted_mean(tf.constant([7.0]), tf.constant([0.0])).numpy() == 0.0
