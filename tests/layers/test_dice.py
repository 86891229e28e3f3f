import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import Dice
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")


def dice(x, mean, variance, alpha):
    p = 1 / (1 + np.exp(-(x - mean) / np.sqrt(variance + 1e-9)))
    return p * x + (1 - p) * alpha * x


def test_gate():
    run_layer_test(
        Dice,
        {},
        X,
        expected_output_shape=X.shape,
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=2,
        keeps_mask=True,
    )


def test_values():
    layer, alpha = Dice(), np.array([0.1, -0.5, 2.0])
    layer.build(X.shape)
    layer.alpha.assign(alpha)
    x = X.astype(np.float64)
    np.testing.assert_allclose(layer(X, training=False), dice(x, 0.0, 1.0, alpha), rtol=1e-5, atol=1e-6)
    flat = x.reshape(-1, 3)
    expected = dice(x, flat.mean(axis=0), flat.var(axis=0), alpha)
    np.testing.assert_allclose(layer(X, training=True), expected, rtol=1e-5, atol=1e-5)


def test_masked_steps_do_not_enter_the_statistics():
    lengths = np.array([6, 2, 3, 1])
    mask = np.arange(6) < lengths[:, None]
    valid = X[mask].astype(np.float64)
    expected = dice(valid, valid.mean(axis=0), valid.var(axis=0), 0.0)
    got = Dice()(X, mask=tf.constant(mask), training=True).numpy()[mask]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_constant_channel_is_finite_in_half_precision(policy):
    y = Dice(dtype=policy)(tf.fill([4, 2], 3.0), training=True)
    assert np.all(np.isfinite(tf.cast(y, tf.float32)))
