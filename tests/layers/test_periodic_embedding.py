import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import PeriodicEmbedding
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def reference(layer, x):
    """Feature by feature, `[batch, num_features, dim]`."""
    vectors = []
    for i, c in enumerate(oracle.array(layer.coefficients)):
        angle = 2 * np.pi * x[:, i : i + 1].astype("float64") * c
        e = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
        if layer.add_linear_layer:
            e = e @ oracle.array(layer.kernel)[i] + oracle.array(layer.bias)[i]
            e = oracle.ACTIVATIONS[layer.linear_activation](e)
        vectors.append(e)
    return np.stack(vectors, axis=1)


@pytest.mark.parametrize(
    ("kwargs", "shapes", "trainable"),
    [
        ({}, (4, 12), 3),
        ({"output_tensor_list": True, "output_3d_tensor": True}, [(4, 12), (4, 4), (4, 4), (4, 4)], 3),
        ({"output_3d_tensor": True, "linear_activation": "dice"}, [(4, 12), (4, 3, 4)], 4),
    ],
)
def test_gate(kwargs, shapes, trainable):
    run_layer_test(
        PeriodicEmbedding,
        {"embedding_dim": 4, "sigma": 0.1, **kwargs},
        X,
        expected_output_shape=shapes,
        expected_num_trainable_weights=trainable,
        policies=("mixed_float16",),
    )


@pytest.mark.parametrize(
    ("kwargs", "parameters"),
    [
        ({}, 3 * 2 + 3 * (4 * 4 + 4)),
        ({"linear_activation": "tanh"}, 3 * 2 + 3 * (4 * 4 + 4)),
        ({"add_linear_layer": False, "linear_activation": "dice"}, 3 * 2),
    ],
)
def test_values_and_number_of_parameters(kwargs, parameters):
    layer = oracle.built(PeriodicEmbedding(4, 0.1, output_3d_tensor=True, **kwargs), X)
    flat, fields = layer(X)
    expected = reference(layer, X)
    np.testing.assert_allclose(fields, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(flat, expected.reshape(4, 12), rtol=1e-4, atol=1e-4)
    assert oracle.count(layer) == parameters


def test_the_list_goes_before_the_tensor():
    layer = PeriodicEmbedding(4, 0.1, output_tensor_list=True, output_3d_tensor=True)
    output = layer(X)
    assert isinstance(output, tuple) and isinstance(output[1], list) and len(output[1]) == 3
    np.testing.assert_array_equal(np.concatenate(output[1], axis=1), output[0])


def test_one_feature():
    layer = PeriodicEmbedding(2, 1.0, add_linear_layer=False)
    np.testing.assert_allclose(layer(tf.zeros([5, 1])), np.tile([0.0, 1.0], [5, 1]), atol=1e-7)


def test_coefficients_have_the_deviation_asked_for_and_kernels_that_of_one_feature():
    layer = PeriodicEmbedding(100, 0.02)
    layer(np.zeros([1, 40], "float32"))
    assert abs(oracle.array(layer.coefficients).std() / 0.02 - 1) < 0.1
    limit = np.sqrt(6 / 200)
    assert 0.95 * limit < np.abs(oracle.array(layer.kernel)).max() <= limit


def test_half_precision_keeps_the_phase():
    layer = PeriodicEmbedding(4, 1.0, add_linear_layer=False, dtype="mixed_float16")
    x = np.array([[2000.3]], "float32")
    layer(x)
    np.testing.assert_allclose(layer(x)[0], reference(layer, x)[0, 0], atol=5e-3)


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"embedding_dim": 3}, X, "must be even. Received: embedding_dim=3"),
        ({"embedding_dim": 0}, X, "embedding_dim=0"),
        ({"sigma": 0.0}, X, "sigma=0.0"),
        ({"linear_activation": "relo"}, X, "did you mean 'relu'"),
        ({}, [X, X], r"takes numbers \[batch, num_features\]"),
        ({}, X[0], r"takes numbers \[batch, num_features\]"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        PeriodicEmbedding(**{"embedding_dim": 4, "sigma": 0.1, **kwargs})(inputs)
