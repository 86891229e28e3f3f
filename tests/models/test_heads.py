import numpy as np
import pytest
import tensorflow as tf

from easyssl.models.heads import predictions

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)


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
