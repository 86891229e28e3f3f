import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import AdversarialClassifier
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4)).astype("float32")
Y = np.array([0, 1, 2, 1, 1, 0])
W = np.array([1.0, 0.5, 2.0, 0.0, 1.0, 1.5], "float32")


def made(**kwargs):
    layer = AdversarialClassifier(3, name="adv", **kwargs)
    layer.build([(None, 4), (None,)])
    layer.classifier.kernel.assign(np.arange(12).reshape(4, 3) / 10 - 0.5)
    return layer


def cross_entropies(layer, x, y):
    kernel = tf.convert_to_tensor(layer.classifier.kernel).numpy().astype("float64")
    logits = x @ kernel
    return np.log(np.sum(np.exp(logits), axis=1)) - logits[np.arange(len(y)), y]


def test_gate():
    run_layer_test(
        AdversarialClassifier,
        {"num_classes": 3, "loss_weight": 0.5, "schedule": "dann", "num_steps": 10, "use_bias": True},
        [X, Y, W],
        expected_output_shape=(),
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=1,
        float32_output=True,
    )


@pytest.mark.parametrize("shape", [[6], [6, 1]])
@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_the_loss_and_its_report(shape, dtype):
    layer = made(loss_weight=0.25)
    with collect_losses() as collected:
        output = layer([X, Y.reshape(shape).astype(dtype), W.reshape(shape)], training=True)
    expected = np.sum(W * cross_entropies(layer, X, Y)) / np.sum(W)
    ((name, term),) = collected.terms.items()
    assert name == "adv_adversarial_loss"
    np.testing.assert_allclose(term.value, expected, rtol=1e-5)
    np.testing.assert_allclose([output, term.weighted], 0.25 * expected, rtol=1e-5)


def test_metrics_and_chance():
    layer = made()
    with collect_losses() as collected:
        layer([X, Y, W], training=True)
    kernel = tf.convert_to_tensor(layer.classifier.kernel).numpy()
    right = np.argmax(X @ kernel, axis=1) == Y
    shares = np.array([2.5, 1.5, 2.0]) / 6.0
    expected = {
        "adv_accuracy": np.sum(W * right) / 6.0,
        "adv_chance_accuracy": 2.5 / 6.0,
        "adv_chance_cross_entropy": -np.sum(shares * np.log(shares)),
    }
    assert collected.metrics.keys() == expected.keys()
    for metric, value in expected.items():
        assert float(collected.metrics[metric]) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_each_factor_counts_once(factor, weight):
    """What comes before gets -factor * weight * dL, as in finite differences; the classifier +weight * dL."""
    layer, x = made(loss_weight=weight, factor=factor), tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = layer([x, Y])
    before, kernel = tape.gradient(loss, [x, layer.classifier.kernel])

    def plain(x):
        return np.mean(cross_entropies(layer, x, Y))

    step = 1e-6
    for place in np.ndindex(X.shape):
        change = np.zeros(X.shape)
        change[place] = step
        slope = (plain(X + change) - plain(X - change)) / (2 * step)
        assert before.numpy()[place] == pytest.approx(-factor * weight * slope, abs=1e-6)
    logits = X @ tf.convert_to_tensor(layer.classifier.kernel).numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(kernel, weight * X.T @ (p - np.eye(3)[Y]) / 6, atol=1e-6)


def test_the_classifier_learns_and_what_comes_before_unlearns():
    labels = np.random.default_rng(1).integers(0, 2, 64)
    x = (2.0 * labels[:, None] - 1.0).astype("float32")
    layer, scale = AdversarialClassifier(2), tf.Variable(1.0)
    layer.build([(None, 1), (None,)])

    def steps(variables):
        for _ in range(20):
            with tf.GradientTape() as tape:
                loss = layer([x * scale, labels], training=True)
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                variable.assign_sub(0.3 * gradient)
        return float(layer([x * scale, labels]))

    assert steps(layer.trainable_weights) < 0.3 < np.log(2)
    assert steps([scale]) > np.log(2)


def test_rows_without_label_do_not_count():
    layer = made()
    some = np.array([0, -1, 2, -100, 1, -1])
    kept = some >= 0
    np.testing.assert_allclose(layer([X, some]), layer([X[kept], some[kept]]), rtol=1e-6)
    x = tf.constant(X)
    with collect_losses() as collected, tf.GradientTape() as tape:
        tape.watch(x)
        loss = layer([x, np.full(6, -1)], training=True)
    assert float(loss) == 0.0 and not np.any(tape.gradient(loss, x))
    assert all(float(value) == 0.0 for value in collected.metrics.values())


def test_one_class_only_and_one_row():
    layer = made()
    with collect_losses() as collected:
        loss = layer([X[:1], Y[:1]], training=True)
    np.testing.assert_allclose(loss, cross_entropies(layer, X[:1], Y[:1])[0], rtol=1e-5)
    assert float(collected.metrics["adv_chance_accuracy"]) == 1.0
    assert float(collected.metrics["adv_chance_cross_entropy"]) == 0.0


def test_nothing_is_reported_without_training():
    with collect_losses() as collected:
        made()([X, Y])
    assert not collected.terms and not collected.metrics


def test_large_half_precision_inputs_stay_finite():
    layer, x = made(dtype="mixed_float16"), tf.cast(1e3 * np.sign(X), tf.float16)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = layer([x, Y])
    assert np.isfinite(loss) and np.all(np.isfinite(tape.gradient(loss, x)))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        AdversarialClassifier(1)
    with pytest.raises(ValueError, match="'dann' needs"):
        AdversarialClassifier(2, schedule="dann")
    for inputs in ([X], [X, Y, W, W], [X, X], [X[:, 0], Y]):
        with pytest.raises(ValueError, match=r"'adv' takes representations \[batch, dim\]"):
            AdversarialClassifier(3, name="adv")(inputs)
