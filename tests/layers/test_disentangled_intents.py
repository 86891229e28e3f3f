import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import DisentangledIntents
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 4, 6, 5)).astype("float32")
LENGTHS = np.array([6, 3, 1, 0], "int32")
AFTER = np.array([2, 0, 6, 1], "int32")
OPTIONS = {"num_intents": 3, "max_position_embeddings": 6, "future_input": True, "initializer_range": 0.5}


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def normed(x, norm):
    center = x - x.mean(axis=-1, keepdims=True)
    scaled = center / np.sqrt((center**2).mean(axis=-1, keepdims=True) + 1e-12)
    return scaled * norm.gamma.numpy() + norm.beta.numpy()


def expected(layer, states, lengths, bias):
    """One step at a time."""
    states = states.astype(np.float64)
    prototypes = normed(layer.prototypes.numpy().astype(np.float64), layer.prototype_norm)
    kernel, offset = (w.numpy().astype(np.float64) for w in layer.key_dense.weights)
    positions, query_bias = layer.positions.numpy(), layer.query_bias.numpy()
    result = np.zeros((len(states), 3, states.shape[2]))
    for row, n in enumerate(lengths):
        if not n:
            continue
        z = states[row, :n]
        placed = z + positions[:n]
        h = normed(placed, layer.key_norm)
        keys = h + np.maximum(h @ kernel + offset, 0)
        query = normed(placed[-1] + query_bias, layer.query_norm)
        share = softmax(keys @ query / np.sqrt(5))
        total = bias.numpy().astype(np.float64)
        for i in range(n):
            about = softmax(prototypes @ normed(z[i], layer.state_norm) / np.sqrt(5))
            total = total + share[i] * np.outer(about, z[i])
        result[row] = normed(total, layer.intent_norm)
    return result


def test_gate_and_values():
    layer = run_layer_test(
        DisentangledIntents,
        OPTIONS,
        [X, LENGTHS, Y, AFTER],
        expected_output_shape=[(4, 3, 5), (4, 3, 5)],
        expected_num_trainable_weights=17,
    )
    for norm in (layer.state_norm, layer.prototype_norm, layer.key_norm, layer.query_norm, layer.intent_norm):
        norm.set_weights([RNG.uniform(0.5, 1.5, 5), RNG.normal(size=5)])
    past, future = layer([X, LENGTHS, Y, AFTER])
    np.testing.assert_allclose(past, expected(layer, X, LENGTHS, layer.past_bias), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(future, expected(layer, Y, AFTER, layer.future_bias), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layer([X, LENGTHS]), past, atol=1e-6)


def test_padding_may_hold_anything_and_does_not_matter():
    layer = DisentangledIntents(3, 6)
    want = layer([X[:3], LENGTHS[:3]])
    assert len(layer.trainable_weights) == 16
    dirty = np.where(
        np.arange(8)[None, :, None] < LENGTHS[:3, None, None], np.pad(X[:3], [(0, 0), (0, 2), (0, 0)]), np.nan
    )
    with tf.GradientTape() as tape:
        got = layer([tf.constant(dirty, tf.float32), LENGTHS[:3]])
        loss = tf.reduce_sum(got**2 + got)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert all(np.all(np.isfinite(g)) for g in tape.gradient(loss, layer.trainable_weights))


def test_of_long_sequences_the_last_steps_count():
    layer = DisentangledIntents(3, 4)
    got = layer([X, LENGTHS])
    np.testing.assert_allclose(got[:1], layer([X[:1, 2:], np.array([4])]), atol=1e-6)


def test_further_inputs_are_ignored_without_future_input():
    layer = DisentangledIntents(3)
    np.testing.assert_array_equal(layer([X, LENGTHS, Y, AFTER]), layer([X, LENGTHS]))


def test_errors():
    with pytest.raises(ValueError, match="`num_intents` must be a positive integer"):
        DisentangledIntents(0)
    with pytest.raises(ValueError, match="takes a sequence"):
        DisentangledIntents(2)(X)
