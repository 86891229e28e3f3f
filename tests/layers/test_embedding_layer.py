"""EmbeddingLayer against NumPy: one table, one stretch of rows per feature."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers.embedding_layer import EmbeddingLayer

pytestmark = pytest.mark.both_keras

FEATURES = [
    {"name": "id", "kind": "id", "rows": 5, "weighted": False},
    {"name": "tags", "kind": "tags", "rows": 7, "weighted": True},
    {"name": "hist", "kind": "tag_sequence", "rows": 3, "weighted": False},
]
DATA = {
    "id": np.array([4, -1, 9]),
    "tags": np.array([[6, 0, -1], [-1, -1, -1], [7, 2, 2]]),
    "tags/weight": np.array([[0.5, 1.5, 0.0], [0.0, 0.0, 0.0], [1.0, -1.0, 2.0]], np.float32),
    "hist": np.array([[[2, -1], [0, 1]], [[1, -1], [-1, -1]], [[-1, -1], [-1, -1]]]),
}


def pooled(rows, weights, combiner):
    if not len(rows):
        return np.zeros(4)
    if combiner == "weight":
        keep = weights > 0
        return (weights[keep, None] * rows[keep]).sum(0) / weights[keep].sum()
    return {"mean": np.mean, "sum": np.sum, "max": np.max, "min": np.min}[combiner](rows, axis=0)


@pytest.mark.parametrize("combiner", ["weight", "mean", "sum", "max", "min"])
def test_each_feature_reads_its_own_rows(combiner):
    layer = EmbeddingLayer(FEATURES, embedding_dim=4, combiner=combiner, concat=False)
    outputs = layer({name: tf.constant(array) for name, array in DATA.items()})
    matrix = layer.table.variable.numpy()
    assert matrix.shape == (15, 4)
    np.testing.assert_allclose(outputs[0], [matrix[4], np.zeros(4), matrix[0]])
    for row in range(3):
        tags, weights = DATA["tags"][row], DATA["tags/weight"][row]
        tags, weights = np.where(tags < 7, tags, 0)[tags >= 0], weights[tags >= 0]
        expected = pooled(matrix[5 + tags], weights, combiner)
        np.testing.assert_allclose(outputs[1][row], expected, rtol=1e-5, atol=1e-7)
        steps = DATA["hist"][row][DATA["hist"][row] >= 0]
        expected = pooled(matrix[12 + steps], np.ones(len(steps)), combiner)
        np.testing.assert_allclose(outputs[2][row], expected, rtol=1e-5, atol=1e-7)


def test_concat_joins_the_features():
    layer = EmbeddingLayer(FEATURES, embedding_dim=4)
    assert layer({name: tf.constant(array) for name, array in DATA.items()}).shape == (3, 12)


def test_table_starts_uniform():
    layer = EmbeddingLayer([{**FEATURES[0], "rows": 5000}], embedding_dim=4)
    layer.build(None)
    values = layer.table.variable.numpy()
    assert np.abs(values).max() <= 0.05
    assert abs(values.std() - 0.05 / np.sqrt(3)) < 0.001


def test_config_round_trip():
    layer = EmbeddingLayer(FEATURES, embedding_dim=4, combiner="max", concat=False, name="fused")
    assert EmbeddingLayer.from_config(layer.get_config()).get_config() == layer.get_config()


def test_numbers_and_unknown_combiners_are_refused():
    with pytest.raises(ValueError, match="'price' has no ids"):
        EmbeddingLayer([{"name": "price", "kind": "values", "rows": 1, "weighted": False}], 4)
    with pytest.raises(ValueError, match="combiner='avg'"):
        EmbeddingLayer(FEATURES, 4, combiner="avg")
