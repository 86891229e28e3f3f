"""EmbeddingTable against NumPy indexing, with gradients, XLA and both dtype policies."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from easyssl.layers.embedding_table import EmbeddingTable, create_tables

pytestmark = pytest.mark.both_keras


def make(rows=7, dim=3, **kwargs):
    table = EmbeddingTable(rows, dim, **kwargs)
    table.build(None)
    table.variable.assign(np.random.default_rng(0).normal(size=(rows, dim)))
    return table


def reference(matrix, ids):
    ids = np.asarray(ids)
    rows = matrix[np.where((ids < 0) | (ids >= len(matrix)), 0, ids)]
    return np.where((ids < 0)[..., None], 0.0, rows)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4)])
def test_lookup_equals_numpy_indexing(shape):
    table = make()
    ids = np.random.default_rng(1).integers(-2, 9, shape)
    np.testing.assert_array_equal(table(tf.constant(ids)), reference(table.variable.numpy(), ids))


def test_unknown_and_missing_ids_are_the_same_under_xla():
    table = make()
    ids = tf.constant([[-1, 0, 6], [7, 10**12, -(10**12)]], tf.int64)
    compiled = tf.function(table, jit_compile=True, autograph=False)
    np.testing.assert_array_equal(compiled(ids), table(ids))
    np.testing.assert_array_equal(table(ids)[1, 0], table.variable[0])


def test_gradient_is_sparse_and_touches_only_the_rows_that_were_read():
    table = make()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table(tf.constant([5, 2, 5, -1, -1])) * [[1.0, 2.0, 3.0]])
    gradient = tape.gradient(loss, table.variable)
    assert isinstance(gradient, tf.IndexedSlices)
    assert set(gradient.indices.numpy()) == {2, 5}
    dense = np.zeros((7, 3))
    np.add.at(dense, gradient.indices.numpy(), gradient.values.numpy())
    expected = np.zeros((7, 3))
    expected[2], expected[5] = [1, 2, 3], [2, 4, 6]
    np.testing.assert_array_equal(dense, expected)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(-1, 6), min_size=1, max_size=6).filter(lambda ids: max(ids) >= 0), st.integers(0, 5)
)
def test_padding_changes_neither_rows_nor_update(ids, padding):
    table = make()

    def touched(ids):
        with tf.GradientTape() as tape:
            rows = table(tf.constant(ids, tf.int64))
            loss = tf.reduce_sum(rows**2)
        gradient = tape.gradient(loss, table.variable)
        return rows.numpy(), set(gradient.indices.numpy()), tf.convert_to_tensor(gradient).numpy()

    rows, indices, gradient = touched(ids)
    padded_rows, padded_indices, padded_gradient = touched(ids + [-1] * padding)
    np.testing.assert_array_equal(padded_rows[: len(ids)], rows)
    assert indices == padded_indices == {i for i in ids if i >= 0}
    np.testing.assert_allclose(padded_gradient, gradient, rtol=1e-6)


def test_table_is_float32_under_mixed_precision_even_inside_a_mixed_layer():
    class Outer(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.table = EmbeddingTable(4, 2, initializer=keras.initializers.Constant(1.0001))

        def call(self, ids):
            return self.table(ids)

    outer = Outer(dtype="mixed_bfloat16")
    rows = outer(tf.constant([1, 3]))
    assert outer.table.variable.dtype == tf.float32
    assert rows.dtype == tf.float32
    np.testing.assert_array_equal(rows, np.full((2, 2), np.float32(1.0001)))


def test_default_initializer_is_a_narrow_truncated_normal():
    keras.utils.set_random_seed(0)
    table = EmbeddingTable(4000, 16)
    table.build(None)
    values = table.variable.numpy()
    scale = 0.01 / np.sqrt(16)
    assert np.abs(values).max() <= 2.5 * scale
    assert abs(values.mean()) < 0.02 * scale
    assert 0.8 * scale < values.std() < 1.1 * scale


def test_config_round_trip_keeps_shape_and_initializer():
    table = EmbeddingTable(5, 2, initializer=keras.initializers.Constant(3.0), name="words")
    copy = EmbeddingTable.from_config(table.get_config())
    assert (copy.rows, copy.dim, copy.name) == (5, 2, "words")
    np.testing.assert_array_equal(copy(tf.constant([4])), [[3.0, 3.0]])


@pytest.mark.parametrize("rows, dim", [(0, 3), (3, 0)])
def test_empty_shape_is_refused(rows, dim):
    with pytest.raises(ValueError, match="must be positive"):
        EmbeddingTable(rows, dim)


def test_create_tables_shares_by_name_and_refuses_another_shape():
    word = {"name": "query", "table": "word", "rows": 10, "dim": 4, "initializer": None}
    plain = {"name": "age", "table": None, "rows": 1, "dim": 0, "initializer": None}
    tables = create_tables([word, {**word, "name": "title"}, {**word, "table": "a/b"}, plain])
    assert sorted(tables) == ["a/b", "word"]
    with pytest.raises(ValueError, match="'title' needs a table of 11 x 4, .* 'word' .* is 10 x 4"):
        create_tables([word, {**word, "name": "title", "rows": 11}])


def test_padding_of_sequences_is_not_read():
    table = make()
    ids = np.array([[5, 2, -1], [-1, -1, -1], [5, 9, -1]])
    upstream = np.random.default_rng(1).normal(size=(3, 3, 3)).astype("float32")
    with tf.GradientTape() as tape:
        rows = table(tf.constant(ids))
    gradient = tape.gradient(rows, table.variable, tf.constant(upstream))
    assert sorted(gradient.indices.numpy()) == [0, 2, 5, 5]
    expected = np.zeros((7, 3))
    np.add.at(expected, np.where(ids < 7, ids, 0)[ids >= 0], upstream[ids >= 0])
    np.testing.assert_allclose(tf.convert_to_tensor(gradient), expected, rtol=1e-6)
    nothing = table(tf.constant([[-1, -1]]))
    np.testing.assert_array_equal(nothing, np.zeros((1, 2, 3)))


@pytest.mark.parametrize("given", ["outside", "inside"])
def test_rows_that_a_graph_reads_in_every_step(given):
    table, outside = make(), tf.range(2, 6, dtype=tf.int64)
    upstream = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")

    @tf.function(autograph=False)
    def read(drawn):
        ids = outside if given == "outside" else tf.constant([2, 3, 4, 5])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(table(ids) * upstream)
            loss += tf.reduce_sum(table(drawn))
        return table(ids), tape.gradient(loss, table.variable)

    rows, gradient = read(tf.constant([3, 0, 0]))
    assert isinstance(gradient, tf.Tensor)
    np.testing.assert_array_equal(rows, table.variable.numpy()[2:6])
    expected = np.zeros((7, 3), "float32")
    expected[2:6] += upstream
    np.add.at(expected, [3, 0, 0], 1)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.parametrize("ids", [[2, 3], [2, 3, 4, 4], [-1, 0, 1, 2], [4, 5, 6, 7], [3, 2, 1, 0]])
def test_other_constant_ids_have_sparse_gradients(ids):
    table = make()

    @tf.function(autograph=False)
    def read():
        with tf.GradientTape() as tape:
            rows = table(tf.constant(ids))
            loss = tf.reduce_sum(rows)
        return rows, tape.gradient(loss, table.variable)

    rows, gradient = read()
    assert isinstance(gradient, tf.IndexedSlices)
    np.testing.assert_array_equal(rows, reference(table.variable.numpy(), ids))
