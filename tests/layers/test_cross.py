import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import Cross
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X0, X = RNG.normal(size=(2, 4, 5)).astype("float32")
CASES = [
    ({}, 5 * 5 + 5),
    ({"use_bias": False, "diag_scale": 0.5}, 5 * 5),
    ({"projection_dim": 2, "preactivation": "tanh", "diag_scale": 0.25}, 2 * 5 * 2 + 5),
]


def reference(layer, x0, x):
    x0, x = x0.astype("float64"), x.astype("float64")
    h = x if layer.projection is None else oracle.dense(layer.projection, x)
    h = oracle.ACTIVATIONS[layer.preactivation](oracle.dense(layer.dense, h))
    return x0 * (h + layer.diag_scale * x) + x


@pytest.mark.parametrize(("kwargs", "inputs", "weights"), [({}, [X0, X], 2), ({"projection_dim": 3}, X, 3)])
def test_gate(kwargs, inputs, weights):
    run_layer_test(
        Cross,
        {**kwargs, "kernel_regularizer": {"class_name": "L2", "config": {"l2": 0.01}}},
        inputs,
        expected_output_shape=(4, 5),
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
        policies=("mixed_float16",),
    )


@pytest.mark.parametrize(("kwargs", "parameters"), CASES)
def test_values_and_number_of_parameters(kwargs, parameters):
    layer = oracle.built(Cross(**kwargs), [X0, X])
    np.testing.assert_allclose(layer([X0, X]), reference(layer, X0, X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer(X), reference(layer, X, X), rtol=1e-5, atol=1e-5)
    assert oracle.count(layer) == parameters


@pytest.mark.skipif(hasattr(keras, "ops"), reason="TensorFlow Recommenders has layers of tf_keras only")
@pytest.mark.parametrize("kwargs", [case[0] for case in CASES])
def test_it_agrees_with_tensorflow_recommenders(kwargs):
    theirs = pytest.importorskip("tensorflow_recommenders").layers.dcn.Cross(**kwargs)
    ours = oracle.built(Cross(**kwargs), [X0, X])
    theirs(X0, X)
    theirs.set_weights([w.numpy() for w in ours.weights])
    np.testing.assert_allclose(ours([X0, X]), theirs(X0, X), rtol=1e-5, atol=1e-5)


def test_kernels_start_small_and_differ():
    layer = Cross(projection_dim=5)
    layer(X)
    kernels = [oracle.array(layer.projection.kernel), oracle.array(layer.dense.kernel)]
    assert all(0 < np.abs(kernel).max() <= 0.1 for kernel in kernels)  # two standard deviations of 0.05
    assert not np.array_equal(*kernels)
    assert not oracle.array(layer.dense.bias).any()


def test_regularizers_reach_what_they_are_for():
    layer = oracle.built(
        Cross(projection_dim=2, kernel_regularizer=keras.regularizers.L2(0.5), bias_regularizer="l1"), X
    )
    kernels = (layer.projection.kernel, layer.dense.kernel)
    expected = sum(0.5 * np.sum(oracle.array(kernel) ** 2) for kernel in kernels)
    expected += 0.01 * np.abs(oracle.array(layer.dense.bias)).sum()
    assert float(tf.add_n(layer.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"projection_dim": 0}, "projection_dim=0"),
        ({"diag_scale": -0.1}, "diag_scale=-0.1"),
        ({"preactivation": "tanhh"}, "did you mean 'tanh'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Cross(**kwargs)


@pytest.mark.parametrize("inputs", [[X0, X[:, :3]], [X0, X, X]])
def test_inputs_that_do_not_fit_are_refused(inputs):
    with pytest.raises(ValueError, match="Cross 'cross' takes one input, or two of one width"):
        Cross(name="cross")(inputs)
