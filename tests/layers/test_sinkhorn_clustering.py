import numpy as np
import pytest
import tensorflow as tf
from differences import slopes
from tensorflow import keras

from easyssl.functional.sinkhorn import sinkhorn
from easyssl.layers import SinkhornClustering
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X, Y = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
LENGTHS = np.array([3, 1, 0, 5, 2, 4], "int32")


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def train(layer, inputs):
    """Returns the outputs, the unweighted loss and the metric of one training call."""
    with collect_losses() as collected:
        outputs = layer(inputs, training=True)
    (term,) = collected.terms.values()
    (metric,) = collected.metrics.values()
    return outputs, float(term.value), float(metric)


def loss_of(layer, inputs):
    with collect_losses() as collected:
        layer(inputs, training=True)
    return collected.total()


@pytest.mark.parametrize(
    ("options", "inputs", "state"),
    [
        ({"num_prototypes": 3}, X, 0),
        ({"num_prototypes": 8, "queue_size": 5, "swap": True, "freeze_steps": 1}, [X, Y, LENGTHS], 2),
    ],
)
def test_gate(options, inputs, state):
    count = options["num_prototypes"]
    run_layer_test(
        SinkhornClustering,
        options,
        inputs,
        expected_output_shape=[(6, count), (count, 4), (6, count)],
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=state,
        float32_output=True,
    )


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_values(similarity):
    options = {"temperature": 0.2, "epsilon": 0.5, "num_iterations": 4, "similarity": similarity}
    layer = SinkhornClustering(3, **options, name="c")
    (p, mu, q), loss, entropy = train(layer, [X, LENGTHS])
    raw, kept = layer.prototypes.numpy().astype(np.float64), LENGTHS > 0
    prototypes = unit(raw) if similarity == "cosine" else raw
    rows = (unit(X) if similarity == "cosine" else X).astype(np.float64)
    scores = rows @ prototypes.T
    np.testing.assert_allclose(mu, prototypes, rtol=1e-5)
    np.testing.assert_allclose(p, softmax(scores / 0.2), rtol=1e-4, atol=1e-6)
    targets = sinkhorn(tf.constant(scores[kept]), epsilon=0.5, num_iterations=4).numpy()
    np.testing.assert_allclose(q.numpy()[kept], targets, atol=1e-5)
    np.testing.assert_array_equal(q.numpy()[~kept], 0.0)
    expected = -np.mean(np.sum(targets * np.log(softmax(scores / 0.2))[kept], axis=1))
    assert loss == pytest.approx(expected, rel=1e-4)
    shares = np.bincount(np.argmax(scores[kept], axis=1)) / kept.sum()
    shares = shares[shares > 0]
    assert entropy == pytest.approx(-np.sum(shares * np.log(shares)), abs=1e-5)


def test_names_and_weight():
    layer = SinkhornClustering(3, loss_weight=0.25, name="c")
    with collect_losses() as collected:
        layer(X, training=False)
        assert not collected.terms and not collected.metrics
        layer(X, training=True)
    assert list(collected.terms) == ["c_cluster_loss"] and list(collected.metrics) == ["c_usage_entropy"]
    term = collected.terms["c_cluster_loss"]
    assert float(term.weighted) == pytest.approx(0.25 * float(term.value), rel=1e-6)


def test_swapped_views_train_on_the_targets_of_the_other():
    layer = SinkhornClustering(3, swap=True)
    (p, mu, q), loss, _ = train(layer, [X, Y])
    rows = [unit(X) @ mu.numpy().T, unit(Y) @ mu.numpy().T]
    targets = [sinkhorn(tf.constant(scores)).numpy() for scores in rows]
    predictions = [softmax(scores / 0.1) for scores in rows]
    np.testing.assert_allclose(p, predictions[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(q, targets[0], atol=1e-5)
    terms = [-np.mean(np.sum(targets[1 - i] * np.log(predictions[i]), axis=1)) for i in (0, 1)]
    assert loss == pytest.approx(np.mean(terms), rel=1e-4)


@pytest.mark.parametrize("inputs", [X[:1], [X, np.array([0, 0, 2, 0, 0, 0])], 0 * X])
def test_fewer_than_two_rows_have_neither_loss_nor_gradient(inputs):
    layer = SinkhornClustering(3)
    inputs = tf.nest.map_structure(tf.constant, inputs)
    layer(inputs)
    with tf.GradientTape() as tape:
        loss = loss_of(layer, inputs)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, tf.convert_to_tensor(layer.prototypes)) or 0.0, 0.0)


def test_gradients_reach_rows_and_prototypes_until_frozen():
    layer = SinkhornClustering(3, freeze_steps=2)
    x = tf.constant(X)
    layer(x)
    for call in range(3):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = loss_of(layer, x)
        rows, prototypes = tape.gradient(loss, [x, layer.trainable_weights[0]])
        assert np.any(rows != 0)
        assert np.any(prototypes.numpy() != 0) == (call == 2)
    layer(x)
    assert int(layer.calls) == 3


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_gradients_equal_finite_differences_with_frozen_targets(similarity):
    layer = SinkhornClustering(3, temperature=0.2, similarity=similarity)
    x = tf.constant(X)
    *_, q = layer([x, LENGTHS])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = loss_of(layer, [x, LENGTHS])
    gradients = tape.gradient(loss, [x, layer.trainable_weights[0]])
    frozen, kept = q.numpy().astype(np.float64), LENGTHS > 0
    scale = unit if similarity == "cosine" else lambda v: v

    def reference(rows, prototypes):
        log_p = np.log(softmax(scale(rows) @ scale(prototypes).T / 0.2))
        return -np.sum(frozen[kept] * log_p[kept]) / kept.sum()

    arrays = [X.astype(np.float64), layer.prototypes.numpy().astype(np.float64)]
    assert float(loss) == pytest.approx(reference(*arrays), rel=1e-4)
    for index, got in enumerate(gradients):
        expected = np.zeros_like(arrays[index])
        for place in np.ndindex(*expected.shape):
            ends = []
            for sign in (1, -1):
                moved = [array.copy() for array in arrays]
                moved[index][place] += sign * 1e-6
                ends.append(reference(*moved))
            expected[place] = (ends[0] - ends[1]) / 2e-6
        assert np.abs(expected).max() > 1e-2
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


