import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional import spread_out


def f32(x):
    return tf.constant(x, tf.float32)


def reference(z, weights, ids, cosine):
    if cosine:
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    sums = [
        sum((z[i] @ z[j]) ** 2 for j in range(len(z)) if j != i and weights[j] > 0 and ids[i] != ids[j])
        for i in range(len(z))
    ]
    return float(weights @ np.array(sums))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 7), st.booleans())
def test_values(seed, rows, cosine):
    rng = np.random.default_rng(seed)
    z, ids = rng.normal(size=(rows, 5)), rng.integers(0, 4, rows)
    weights = rng.choice([0.0, 1.0, 2.0], rows)
    ids_of_their_own, ones = np.arange(rows), np.ones(rows)
    options = {"similarity": "cosine" if cosine else "dot"}
    plain = reference(z, ones, ids_of_their_own, cosine)
    assert float(spread_out(f32(z), **options)) == pytest.approx(plain / rows, rel=1e-4)
    assert float(spread_out(f32(z), reduction="sum", **options)) == pytest.approx(plain, rel=1e-4)
    got = spread_out(f32(z), weights=f32(weights), ids=tf.constant(ids), **options)
    expected = reference(z, weights, ids, cosine) / max(weights.sum(), 1.0)
    assert float(got) == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_gradient():
    z = np.random.default_rng(0).normal(size=(6, 4))
    rows = f32(z)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        loss = spread_out(rows)
    gram = z @ z.T
    np.fill_diagonal(gram, 0.0)
    np.testing.assert_allclose(tape.gradient(loss, rows), 4.0 / 6 * gram @ z, rtol=1e-4)


def test_nothing_to_compare_is_exactly_zero():
    for rows, options in (
        (np.ones((1, 3)), {}),
        (np.ones((0, 3)), {}),
        (np.ones((4, 3)), {"ids": tf.ones([4], tf.int32)}),
        (np.ones((4, 3)), {"weights": f32([0, 1, 0, 0])}),
        (np.zeros((4, 3)), {"similarity": "cosine"}),
    ):
        rows = f32(rows)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            loss = spread_out(rows, **options)
        assert float(loss) == 0.0
        np.testing.assert_array_equal(tape.gradient(loss, rows), np.zeros_like(rows))


def test_half_precision():
    rows = tf.cast(1e3 * np.sign(np.random.default_rng(0).normal(size=(6, 4))), tf.float16)
    assert np.isfinite(spread_out(rows)) and np.isfinite(spread_out(rows, similarity="cosine"))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown similarity 'cos'"):
        spread_out(tf.eye(2), similarity="cos")
    with pytest.raises(ValueError, match="unknown reduction 'men'"):
        spread_out(tf.eye(2), reduction="men")
