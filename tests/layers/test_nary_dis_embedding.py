import math

import interaction_oracle as oracle
import numpy as np
import pytest

from easyssl.layers import NaryDisEmbedding
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.array([[0.0, 12.0], [7.9, -1.0], [123456.0, 2.0]], "float32")
KWARGS = {"embedding_dim": 2, "carries": [10, 3]}
ROWS = 10 * 10 + 3 * 21


def reference(layer, table, x):
    """Digit by digit, `[batch, num_features, width]`."""
    table = oracle.array(table).reshape(x.shape[1], -1, layer.embedding_dim)
    output = np.zeros((*x.shape, len(layer.carries), layer.embedding_dim))
    for b, row in enumerate(x):
        for i, number in enumerate(row):
            first = 0
            for k, base in enumerate(layer.carries):
                rest = int(np.float32(number) * np.float32(layer.multiplier)) % 2**32
                length = math.floor(math.log(2**32 - 1, base)) + 1
                for position in range(length):
                    rest, digit = divmod(rest, base)
                    output[b, i, k] += table[i, first + base * position + digit]
                assert rest == 0
                if layer.intra_ary_pooling == "mean":
                    output[b, i, k] /= length
                first += base * length
    return output.reshape(*x.shape, -1)


@pytest.mark.parametrize(
    ("kwargs", "shapes", "weights"),
    [
        ({"multiplier": 100.0}, (3, 8), 1),
        ({"output_3d_tensor": True, "intra_ary_pooling": "mean"}, [(3, 8), (3, 2, 4)], 1),
        ({"output_tensor_list": True, "num_replicas": 2}, [(3, 8)] * 2 + [(3, 4)] * 4, 2),
    ],
)
def test_gate(kwargs, shapes, weights):
    run_layer_test(
        NaryDisEmbedding,
        {**KWARGS, **kwargs},
        X,
        expected_output_shape=shapes,
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
        policies=("mixed_float16",),
    )


@pytest.mark.parametrize("kwargs", [{}, {"multiplier": 0.5}, {"intra_ary_pooling": "mean"}, {"carries": [2]}])
def test_values_and_number_of_parameters(kwargs):
    layer = oracle.built(NaryDisEmbedding(**{**KWARGS, **kwargs}, output_3d_tensor=True), X)
    flat, fields = layer(X)
    expected = reference(layer, layer.tables[0], X)
    np.testing.assert_allclose(fields, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(flat, np.reshape(fields, (3, -1)))
    rows = 2 * 32 if layer.carries == (2,) else ROWS
    assert oracle.count(layer) == 2 * rows * 2


def test_replicas_are_a_list_of_independent_tables():
    layer = oracle.built(NaryDisEmbedding(**KWARGS, num_replicas=2), X)
    assert isinstance(layer(X), list) and len(layer(X)) == 2
    for output, table in zip(layer(X), layer.tables, strict=True):
        np.testing.assert_allclose(output, reference(layer, table, X).reshape(3, -1), rtol=1e-4, atol=1e-4)
    listed = NaryDisEmbedding(**KWARGS, num_replicas=2, output_tensor_list=True)(X)
    assert isinstance(listed, list) and [isinstance(x, list) for x in listed] == [False, False, True, True]
    stacked = NaryDisEmbedding(**KWARGS, num_replicas=2, output_3d_tensor=True)(X)
    assert [len(x.shape) for x in stacked] == [2, 2, 3, 3]


def test_one_replica_gives_a_tuple():
    output = NaryDisEmbedding(**KWARGS, output_tensor_list=True)(X)
    assert isinstance(output, tuple) and isinstance(output[1], list) and len(output[1]) == 2


def test_numbers_that_no_int32_holds_have_rows_all_the_same():
    layer = NaryDisEmbedding(**KWARGS)
    strange = layer(np.array([[np.inf, -np.inf], [np.nan, 1e30]], "float32")).numpy()
    assert np.isfinite(strange).all()
    np.testing.assert_array_equal(strange[1, :4], layer(np.zeros([1, 2], "float32"))[0, :4])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"carries": []}, r"carries=\[\]"),
        ({"carries": [10, 1]}, r"carries=\[10, 1\]"),
        ({"embedding_dim": 0}, "embedding_dim=0"),
        ({"num_replicas": 0}, "num_replicas=0"),
        ({"intra_ary_pooling": "means"}, "did you mean 'mean'"),
        ({"inter_ary_pooling": "sum"}, "unknown inter_ary_pooling 'sum'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        NaryDisEmbedding(**{**KWARGS, **kwargs})
