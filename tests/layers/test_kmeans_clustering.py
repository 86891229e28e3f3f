import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional.kmeans import lloyd, spread_rows
from easyssl.layers import KMeansClustering
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4)).astype("float32")
LENGTHS = np.array([3, 1, 0, 5, 2, 4], "int32")


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def distances(rows, centroids):
    return np.sum((rows[:, None] - centroids[None]) ** 2, axis=2)


def k_means(rows, centroids, iterations, spherical=False):
    rows, centroids = rows.astype(np.float64), centroids.astype(np.float64).copy()
    for _ in range(iterations):
        d = distances(rows, centroids)
        closest, far = d.argmin(axis=1), list(np.argsort(-d.min(axis=1), kind="stable"))
        for k in range(len(centroids)):
            mine = rows[closest == k]
            centroids[k] = mine.mean(axis=0) if len(mine) else rows[far.pop(0)]
        if spherical:
            centroids = unit(centroids)
    return centroids


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ({"num_prototypes": 3, "queue_size": 8, "num_iterations": 2}, X),
        ({"num_prototypes": 7, "queue_size": 9, "similarity": "euclidean"}, [X, LENGTHS]),
    ],
)
def test_gate(options, inputs):
    count = options["num_prototypes"]
    run_layer_test(
        KMeansClustering,
        options,
        inputs,
        expected_output_shape=[(6, count), (count, 4), (6, count)],
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=3,
        float32_output=True,
    )


def test_lloyd_and_centroids_without_rows():
    rows = np.concatenate([RNG.normal(size=(40, 3)) + 4 * RNG.normal(size=(1, 3)) for _ in range(5)])
    first = np.concatenate([rows[::50], 100 + np.arange(9.0).reshape(3, 3)])  # the last three get no row
    padded = np.concatenate([rows, np.full((4, 3), np.nan)])
    weights = np.arange(204) < 200
    for iterations in (1, 6):
        got = lloyd(
            tf.constant(padded),
            tf.constant(first),
            weights=tf.constant(weights, tf.float32),
            num_iterations=iterations,
        )
        np.testing.assert_allclose(got, k_means(rows, first, iterations), rtol=1e-3, atol=1e-3)
    compiled = tf.function(lloyd, jit_compile=True, autograph=False)
    ones = tf.ones([200])
    got = compiled(tf.constant(unit(rows)), tf.constant(unit(rows[::40])), weights=ones, spherical=True)
    np.testing.assert_allclose(got, k_means(unit(rows), unit(rows[::40]), 10, True), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_clusters_of_the_queue(similarity):
    layer = KMeansClustering(3, 0.2, similarity, queue_size=10, update_every=2, num_iterations=4, name="c")
    scale = unit if similarity == "cosine" else lambda v: v
    batches = RNG.normal(size=(5, 4, 4)).astype("float32")
    step = tf.function(layer, autograph=False, reduce_retracing=False)
    queue, centroids = np.zeros((0, 4)), None
    for call, batch in enumerate(batches):
        p, mu, q = step(tf.constant(batch), training=True)
        queue = np.concatenate([scale(batch), queue])[:10]
        if centroids is None:
            first = queue[[i * len(queue) // 3 for i in range(3)]]
            centroids = k_means(queue, first, 4, similarity == "cosine")
        elif (call + 1) % 2 == 0:
            centroids = k_means(queue, centroids, 4, similarity == "cosine")
        np.testing.assert_allclose(mu, centroids, rtol=1e-3, atol=1e-4)
        closest = distances(scale(batch), centroids)
        np.testing.assert_array_equal(np.argmax(q, axis=1), closest.argmin(axis=1))
        np.testing.assert_array_equal(np.sum(q, axis=1), 1.0)
        e = np.exp(-closest / 2 / 0.2)
        np.testing.assert_allclose(p, e / e.sum(axis=1, keepdims=True), rtol=2e-3, atol=1e-4)
    assert int(layer.calls) == 5
    before = [w.numpy() for w in layer.weights]
    np.testing.assert_array_equal(layer(batches[0])[1], mu)
    for kept, weight in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_rows_that_do_not_count_and_the_wait_for_enough():
    layer = KMeansClustering(8, queue_size=16, name="c")
    with collect_losses() as collected:
        _, mu, q = layer([X, LENGTHS], training=True)
    assert not np.any(mu) and not np.any(q)
    assert not collected.terms and list(collected.metrics) == ["c_usage_entropy"]
    assert float(collected.metrics["c_usage_entropy"]) == 0.0
    np.testing.assert_allclose(layer.queue[:5], unit(X)[LENGTHS > 0], rtol=1e-5)
    with collect_losses() as collected:
        _, mu, q = layer([X, LENGTHS], training=True)
    np.testing.assert_allclose(np.linalg.norm(mu, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(np.sum(q, axis=1), LENGTHS > 0)
    assert float(collected.metrics["c_usage_entropy"]) > 1.0


def test_no_gradient_comes_out():
    layer, x = KMeansClustering(2, queue_size=8), tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.add_n([tf.reduce_sum(output**2) for output in layer(x, training=True)])
    assert tape.gradient(loss, x) is None


def test_rows_that_are_not_finite_stay_out_of_the_queue():
    layer = KMeansClustering(2, queue_size=8)
    x = np.where(np.arange(6)[:, None] == 1, np.inf, X).astype("float32")
    layer(x, training=True)
    assert np.all(np.isfinite(layer.queue)) and np.all(np.isfinite(layer.prototypes))


def test_spread_rows_of_too_few():
    rows = tf.constant([[1.0], [2.0], [3.0]])
    assert spread_rows(rows, tf.constant([0.0, 1.0, 1.0]), 4).numpy().ravel().tolist() == [2, 2, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": "dot"}, "unknown similarity 'dot'"),
        ({"queue_size": 2}, "`queue_size` must be at least"),
        ({"temperature": 0.0}, "`temperature` must be positive"),
        ({"update_every": 0}, "`update_every` must be a positive integer"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        KMeansClustering(3, **options)
