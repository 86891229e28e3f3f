import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import CIN
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")


def reference(layer, fields):
    """Map by map, as the formula has it."""
    first = fields.astype("float64")
    maps, pooled = first, []
    for kernel, bias in zip(layer.kernels, layer.biases, strict=True):
        kernel, bias = oracle.array(kernel), oracle.array(bias)
        new = np.zeros((len(first), len(kernel), first.shape[2]))
        for h in range(kernel.shape[0]):
            for i in range(kernel.shape[1]):
                for j in range(kernel.shape[2]):
                    new[:, h] += kernel[h, i, j] * maps[:, i] * first[:, j]
            new[:, h] = np.maximum(new[:, h] + bias[h], 0)
        maps = new
        pooled.append(maps.sum(axis=2))
    return np.concatenate(pooled, axis=1)


@pytest.mark.parametrize("inputs", [X, list(X.transpose(1, 0, 2))])
def test_gate(inputs):
    run_layer_test(
        CIN,
        {"hidden_feature_sizes": [6, 2]},
        inputs,
        expected_output_shape=(3, 8),
        expected_num_trainable_weights=4,
        expected_num_non_trainable_weights=0,
        policies=("mixed_float16",),
    )


@pytest.mark.parametrize("sizes", [[3], [6, 2], [1, 4, 3]])
def test_values_and_number_of_parameters(sizes):
    layer = oracle.built(CIN(sizes), X)
    expected = reference(layer, X)
    assert (expected > 0).any() and (expected == 0).sum() < expected.size
    np.testing.assert_allclose(layer(X), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer(list(X.transpose(1, 0, 2))), expected, rtol=1e-4, atol=1e-4)
    before = [4, *sizes[:-1]]
    assert oracle.count(layer) == sum(h * b * 4 + h for h, b in zip(sizes, before, strict=True))


def test_one_field():
    layer = oracle.built(CIN([2, 3]), X[:, :1])
    np.testing.assert_allclose(layer(X[:, :1]), reference(layer, X[:, :1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("sizes", "message"), [([], "at least one layer"), ([4, 0], "hidden_feature_sizes=0")]
)
def test_bad_arguments_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        CIN(sizes)


def test_joined_fields_are_refused():
    with pytest.raises(ValueError, match=r"CIN 'cin' takes a list of fields"):
        CIN([2], name="cin")(tf.zeros([3, 20]))
