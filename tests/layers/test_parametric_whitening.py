import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import ParametricWhitening
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)).astype("float32")
STEPS = RNG.normal(size=(2, 3, 6)).astype("float32") + 2.0


def test_gate():
    run_layer_test(
        ParametricWhitening,
        {"units": 3, "dropout": 0.3, "seed": 1},
        X,
        expected_output_shape=(4, 3),
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=1,
        is_random=True,
    )


def test_gate_of_a_sequence():
    run_layer_test(
        ParametricWhitening,
        {"units": 5},
        STEPS,
        expected_output_shape=(2, 3, 5),
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=0,
        keeps_mask=True,
        policies=(),
    )


@pytest.mark.parametrize("x", [X, STEPS])
def test_definition(x):
    layer = ParametricWhitening(2)
    layer.build(x.shape)
    layer.shift.assign(np.arange(6.0))
    kernel = tf.convert_to_tensor(layer.kernel).numpy()
    np.testing.assert_allclose(layer(x), (x - np.arange(6)) @ kernel, atol=1e-5)
    np.testing.assert_array_equal(layer(x), layer(x, training=True))


def test_initial_values():
    layer = ParametricWhitening(200)
    layer.build([None, 100])
    assert not np.any(tf.convert_to_tensor(layer.shift))
    assert np.std(tf.convert_to_tensor(layer.kernel)) == pytest.approx(0.02, rel=0.02)


def test_dropout_is_on_the_input():
    layer = ParametricWhitening(1, dropout=0.5, seed=3)
    layer.build([None, 1])
    layer.kernel.assign([[1.0]])
    layer.shift.assign([5.0])
    output = layer(tf.ones([100, 1]), training=True).numpy()
    assert set(np.unique(output)) == {-5.0, -3.0}  # 0 - 5 and 2 - 5


@pytest.mark.parametrize(("units", "method"), [(6, "pca"), (6, "zca"), (2, "pca")])
def test_adapted_to_data_it_gives_white_data(units, method):
    data = (RNG.normal(size=(400, 6)) @ RNG.normal(size=(6, 6)) + 7.0).astype("float32")
    layer = ParametricWhitening(units)
    layer.adapt(data, method)
    white = layer(data).numpy()
    np.testing.assert_allclose(white.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(units), atol=1e-2)
    layer.adapt(data + 1.0, method)  # a built layer, too
    np.testing.assert_allclose(layer(data + 1.0), white, atol=1e-2)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="units=0"):
        ParametricWhitening(0)
    with pytest.raises(ValueError, match="dropout=1"):
        ParametricWhitening(2, dropout=1)
    with pytest.raises(ValueError, match="whose last dimension is known"):
        ParametricWhitening(2).build([None, None])
    with pytest.raises(ValueError, match="zca whitening needs"):
        ParametricWhitening(2).adapt(X, "zca")
