import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss, mean_squared_error

from easyssl.losses import SUPERVISED_LOSSES, supervised_loss

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=12) * 3
LABELS = RNG.integers(0, 2, size=12)
WEIGHTS = np.where(np.arange(12) % 4 == 0, 0.0, RNG.uniform(0.1, 5.0, size=12))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def f32(x):
    return tf.constant(x, tf.float32)


def over_count(losses, weights):
    return np.sum(losses * weights) / np.count_nonzero(weights)


def test_binary_classification():
    loss = supervised_loss("CLASSIFICATION")
    expected = log_loss(LABELS, sigmoid(LOGITS))
    np.testing.assert_allclose(loss(f32(LABELS), f32(LOGITS)), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(tf.constant(LABELS), f32(LOGITS[:, None])), expected, rtol=1e-5)
    each = -np.log(np.where(LABELS == 1, sigmoid(LOGITS), 1 - sigmoid(LOGITS)))
    got = loss(f32(LABELS), f32(LOGITS), f32(WEIGHTS))
    np.testing.assert_allclose(got, over_count(each, WEIGHTS), rtol=1e-5)


def test_weights_are_divided_by_their_number_not_their_sum():
    loss = supervised_loss("CLASSIFICATION")
    once, twice = (loss(f32(LABELS), f32(LOGITS), f32(k * WEIGHTS)).numpy() for k in (1, 2))
    assert twice == pytest.approx(2 * once, rel=1e-5)
    assert loss(f32(LABELS), f32(LOGITS), tf.zeros([12])).numpy() == 0.0


def test_multi_class_classification():
    logits, labels = RNG.normal(size=(12, 4)), RNG.integers(0, 4, size=12)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = supervised_loss("CLASSIFICATION")
    got = loss(tf.constant(labels), f32(logits), num_class=4)
    np.testing.assert_allclose(got, log_loss(labels, probs, labels=range(4)), rtol=1e-5)
    each = -np.log(probs[np.arange(12), labels])
    got = loss(f32(labels), f32(logits), f32(WEIGHTS), num_class=4)
    np.testing.assert_allclose(got, over_count(each, WEIGHTS), rtol=1e-5)


def test_binary_cross_entropy_does_not_know_weights():
    loss = supervised_loss("BINARY_CROSS_ENTROPY_LOSS")
    expected = log_loss(LABELS, sigmoid(LOGITS))
    np.testing.assert_allclose(loss(f32(LABELS), f32(LOGITS), f32(WEIGHTS)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["L2_LOSS", "SIGMOID_L2_LOSS"])
def test_squared_losses(name):
    loss, targets, values = supervised_loss(name), RNG.uniform(size=12), sigmoid(LOGITS)
    np.testing.assert_allclose(
        loss(f32(targets), f32(values)), mean_squared_error(targets, values), rtol=1e-5
    )
    expected = over_count((targets - values) ** 2, WEIGHTS)
    np.testing.assert_allclose(loss(f32(targets), f32(values), f32(WEIGHTS)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, kind in SUPERVISED_LOSSES.items()
        if kind.num_class[1] in (1, None) and kind.reads != "probs"
    ],
)
def test_extreme_half_precision_logits_stay_finite(name):
    logits = tf.constant([-6e4, 6e4, 0.0], tf.float16)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = supervised_loss(name)(f32([1, 0, 1]), logits)
    assert value.dtype == tf.float32 and np.isfinite(value)
    assert np.isfinite(tape.gradient(value, logits)[2])


def test_an_unknown_loss_gets_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'CLASSIFICATION'"):
        supervised_loss("CLASIFICATION")
