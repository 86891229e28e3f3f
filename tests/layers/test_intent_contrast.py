import numpy as np
import pytest
import tensorflow as tf
from differences import slopes

from easyssl.layers import IntentContrast
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 5, 4)).astype("float32")
P = RNG.uniform(size=(5, 3)).astype("float32")
P[0], P[1] = [0.6, 0.3, 0.1], [0.5, 0.25, 0.25]  # of one cluster
MU = RNG.normal(size=(3, 4)).astype("float32")
LENGTHS = np.array([2, 1, 0, 4, 9], "int32")


def expected(views, mask, cosine=False, temperature=1.0):
    """One anchor at a time, over the rows of positive length."""
    rows, clusters = np.flatnonzero(LENGTHS), P.argmax(axis=1)
    losses = []
    for view in views:
        sides = [view.astype(np.float64), MU[clusters].astype(np.float64)]
        if cosine:
            sides = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in sides]
        for own, other in (sides, sides[::-1]):
            for u in rows:
                positive = own[u] @ other[u] / temperature
                others = [v for v in rows if v != u and not (mask and clusters[v] == clusters[u])]
                scores = [own[u] @ x[v] / temperature for v in others for x in (own, other)]
                losses.append(np.log(np.sum(np.exp([positive, *scores]))) - positive)
    return np.mean(losses)


def test_gate():
    run_layer_test(IntentContrast, {}, [A, B, P, MU, LENGTHS], expected_output_shape=(), float32_output=True)


@pytest.mark.parametrize("mask", ["none", "clusters"])
@pytest.mark.parametrize(("similarity", "temperature"), [("dot", 1.0), ("cosine", 0.3)])
def test_values(mask, similarity, temperature):
    layer = IntentContrast(0.5, temperature, similarity, mask, name="i")
    with collect_losses() as collected:
        total = layer([A, B, P, MU, LENGTHS], training=True)
    want = expected([A, B], mask == "clusters", similarity == "cosine", temperature)
    assert float(collected.terms["i_contrast_loss"].value) == pytest.approx(want, rel=1e-4)
    assert float(total) == pytest.approx(want / 2, rel=1e-4)


def test_the_gradient_reaches_the_views_only():
    x = [tf.constant(v) for v in (A, B, P, MU)]
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = IntentContrast()([*x, LENGTHS])
    left, right, p, mu = tape.gradient(loss, x)
    assert p is None and mu is None
    wanted = slopes(lambda a, b: expected([a, b], mask=False), [A, B])  # whose centroids stand still
    for got, want in zip((left, right), wanted, strict=True):
        assert np.all(np.any(got.numpy(), axis=1) == (LENGTHS > 0))
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("inputs", [[A, B, P, 0 * MU], [A[:1], B[:1], P[:1], MU]])
def test_without_clusters_or_other_rows_there_is_neither_loss_nor_gradient(inputs):
    x = [tf.constant(v) for v in inputs]
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = IntentContrast()(x)
    assert float(loss) == 0.0 and not np.any(tape.gradient(loss, x[0]))


def test_half_precision_with_a_small_temperature():
    views = [tf.constant(1e3 * v, tf.float16) for v in (A, B)]
    assert np.isfinite(float(IntentContrast(temperature=0.02, similarity="cosine")([*views, P, MU])))


def test_errors():
    with pytest.raises(ValueError, match="did you mean 'clusters'"):
        IntentContrast(false_negative_mask="cluster")
    with pytest.raises(ValueError, match="takes two views"):
        IntentContrast()([A, B, P, MU[:2]])
