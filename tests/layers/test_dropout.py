import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow import keras

from easyssl.layers import Dropout
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")


def test_gate():
    run_layer_test(
        Dropout,
        {"rate": 0.4, "seed": 3},
        X,
        expected_output_shape=X.shape,
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=1,
        is_random=True,
        keeps_mask=True,
    )


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_share_is_dropped_and_the_rest_scaled(rate):
    kept = Dropout(rate, seed=1)(tf.ones([100, 100]), training=True).numpy()
    np.testing.assert_allclose(np.unique(kept), [0.0, 1 / (1 - rate)], rtol=1e-4)
    dropped = int((kept == 0).sum())
    assert stats.binomtest(dropped, kept.size, rate).pvalue > 1e-3


def test_a_mask_of_another_shape_is_broadcast():
    layer = Dropout(0.5, seed=1, noise_shape=[None, 1, None])
    kept = layer(tf.ones([50, 6, 8]), training=True).numpy()
    assert set(np.unique(kept)) == {0.0, 2.0}
    np.testing.assert_array_equal(kept, np.broadcast_to(kept[:, :1], kept.shape))
    assert Dropout.from_config(layer.get_config()).noise_shape == (None, 1, None)
    with pytest.raises(ValueError, match="noise_shape"):
        layer(tf.ones([2, 3]), training=True)


def test_rate_zero_and_evaluation_change_nothing():
    np.testing.assert_array_equal(Dropout(0.0)(X, training=True), X)
    np.testing.assert_array_equal(Dropout(0.9)(X, training=False), X)
    np.testing.assert_array_equal(Dropout(0.9)(X), X)


def test_gradient_flows_through_what_is_kept():
    x = tf.constant([1.0, 2.0, 3.0, 4.0] * 8)
    layer = Dropout(0.5, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    np.testing.assert_array_equal(tape.gradient(y, x), np.where(y.numpy() > 0, 2.0, 0.0))


@pytest.mark.parametrize("save", ["weights", "checkpoint"])
def test_resumed_training_is_exact(tmp_path, save):
    def model():
        keras.utils.set_random_seed(1)
        layers = [keras.Input([8]), keras.layers.Dense(16), Dropout(0.5), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return model

    x, y = np.random.default_rng(0).normal(size=(2, 6, 4, 8)).astype("float32")

    def train(model, steps):
        for step in steps:
            model.train_on_batch(x[step], y[step, :, :1])

    straight = model()
    train(straight, range(6))

    first = model()
    train(first, range(3))
    second = model()
    train(second, [])
    if save == "weights":
        first.save_weights(str(tmp_path / "m.weights.h5"))
        second.load_weights(str(tmp_path / "m.weights.h5"))
    else:
        path = tf.train.Checkpoint(model=first).write(str(tmp_path / "m"))
        tf.train.Checkpoint(model=second).read(path)
    train(second, range(3, 6))
    for got, want in zip(second.get_weights(), straight.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_bad_rates_are_refused(rate):
    with pytest.raises(ValueError, match=f"rate={rate}"):
        Dropout(rate)
