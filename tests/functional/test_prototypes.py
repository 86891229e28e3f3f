import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.prototypes import (
    cluster_cross_entropy,
    cluster_distillation,
    prototype_contrast,
    row_weights,
    usage_entropy,
)
from easyssl.functional.selection import first_argmax
from easyssl.functional.sinkhorn import sinkhorn

A = np.array([[1.0, 2.0], [0.5, -1.0], [-1.0, 0.25]])
B = np.array([[0.9, 1.5], [0.0, -1.2], [-0.7, 0.1]])
MU = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
OWN = np.array([1, 3, 2])
RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.normal(size=(2, 6, 4))
PROTOTYPES = RNG.normal(size=(5, 4))
ASSIGNED = np.array([0, 3, 3, 1, 4, 0])


def f32(x):
    return tf.constant(x, tf.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def contrast_reference(
    a, b, mu, own, similarity="cosine", tau=0.1, denominator="standard", both=True, weights=None, ids=None
):
    """Equations 9 and 10, one exponential at a time."""
    if similarity == "cosine":
        a, b, mu = unit(a), unit(b), unit(mu)
    weights = np.ones(len(a)) if weights is None else weights
    losses = []
    for u in range(len(a)):
        total = 0.0
        for anchor, other in ((a, b), (b, a)):
            terms = [np.exp(anchor[u] @ mu[k] / tau) for k in range(len(mu)) if k != own[u]]
            for n in range(len(a)):
                if n != u and weights[n] > 0 and (ids is None or ids[n] != ids[u]):
                    terms.append(np.exp(anchor[u] @ other[n] / tau))
                    if both:
                        terms.append(np.exp(anchor[u] @ anchor[n] / tau))
            positive = np.exp(anchor[u] @ other[u] / tau)
            total -= np.log(positive / (sum(terms) + (positive if denominator == "standard" else 0.0)))
        losses.append(total)
    return np.sum(np.array(losses) * weights) / max(np.sum(weights), 1.0)


def contrast(a=LEFT, b=RIGHT, mu=PROTOTYPES, own=ASSIGNED, **options):
    return prototype_contrast(f32(a), f32(b), f32(mu), tf.constant(own, tf.int32), **options)


def gradients(function, arrays):
    tensors = [f32(x) for x in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return tape.gradient(value, tensors)


def numeric_gradients(function, arrays, step=1e-6):
    """Central differences in float64."""
    found = []
    for i, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for index in np.ndindex(*array.shape):
            ends = []
            for sign in (1, -1):
                moved = [x.copy() for x in arrays]
                moved[i][index] += sign * step
                ends.append(function(*moved))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        found.append(gradient)
    return found


def test_golden_values():
    z = unit(A)
    targets = sinkhorn(f32(z @ MU.T))
    assert float(cluster_cross_entropy(targets, f32(z @ MU.T / 0.1))) == pytest.approx(1.00163, abs=2e-5)
    standard = contrast(A, B, MU, OWN)
    assert float(standard) == pytest.approx(0.0082, abs=5e-5)
    assert float(contrast(A, B, MU, OWN, denominator="decoupled")) == pytest.approx(-12.93, abs=5e-3)


@pytest.mark.parametrize("denominator", ["standard", "decoupled"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("both", [True, False])
def test_contrast_equals_the_definition(denominator, similarity, both):
    options = {"similarity": similarity, "denominator": denominator}
    got = contrast(temperature=0.3, negatives="both_views" if both else "other_view", **options)
    expected = contrast_reference(LEFT, RIGHT, PROTOTYPES, ASSIGNED, tau=0.3, both=both, **options)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([0.1, 1.0]))
def test_contrast_with_weights_and_ids(seed, tau):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 6, 4))
    own, ids = rng.integers(0, 5, 6), rng.integers(0, 3, 6)
    weights = np.array([1.0, 0, 2, 1, 0, 1])
    got = contrast(a, b, own=own, temperature=tau, weights=f32(weights), ids=tf.constant(ids))
    expected = contrast_reference(a, b, PROTOTYPES, own, tau=tau, weights=weights, ids=ids)
    assert got >= 0
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_contrast_gradients_equal_finite_differences():
    got = gradients(lambda a, b, mu: contrast(a, b, mu, temperature=0.5), [LEFT, RIGHT, PROTOTYPES])
    expected = numeric_gradients(
        lambda a, b, mu: contrast_reference(a, b, mu, ASSIGNED, tau=0.5), [LEFT, RIGHT, PROTOTYPES]
    )
    for g, e in zip(got, expected, strict=True):
        assert np.abs(e).max() > 1e-3
        np.testing.assert_allclose(g, e, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("denominator", ["standard", "decoupled"])
@pytest.mark.parametrize("weights", [None, [0.0, 0, 0, 1, 0, 0], [0.0] * 6])
def test_nothing_to_compare(denominator, weights):
    rows = slice(0, 1) if weights is None else slice(None)

    def loss(a, b, mu):
        own = ASSIGNED[rows]
        return contrast(
            a, b, mu, own, denominator=denominator, weights=None if weights is None else f32(weights)
        )

    arrays = [LEFT[rows], RIGHT[rows], PROTOTYPES]
    assert float(loss(*arrays)) == 0.0
    for gradient in gradients(loss, arrays):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_no_negatives_at_all():
    one = {"mu": PROTOTYPES[:1], "own": np.zeros(6, int), "ids": tf.zeros([6], tf.int32)}
    assert float(contrast(**one)) == 0.0
    assert float(contrast(denominator="decoupled", **one)) == 0.0


def distillation_reference(views, teachers, tau, normalize):
    if normalize:
        views, teachers = [unit(v) for v in views], unit(teachers)
    teacher = softmax(teachers / tau)
    students = [softmax(view / tau) for view in views]
    return sum(np.mean(np.sum(teacher * np.log(teacher / s), axis=1)) for s in students)


@pytest.mark.parametrize("tau", [0.1, 1.0])
@pytest.mark.parametrize("normalize", [True, False])
def test_distillation_equals_the_definition(tau, normalize):
    teachers = PROTOTYPES[ASSIGNED]
    options = {"temperature": tau, "normalize": normalize}
    got = cluster_distillation([f32(LEFT), f32(RIGHT)], f32(teachers), **options)
    np.testing.assert_allclose(
        got, distillation_reference([LEFT, RIGHT], teachers, tau, normalize), rtol=1e-4
    )


def test_distillation_gradients_equal_finite_differences():
    teachers = PROTOTYPES[ASSIGNED]
    got = gradients(lambda z, mu: cluster_distillation([z], mu, temperature=0.5), [LEFT, teachers])
    expected = numeric_gradients(lambda z, mu: distillation_reference([z], mu, 0.5, True), [LEFT, teachers])
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-3, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([0.1, 1.0]), st.booleans())
def test_distillation_is_zero_only_for_equals(seed, tau, normalize):
    z, mu = np.random.default_rng(seed).normal(size=(2, 6, 4))
    options = {"temperature": tau, "normalize": normalize}
    assert float(cluster_distillation([f32(z)], f32(mu), **options)) > 1e-6
    assert abs(float(cluster_distillation([f32(z)], f32(z), **options))) < 1e-6


def test_distillation_of_rows_of_weight_zero():
    weights = np.array([1.0, 0, 1, 1, 0, 0])
    teachers = f32(PROTOTYPES[ASSIGNED])
    got = cluster_distillation([f32(LEFT)], teachers, weights=f32(weights))
    kept = weights > 0
    expected = distillation_reference([LEFT[kept]], PROTOTYPES[ASSIGNED[kept]], 0.1, True)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert float(cluster_distillation([f32(LEFT)], teachers, weights=tf.zeros([6]))) == 0.0


def test_the_gradient_of_clustering_takes_the_targets_as_given():
    frozen = sinkhorn(f32(unit(LEFT) @ unit(PROTOTYPES).T)).numpy().astype(np.float64)

    def ours(z, mu):
        scores = tf.matmul(tf.math.l2_normalize(z, 1), tf.math.l2_normalize(mu, 1), transpose_b=True)
        return cluster_cross_entropy(sinkhorn(scores), scores / 0.1)

    def reference(z, mu):
        return -np.mean(np.sum(frozen * np.log(softmax(unit(z) @ unit(mu).T / 0.1)), axis=1))

    got, expected = (
        gradients(ours, [LEFT, PROTOTYPES]),
        numeric_gradients(reference, [LEFT, PROTOTYPES]),
    )
    for g, e in zip(got, expected, strict=True):
        assert np.abs(e).max() > 1e-2
        np.testing.assert_allclose(g, e, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays_finite(dtype):
    a, b, mu = (tf.cast(1e3 * unit(x), dtype) for x in (LEFT, RIGHT, PROTOTYPES))
    own = tf.constant(ASSIGNED)
    with tf.GradientTape() as tape:
        tape.watch([a, b, mu])
        losses = [
            prototype_contrast(
                a, b, mu, own, similarity=similarity, temperature=0.02, denominator=denominator
            )
            for similarity in ("cosine", "dot")
            for denominator in ("standard", "decoupled")
        ]
        losses += [
            cluster_distillation([a, b], tf.gather(mu, own), normalize=normalize, temperature=0.02)
            for normalize in (True, False)
        ]
        total = tf.add_n(losses)
    assert total.dtype == tf.float32 and np.all(np.isfinite(losses))
    for gradient in tape.gradient(total, [a, b, mu]):
        assert np.all(np.isfinite(tf.cast(gradient, tf.float32)))


def test_usage_entropy():
    assignments = f32(np.eye(4)[[0, 0, 1, 3, 3]])
    shares = np.array([2, 1, 2]) / 5
    np.testing.assert_allclose(usage_entropy(assignments), -np.sum(shares * np.log(shares)), rtol=1e-6)
    weighted = usage_entropy(assignments, weights=f32([0, 1, 1, 0, 0]))
    np.testing.assert_allclose(weighted, np.log(2), rtol=1e-6)
    assert float(usage_entropy(assignments, weights=tf.zeros([5]))) == 0.0


def test_rows_without_direction_do_not_count():
    views = [f32([[0, 1], [0, 0], [1, 1]]), f32([[1, 0], [1, 1], [np.nan, 0]])]
    assert row_weights(views).numpy().tolist() == [1, 0, 1]
    assert row_weights(views, tf.constant([0, 2, 2])).numpy().tolist() == [0, 0, 1]


def test_first_argmax():
    assert first_argmax(f32([[1, 2, 2], [3, 3, 3], [0, -1, 5]])).numpy().tolist() == [1, 0, 2]
    assert first_argmax(f32([[[np.nan, 1]]])).numpy().tolist() == [[1]]


def test_bad_arguments_name_what_came():
    with pytest.raises(ValueError, match="unknown denominator 'decoupeld'; did you mean 'decoupled'"):
        contrast(denominator="decoupeld")
    with pytest.raises(ValueError, match="unknown negatives 'both'"):
        contrast(negatives="both")
    with pytest.raises(ValueError, match="unknown similarity 'cos'"):
        contrast(similarity="cos")
    with pytest.raises(ValueError, match="temperature=0"):
        cluster_distillation([f32(LEFT)], f32(LEFT), temperature=0)


@pytest.mark.slow
def test_negatives_of_all_replicas():
    code = """
import numpy as np
import tensorflow as tf
devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from easyssl.functional.prototypes import prototype_contrast

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.default_rng(0)
left, right, mu = (rng.normal(size=(n, 4)).astype("float32") for n in (7, 7, 3))
own, weights, ids = rng.integers(0, 3, 7), np.array([1, 1, 0, 1, 1, 1, 1], "float32"), np.arange(7) % 5

def loss(a, b, own, weights, ids, cross_replica=True):
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        value = prototype_contrast(a, b, mu, own, weights=weights, ids=ids, cross_replica=cross_replica)
        share = value * tf.cast(tf.size(weights), tf.float32) / 7.0  # as a training step weighs replicas
    return [value, *tape.gradient(share, [a, b])]

whole = loss(*map(tf.constant, (left, right, own, weights, ids)), cross_replica=False)

def part(x):
    def rows(context):
        return tf.constant(x[:4] if context.replica_id_in_sync_group == 0 else x[4:])
    return strategy.experimental_distribute_values_from_function(rows)

run = tf.function(lambda *x: strategy.run(loss, x), autograph=False)
total, *gradients = run(*map(part, (left, right, own, weights, ids)))
for value in strategy.experimental_local_results(total):
    np.testing.assert_allclose(value, whole[0], rtol=1e-4)
for got, expected in zip(gradients, whole[1:], strict=True):
    both = tf.concat(strategy.experimental_local_results(got), axis=0)
    np.testing.assert_allclose(both, expected, rtol=1e-3, atol=1e-5)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
