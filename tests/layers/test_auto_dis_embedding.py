import interaction_oracle as oracle
import numpy as np
import pytest

from easyssl.layers import AutoDisEmbedding
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
KWARGS = {"embedding_dim": 2, "num_bins": 5, "temperature": 0.5}


def reference(layer, x):
    """Feature by feature, `[batch, num_features, dim]`."""
    vectors = []
    for i in range(x.shape[1]):
        h = x[:, i : i + 1].astype("float64") * oracle.array(layer.slopes)[i]
        h = np.where(h > 0, h, 0.2 * h)
        u = np.array([oracle.array(layer.mixing)[i] @ row for row in h]) + layer.keep_prob * h
        a = np.exp((u - u.max(axis=1, keepdims=True)) / layer.temperature)
        vectors.append(a / a.sum(axis=1, keepdims=True) @ oracle.array(layer.embeddings)[i])
    return np.stack(vectors, axis=1)


@pytest.mark.parametrize(
    ("kwargs", "shapes"),
    [({}, (4, 6)), ({"output_tensor_list": True}, [(4, 6), (4, 2), (4, 2), (4, 2)])],
)
def test_gate(kwargs, shapes):
    run_layer_test(
        AutoDisEmbedding,
        {**KWARGS, **kwargs},
        X,
        expected_output_shape=shapes,
        expected_num_trainable_weights=3,
        expected_num_non_trainable_weights=0,
        policies=("mixed_float16",),
    )


@pytest.mark.parametrize("kwargs", [{}, {"keep_prob": 0.0, "temperature": 1e-3}, {"num_bins": 1}])
def test_values_and_number_of_parameters(kwargs):
    layer = oracle.built(AutoDisEmbedding(**{**KWARGS, **kwargs}, output_3d_tensor=True), X)
    flat, fields = layer(X)
    expected = reference(layer, X)
    np.testing.assert_allclose(fields, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(flat, expected.reshape(4, 6), rtol=1e-3, atol=1e-4)
    bins = layer.num_bins
    assert oracle.count(layer) == 3 * (bins + bins * bins + bins * 2)


def test_the_form_of_lists():
    output = AutoDisEmbedding(**KWARGS, output_tensor_list=True, output_3d_tensor=True)(X)
    assert isinstance(output, tuple) and isinstance(output[1], list)
    np.testing.assert_array_equal(np.concatenate(output[1], axis=1), output[0])


def test_large_numbers_and_low_temperatures_stay_finite_in_half_precision():
    layer = AutoDisEmbedding(2, 5, temperature=1e-5, dtype="mixed_float16")
    assert np.isfinite(layer(np.array([[1e6, -1e6]], "float32"))).all()


def test_weights_start_as_those_of_one_feature():
    layer = AutoDisEmbedding(20, 40, 1.0)
    layer(np.zeros([1, 10], "float32"))
    for weight, limit in ((layer.mixing, np.sqrt(6 / 80)), (layer.embeddings, np.sqrt(6 / 60))):
        assert 0.95 * limit < np.abs(oracle.array(weight)).max() <= limit


@pytest.mark.parametrize("name", ["embedding_dim", "num_bins", "temperature"])
def test_what_is_not_positive_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        AutoDisEmbedding(**{**KWARGS, name: 0})
