import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional import l2_distance, nt_xent, one_way, symmetric

pytestmark = pytest.mark.both_keras

A = np.array([[1.0, 2.0], [0.5, -1.0], [-1.0, 0.25]])
B = np.array([[0.9, 1.5], [0.0, -1.2], [-0.7, 0.1]])
LOSSES = [one_way, symmetric, nt_xent]


def f32(x):
    return tf.constant(x, tf.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def log_sum_exp(x):
    return np.log(np.sum(np.exp(x - x.max()))) + x.max()


def one_way_reference(a, b, tau):
    losses = []
    for i in range(len(a)):
        logits = np.array([a[i] @ b[j] / tau for j in range(len(b))])
        losses.append(log_sum_exp(logits) - logits[i])
    return np.mean(losses)


def nt_xent_reference(a, b, tau):
    views, n, losses = np.concatenate([a, b]), len(a), []
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        logits = np.array([views[i] @ views[j] / tau for j in range(2 * n) if j != i])
        losses.append(log_sum_exp(logits) - views[i] @ views[partner] / tau)
    return np.mean(losses)


def test_published_values():
    eye = tf.eye(2)
    assert nt_xent(eye, eye).numpy() == pytest.approx(np.log(np.e + 2) - 1, abs=1e-6)
    assert nt_xent(eye, eye).numpy() == pytest.approx(0.5514447, abs=1e-6)
    assert nt_xent(eye, eye, temperature=0.5).numpy() == pytest.approx(0.2395448, abs=1e-6)
    assert nt_xent(f32(A), f32(B)).numpy() == pytest.approx(0.4241051, abs=1e-6)
    assert nt_xent(f32(A), f32(B), temperature=0.15).numpy() == pytest.approx(0.00107336, abs=1e-7)
    assert one_way(f32(A), f32(B)).numpy() == pytest.approx(0.2574464, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(0, 2**31),
    st.sampled_from([0.07, 0.5, 1.0, 3.0]),
    st.sampled_from(["dot", "cosine"]),
)
def test_losses_equal_the_definition(batch, dim, seed, tau, similarity):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, batch, dim))
    x, y = (unit(a), unit(b)) if similarity == "cosine" else (a, b)
    options = {"similarity": similarity, "temperature": tau}
    there, back = one_way_reference(x, y, tau), one_way_reference(y, x, tau)
    close = {"rtol": 2e-5, "atol": 2e-5}
    np.testing.assert_allclose(one_way(f32(a), f32(b), **options), there, **close)
    np.testing.assert_allclose(symmetric(f32(a), f32(b), **options), (there + back) / 2, **close)
    np.testing.assert_allclose(nt_xent(f32(a), f32(b), **options), nt_xent_reference(x, y, tau), **close)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_batch_of_one_has_neither_loss_nor_gradient(loss, similarity):
    a, b = f32([[3.0, -1.0]]), f32([[0.5, 2.0]])
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        value = loss(a, b, similarity=similarity, temperature=0.02)
    assert value.numpy() == 0.0
    for gradient in tape.gradient(value, [a, b]):
        np.testing.assert_array_equal(gradient, [[0.0, 0.0]])


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_rows_does_not_matter(loss):
    order = [2, 0, 1]
    value = loss(f32(A), f32(B), temperature=0.3).numpy()
    assert loss(f32(A[order]), f32(B[order]), temperature=0.3).numpy() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_of_weight_zero_are_as_if_absent(loss):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 4))
    weights = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    a[1] *= 1e3
    kept = weights > 0
    got = loss(f32(a), f32(b), weights=f32(weights))
    np.testing.assert_allclose(got, loss(f32(a[kept]), f32(b[kept])), rtol=1e-5)
    assert loss(f32(a), f32(b), weights=tf.zeros([6])).numpy() == 0.0


def test_weights_weigh_rows():
    rows = [one_way(f32(A), f32(B), weights=f32(np.where(np.arange(3) == i, 1.0, 1e-9))) for i in range(3)]
    got = one_way(f32(A), f32(B), weights=f32([1.0, 2.0, 3.0])).numpy()
    assert got == pytest.approx((rows[0] + 2 * rows[1] + 3 * rows[2]).numpy() / 6, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_half_precision_stays_finite(loss, dtype, similarity):
    rng = np.random.default_rng(1)
    a, b = (tf.cast(1e3 * unit(rng.normal(size=(8, 16))), dtype) for _ in range(2))
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        value = loss(a, b, similarity=similarity, temperature=0.02)
    assert value.dtype == tf.float32 and np.isfinite(value)
    for gradient in tape.gradient(value, [a, b]):
        assert np.all(np.isfinite(tf.cast(gradient, tf.float32)))


def test_cosine_of_a_zero_row_has_a_finite_gradient():
    a = f32([[0.0, 0.0], [1.0, 2.0]])
    with tf.GradientTape() as tape:
        tape.watch(a)
        value = nt_xent(a, f32(A[:2]), similarity="cosine", temperature=0.1)
    assert np.all(np.isfinite(tape.gradient(value, a)))


@pytest.mark.parametrize("loss", LOSSES)
def test_xla_gives_the_same(loss):
    compiled = tf.function(lambda a, b: loss(a, b, temperature=0.2), jit_compile=True, autograph=False)
    eager = loss(f32(A), f32(B), temperature=0.2)
    np.testing.assert_allclose(compiled(f32(A), f32(B)), eager, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_arguments_name_what_came(loss):
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        loss(f32(A), f32(B), similarity="cosin")
    with pytest.raises(ValueError, match="temperature=0"):
        loss(f32(A), f32(B), temperature=0)


def test_l2_distance():
    expected = np.mean(np.sum((A - B) ** 2, axis=1))
    assert l2_distance(f32(A), f32(B)).numpy() == pytest.approx(expected, rel=1e-6)
    assert l2_distance(f32(A), f32(B), weights=f32([0, 1, 0])).numpy() == pytest.approx(0.29, rel=1e-5)
