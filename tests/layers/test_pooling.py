"""Pooling against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers.pooling import AttentionPooling, combine, project

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)


def reference(rows, present, combiner, weights):
    """One cell: rows [n, dim], present [n], weights [n]."""
    rows, weights = rows[present], weights[present]
    if combiner != "sum":
        rows, weights = rows[weights > 0], weights[weights > 0]
    if not len(rows):
        return np.zeros(rows.shape[-1])
    norm = {"sum": 1.0, "mean": weights.sum(), "sqrtn": np.sqrt((weights**2).sum())}[combiner]
    return (weights[:, None] * rows).sum(0) / norm


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize("weighted", [False, True])
def test_combine_equals_numpy(combiner, weighted):
    present = RNG.random((6, 5)) < 0.6
    present[2] = False
    rows = RNG.normal(size=(6, 5, 3)) * present[..., None]
    weights = RNG.normal(size=(6, 5)) if weighted else np.ones((6, 5))
    weights[3] = -abs(weights[3]) if weighted else 1.0
    given = tf.constant(weights * present, tf.float32) if weighted else None
    pooled = combine(tf.constant(rows, tf.float32), tf.constant(present), combiner, given)
    expected = [reference(*cell, combiner, w) for *cell, w in zip(rows, present, weights, strict=True)]
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_gradient_of_an_empty_cell_is_zero(combiner):
    rows = tf.zeros([1, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        loss = tf.reduce_sum(combine(rows, tf.constant([[False, False]]), combiner))
    np.testing.assert_array_equal(tape.gradient(loss, rows), np.zeros((1, 2, 3)))


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_project_equals_numpy(combiner):
    values, rows = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 2))
    got = project(tf.constant(values, tf.float32), tf.constant(rows, tf.float32), combiner)
    expected = [reference(rows, np.ones(3, bool), combiner, v) for v in values]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_unknown_combiner_is_refused():
    with pytest.raises(ValueError, match="combiner='avg'"):
        combine(tf.zeros([1, 1, 1]), tf.constant([[True]]), "avg")


def attention(sequence, length, kernel):
    if length == 0:
        return np.zeros(sequence.shape[-1])
    scores = sequence[:length] @ kernel
    weights = np.exp(scores - scores.max())
    return weights / weights.sum() @ sequence[:length]


def test_attention_pooling_equals_numpy_and_ignores_padding():
    sequence = RNG.normal(size=(4, 5, 3))
    lengths = np.array([5, 2, 0, 1])
    layer = AttentionPooling()
    pooled = layer((tf.constant(sequence, tf.float32), tf.constant(lengths)))
    kernel = np.asarray(layer.get_weights()[0], np.float64)
    expected = [attention(s, n, kernel) for s, n in zip(sequence, lengths, strict=True)]
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
    longer = np.concatenate([sequence, RNG.normal(size=(4, 3, 3))], axis=1)
    np.testing.assert_allclose(
        layer((tf.constant(longer, tf.float32), tf.constant(lengths))), pooled, atol=1e-6
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_attention_weights_are_computed_in_float32(policy):
    layer = AttentionPooling(dtype=policy)
    sequence = tf.constant(RNG.normal(size=(2, 400, 8)), tf.float32)
    pooled = layer((sequence, tf.constant([400, 3])))
    assert pooled.dtype == layer.compute_dtype
    full = AttentionPooling()
    full.build(((None, None, 8), (None,)))
    full.set_weights(layer.get_weights())
    np.testing.assert_allclose(
        tf.cast(pooled, tf.float32), full((sequence, tf.constant([400, 3]))), atol=0.03
    )
