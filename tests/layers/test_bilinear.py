import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import BiLinear
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
EQUAL = [RNG.normal(size=(3, 4)).astype("float32") for _ in range(4)]
MIXED = [RNG.normal(size=(3, width)).astype("float32") for width in (4, 2, 3)]


def reference(layer, fields):
    """Pair by pair."""
    fields = [field.astype("float64") for field in fields]
    products = []
    for i in range(len(fields)):
        for j in range(i + 1, len(fields)):
            if layer.type == "interaction":
                first = sum(f.shape[1] for f in fields[i + 1 : j])
                part = slice(first, first + fields[j].shape[1])
                kernel, bias = (
                    oracle.array(w)[..., part] for w in (layer.maps[i].kernel, layer.maps[i].bias)
                )
            else:
                chosen = layer.maps[i if layer.type == "each" else 0]
                kernel, bias = oracle.array(chosen.kernel), oracle.array(chosen.bias)
            product = (fields[i] @ kernel + bias) * fields[j]
            products.append(product.sum(axis=1, keepdims=True) if layer.use_plus else product)
    return oracle.dense(layer.dense, np.concatenate(products, axis=1))


@pytest.mark.parametrize(
    ("kwargs", "inputs", "trainable"),
    [
        ({}, MIXED, 6),
        ({"type": "each", "use_plus": False}, np.stack(EQUAL, axis=1), 8),
        ({"type": "all"}, EQUAL, 4),
    ],
)
def test_gate(kwargs, inputs, trainable):
    run_layer_test(
        BiLinear,
        {"num_output_units": 5, **kwargs},
        inputs,
        expected_output_shape=(3, 5),
        expected_num_trainable_weights=trainable,
        expected_num_non_trainable_weights=0,
        policies=("mixed_float16",),
    )


@pytest.mark.parametrize("use_plus", [True, False])
@pytest.mark.parametrize(
    ("kind", "fields", "mapping"),
    [
        ("all", EQUAL, 4 * 4 + 4),
        ("each", EQUAL, 3 * (4 * 4 + 4)),
        ("interaction", EQUAL, 6 * (4 * 4 + 4)),
        ("interaction", MIXED, 4 * 2 + 2 + 4 * 3 + 3 + 2 * 3 + 3),
        ("interaction", EQUAL[:2], 4 * 4 + 4),
    ],
)
def test_values_and_number_of_parameters(kind, fields, mapping, use_plus):
    layer = oracle.built(BiLinear(num_output_units=3, type=kind, use_plus=use_plus), fields)
    np.testing.assert_allclose(layer(fields), reference(layer, fields), rtol=1e-4, atol=1e-4)
    widths = [field.shape[1] for field in fields]
    joined = sum(1 if use_plus else w for k, w in enumerate(widths) for _ in range(k))
    assert oracle.count(layer) == mapping + joined * 3 + 3


def test_every_matrix_starts_as_one_of_its_own_size():
    fields = [np.ones((2, 30), "float32"), np.ones((2, 60), "float32"), np.ones((2, 6), "float32")]
    layer = BiLinear(num_output_units=1)
    layer(fields)
    kernel = oracle.array(layer.maps[0].kernel)
    for part, width in ((kernel[:, :60], 60), (kernel[:, 60:], 6)):
        limit = np.sqrt(6 / (30 + width))
        assert 0.9 * limit < np.abs(part).max() <= limit


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"type": "each"}, MIXED, r"needs fields of one width. Received widths: \[4, 2, 3\]"),
        ({"type": "all"}, MIXED, "needs fields of one width"),
        ({}, EQUAL[:1], "needs at least two fields"),
        ({}, tf.zeros([3, 8]), "takes a list of fields"),
        ({"type": "eech"}, EQUAL, "did you mean 'each'"),
        ({"num_output_units": 0}, EQUAL, "num_output_units=0"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        BiLinear(**{"num_output_units": 4, **kwargs})(inputs)
