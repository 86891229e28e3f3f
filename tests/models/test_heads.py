import numpy as np
import pytest
import tensorflow as tf

from easyssl.losses import SUPERVISED_LOSSES
from easyssl.models import heads
from easyssl.models.tasks import Task
from easyssl.models.terms import LossTerm

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)


def term_of(loss_type, num_class=1, **fields):
    kind = SUPERVISED_LOSSES[loss_type]
    return LossTerm(loss_type, 1.0, kind.name, "y", kind.reads, num_class, **fields)


def predictions(output, loss_type, num_class):
    return heads.predictions(output, Task("y", num_class, (term_of(loss_type, num_class),)))


def loss(loss_type, label, predicted, weights, num_class):
    return heads.loss(term_of(loss_type, num_class), {"y": label}, predicted, weights)


def test_binary():
    z = RNG.normal(size=[5, 1])
    out = predictions(tf.constant(z, tf.float32), "CLASSIFICATION", 1)
    np.testing.assert_allclose(out["logits"], z[:, 0], rtol=1e-6)
    np.testing.assert_allclose(out["probs"], 1 / (1 + np.exp(-z[:, 0])), rtol=1e-5)


def test_several_classes():
    z = RNG.normal(size=[6, 4])
    out = predictions(tf.constant(z, tf.float32), "SOFTMAX_CROSS_ENTROPY", 4)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(out["probs"], p, rtol=1e-5)
    np.testing.assert_array_equal(out["y"], p.argmax(1))
    np.testing.assert_allclose(out["probs_1"], p[:, 1], rtol=1e-5)
    np.testing.assert_allclose(out["logits_1"], z[:, 1], rtol=1e-5)
    np.testing.assert_allclose(out["probs_y"], p.max(1), rtol=1e-5)
    np.testing.assert_allclose(out["logits_y"], z.max(1), rtol=1e-5)


def test_regression():
    z = RNG.normal(size=[5, 1]).astype(np.float32)
    np.testing.assert_array_equal(predictions(tf.constant(z), "L2_LOSS", 1)["y"], z[:, 0])
    squashed = predictions(tf.constant(z), "SIGMOID_L2_LOSS", 1)["y"]
    np.testing.assert_allclose(squashed, 1 / (1 + np.exp(-z[:, 0])), rtol=1e-5)


@pytest.mark.parametrize("loss_type", ["CLASSIFICATION", "L2_LOSS"])
def test_predictions_are_float32_under_half_precision(loss_type):
    for value in predictions(tf.zeros([2, 1], tf.float16), loss_type, 1).values():
        assert value.dtype == tf.float32


@pytest.mark.parametrize("loss_type", ["L2_LOSS", "SIGMOID_L2_LOSS"])
def test_a_regression_loss_compares_what_is_predicted(loss_type):
    z, labels = RNG.normal(size=[5, 1]), RNG.uniform(size=5)
    values = z[:, 0] if loss_type == "L2_LOSS" else 1 / (1 + np.exp(-z[:, 0]))
    predicted = predictions(tf.constant(z, tf.float32), loss_type, 1)
    got = loss(loss_type, tf.constant(labels, tf.float32), predicted, None, 1)
    np.testing.assert_allclose(got, np.mean((labels - values) ** 2), rtol=1e-5)


def test_softmax_cross_entropy_reads_the_logits():
    z, labels = RNG.normal(size=[6, 4]), RNG.integers(0, 4, size=6)
    predicted = predictions(tf.constant(z, tf.float32), "SOFTMAX_CROSS_ENTROPY", 4)
    got = loss("SOFTMAX_CROSS_ENTROPY", tf.constant(labels), predicted, None, 4)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    np.testing.assert_allclose(got, -np.mean(log_p[np.arange(6), labels]), rtol=1e-5)