def test_gradients_of_swapped_views_take_the_targets_of_the_other_as_given():
    layer = SinkhornClustering(3, temperature=0.2, swap=True)
    x = [tf.constant(X), tf.constant(Y)]
    layer(x)
    mu = layer.prototypes.numpy().astype(np.float64)
    frozen = [sinkhorn(tf.constant(unit(view) @ unit(mu).T)).numpy().astype(np.float64) for view in (X, Y)]
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = loss_of(layer, x)

    def reference(first, second, prototypes):
        rows = (unit(first), unit(second))
        log_p = [np.log(softmax(row @ unit(prototypes).T / 0.2)) for row in rows]
        return -np.mean([np.sum(frozen[1 - i] * log_p[i], axis=1) for i in (0, 1)])

    gradients = tape.gradient(loss, [*x, layer.trainable_weights[0]])
    for got, expected in zip(gradients, slopes(reference, [X, Y, mu]), strict=True):
        assert np.abs(expected).max() > 1e-2
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_the_queue_holds_the_newest_rows_that_count():
    layer = SinkhornClustering(9, queue_size=7)
    layer.build([None, 4])
    train(layer, [X, LENGTHS])
    kept = unit(X)[LENGTHS > 0]
    np.testing.assert_allclose(layer.queue.numpy()[0], [*kept, *np.zeros([2, 4])], atol=1e-6)
    broken = np.concatenate([Y[:3], np.full([1, 4], np.nan, "float32")])
    train(layer, [broken, np.array([1, 1, 1, 1])])
    np.testing.assert_allclose(layer.queue.numpy()[0], [*unit(Y[:3]), *kept[:4]], atol=1e-6)
    train(layer, [np.concatenate([X, Y]), np.ones([12], "int32")])
    np.testing.assert_allclose(layer.queue.numpy()[0], unit(np.concatenate([X, Y]))[:7], atol=1e-6)
    before = layer.queue.numpy()
    layer(Y)
    np.testing.assert_array_equal(layer.queue.numpy(), before)


@pytest.mark.parametrize("count", [4, 9])
def test_the_queue_takes_part_if_the_batch_is_small(count):
    layer = SinkhornClustering(count, queue_size=5)
    layer.build([None, 4])
    train(layer, Y)
    (_, mu, q), *_ = train(layer, X)
    rows = [*unit(X), *unit(Y)[:5]] if count > len(X) else unit(X)
    expected = sinkhorn(tf.constant(rows @ mu.numpy().T)).numpy()
    np.testing.assert_allclose(q, expected[:6], atol=1e-5)


def test_prototypes_stay_of_length_one_and_share_the_rows():
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    x = (4 * np.eye(4, 8)[np.arange(40) % 4] + rng.normal(size=(40, 8))).astype("float32")
    layer = SinkhornClustering(4)
    inputs = keras.Input([8])
    model = keras.Model(inputs, layer(inputs))
    optimizer = keras.optimizers.Adam(0.05)
    losses = []
    for _ in range(40):
        with tf.GradientTape() as tape:
            model(x, training=True)
            (loss,) = model.losses
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        losses.append(float(loss))
    np.testing.assert_allclose(np.linalg.norm(layer.prototypes.numpy(), axis=1), 1.0, atol=1e-5)
    assert losses[-1] < 0.6 * losses[0]
    assert train(layer, x)[2] > 0.95 * np.log(4)


def test_values_that_are_not_finite_reach_the_loss():
    broken = X.copy()
    broken[2, 1] = np.nan
    assert np.isnan(train(SinkhornClustering(3), broken)[1])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_large_half_precision_rows_stay_finite(policy):
    layer = SinkhornClustering(9, temperature=0.02, queue_size=4, dtype=policy)
    outputs, loss, _ = train(layer, tf.cast(1e3 * unit(X), policy.split("_")[1]))
    assert np.isfinite(loss) and all(np.all(np.isfinite(x)) for x in outputs)


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ({}, [X, Y]),
        ({}, [LENGTHS, X]),
        ({}, [X, LENGTHS, LENGTHS]),
        ({"swap": True}, X),
        ({"swap": True}, [X, Y[:, :2]]),
    ],
)
def test_other_inputs_are_refused(options, inputs):
    with pytest.raises(ValueError, match=r"SinkhornClustering 'c' takes .*\[batch, dim\]"):
        SinkhornClustering(3, **options, name="c")(inputs)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_prototypes": 0}, "num_prototypes=0"),
        ({"num_prototypes": 2, "queue_size": -1}, "queue_size=-1"),
        ({"num_prototypes": 2, "freeze_steps": 0.5}, "freeze_steps=0.5"),
        ({"num_prototypes": 2, "epsilon": 0.0}, "epsilon=0.0"),
        ({"num_prototypes": 2, "temperature": -1.0}, "temperature=-1.0"),
        ({"num_prototypes": 2, "similarity": "cosin"}, "did you mean 'cosine'"),
    ],
)
def test_bad_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        SinkhornClustering(**options)
