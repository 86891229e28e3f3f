import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional import decoupled, l2_distance, nt_xent, one_way, symmetric

A = np.array([[1.0, 2.0], [0.5, -1.0], [-1.0, 0.25]])
B = np.array([[0.9, 1.5], [0.0, -1.2], [-0.7, 0.1]])
LOSSES = [one_way, symmetric, nt_xent, decoupled]


def f32(x):
    return tf.constant(x, tf.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def log_sum_exp(x):
    return np.log(np.sum(np.exp(x - x.max()))) + x.max()


def one_way_reference(a, b, tau, ids=None, log_p=None):
    ids = np.arange(len(a)) if ids is None else ids
    log_p = np.zeros(len(a)) if log_p is None else log_p
    losses = []
    for i in range(len(a)):
        logits = [a[i] @ b[j] / tau - log_p[j] for j in range(len(b)) if j == i or ids[j] != ids[i]]
        losses.append(log_sum_exp(np.array(logits)) - (a[i] @ b[i] / tau - log_p[i]))
    return np.mean(losses)


def symmetric_reference(a, b, tau, ids=None):
    return (one_way_reference(a, b, tau, ids) + one_way_reference(b, a, tau, ids)) / 2


def nt_xent_reference(a, b, tau, ids=None, with_positive=True):
    views, n, losses = np.concatenate([a, b]), len(a), []
    ids = np.tile(np.arange(n) if ids is None else ids, 2)
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = [j for j in range(2 * n) if ids[j] != ids[i] or (with_positive and j == partner)]
        logits = np.array([views[i] @ views[j] / tau for j in others])
        losses.append(log_sum_exp(logits) - views[i] @ views[partner] / tau if others else 0.0)
    return np.mean(losses)


def decoupled_reference(a, b, tau, ids=None):
    return nt_xent_reference(a, b, tau, ids, with_positive=False)


REFERENCES = dict(
    zip(LOSSES, [one_way_reference, symmetric_reference, nt_xent_reference, decoupled_reference], strict=True)
)


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
    ids = rng.integers(0, 4, batch)
    for loss, reference in REFERENCES.items():
        for equal in (None, ids):
            got = loss(f32(a), f32(b), ids=None if equal is None else tf.constant(equal), **options)
            np.testing.assert_allclose(got, reference(x, y, tau, equal), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_equal_finite_differences_of_the_definition(loss):
    a, b, ids, step = A.copy(), B.copy(), np.array([1, 2, 1]), 1e-6
    x, y = f32(a), f32(b)
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        value = loss(x, y, temperature=0.5, ids=tf.constant(ids))
    for array, gradient in zip((a, b), tape.gradient(value, [x, y]), strict=True):
        for place in np.ndindex(array.shape):
            array[place] += step
            above = REFERENCES[loss](a, b, 0.5, ids)
            array[place] -= 2 * step
            below = REFERENCES[loss](a, b, 0.5, ids)
            array[place] += step
            assert gradient.numpy()[place] == pytest.approx((above - below) / (2 * step), abs=2e-5)


def test_two_equal_views_spread_rows_out():
    """Without augmentation the positive is a constant, and the loss a function of the other cosines alone."""
    z = np.concatenate([A, B])
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    others = np.exp((unit @ unit.T - 1) / 0.3) * (1 - np.eye(6))
    loss = one_way(f32(z), f32(z), similarity="cosine", temperature=0.3)
    assert float(loss) == pytest.approx(np.mean(np.log1p(others.sum(axis=1))), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_of_one_id_only_have_nothing_to_compare(loss):
    a, b = f32(A), f32(B)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        value = loss(a, b, ids=tf.constant([7, 7, 7]))
    assert value.numpy() == 0.0
    for gradient in tape.gradient(value, [a, b]):
        np.testing.assert_array_equal(gradient, np.zeros([3, 2]))


def test_correction_for_probabilities():
    log_p = np.log([0.5, 0.1, 0.02])
    got = one_way(f32(A), f32(B), log_probabilities=f32(log_p))
    np.testing.assert_allclose(got, one_way_reference(A, B, 1.0, log_p=log_p), rtol=1e-5)
    even = one_way(f32(A), f32(B), log_probabilities=f32(np.log([0.02] * 3)))
    np.testing.assert_allclose(even, one_way(f32(A), f32(B)), rtol=1e-5)
    logs = f32(log_p)
    with tf.GradientTape() as tape:
        tape.watch(logs)
        value = one_way(f32(A), f32(B), log_probabilities=logs)
    assert tape.gradient(value, logs) is None


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


@pytest.mark.slow
def test_negatives_of_other_replicas():
    """Parts of different sizes on two replicas: each has the loss of the whole batch, both its gradient."""
    code = """
import itertools
import numpy as np
import tensorflow as tf
devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from easyssl.functional import decoupled, nt_xent, one_way, spread_out, symmetric

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.default_rng(0)
a, b = rng.normal(size=(2, 7, 3)).astype("float32")
ids = np.array([1, 2, 3, 4, 1, 5, 2])
weights = np.array([1, 1, 0, 1, 1, 1, 1], "float32")
log_p = np.log(rng.uniform(0.01, 0.5, 7)).astype("float32")

def split(x):
    def part(context):
        return tf.constant(x[:4]) if context.replica_id_in_sync_group == 0 else tf.constant(x[4:])
    return strategy.experimental_distribute_values_from_function(part)

losses = (one_way, symmetric, nt_xent, decoupled, spread_out)
for loss, reduction in itertools.product(losses, ("mean", "sum")):
    def value(a, b, ids, weights, log_p, **kwargs):
        kwargs["reduction"] = reduction
        if loss is spread_out:
            return loss(a + b, ids=ids, weights=weights, similarity="cosine", **kwargs)
        if loss is one_way:
            kwargs["log_probabilities"] = log_p
        return loss(a, b, ids=ids, weights=weights, temperature=0.5, similarity="cosine", **kwargs)

    def step(a, b, ids, weights, log_p):
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            total = value(a, b, ids, weights, log_p, cross_replica=True)
            share = total * tf.cast(tf.size(weights), tf.float32) / 7.0  # as a training step weighs replicas
        return total, tape.gradient(share, [a, b])

    run = tf.function(lambda *x: strategy.run(step, x), autograph=False)
    totals, gradients = run(*map(split, (a, b, ids, weights, log_p)))
    x, y = tf.constant(a), tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        whole = value(x, y, tf.constant(ids), tf.constant(weights), tf.constant(log_p))
    for total in strategy.experimental_local_results(totals):
        np.testing.assert_allclose(total, whole, rtol=1e-5)
    for parts, expected in zip(gradients, tape.gradient(whole, [x, y])):
        got = np.concatenate([p.numpy() for p in strategy.experimental_local_results(parts)])
        np.testing.assert_allclose(got, expected, atol=1e-6)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
