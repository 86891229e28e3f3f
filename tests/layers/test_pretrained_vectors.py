"""Tables that a file fills."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.data.item_vectors import write_vectors
from easyssl.errors import DataError
from easyssl.layers.feature_group import FeatureGroup
from easyssl.layers.pretrained_vectors import PretrainedVectors

pytestmark = pytest.mark.both_keras

IDS = ["2", "b", "0", "9"]
VECTORS = np.arange(8, dtype=np.float32).reshape(4, 2) + 1


@pytest.fixture
def path(tmp_path):
    write_vectors(str(tmp_path / "v.npz"), IDS, VECTORS)
    return str(tmp_path / "v.npz")


@pytest.mark.parametrize(
    ("kind", "size", "entries", "expected"),
    [
        ("integer", 4, (), [VECTORS[2], 0, VECTORS[0], 0]),
        ("vocabulary", 3, ("9", "x", "b"), [VECTORS[3], 0, VECTORS[1]]),
        ("hash", 1, (), [VECTORS[0]]),
    ],
)
def test_rows_are_the_vectors_of_their_ids(path, kind, size, entries, expected):
    table = PretrainedVectors(path, kind, size, entries)((size, 2))
    np.testing.assert_array_equal(table, np.stack([np.broadcast_to(row, 2) for row in expected]))


def test_hashed_ids_are_where_the_feature_looks_them_up(path):
    table = PretrainedVectors(path, "hash", 1000)((1000, 2))
    rows = tf.gather(table, tf.strings.to_hash_bucket_fast(IDS, 1000))
    np.testing.assert_array_equal(rows, VECTORS)
    assert np.count_nonzero(np.any(table, axis=1)) == 4


def test_what_does_not_fit_is_an_error(path):
    for shape, text in (((4, 3), "vectors of 2 numbers, expected 3"), ((5, 2), "is for 4 ids")):
        with pytest.raises(DataError, match=text):
            PretrainedVectors(path, "integer", 4)(shape)
    with pytest.raises(DataError, match="no id of it is one of the feature; the first is '2'"):
        PretrainedVectors(path, "vocabulary", 1, ("x",))((1, 2))


def test_its_config_makes_it_again(path):
    made = keras.initializers.deserialize(
        keras.initializers.serialize(PretrainedVectors(path, "vocabulary", 2, ("b", "9")))
    )
    np.testing.assert_array_equal(made((2, 2)), VECTORS[[1, 3]])


def make_group(path, trainable):
    feature = {
        "name": "item",
        "kind": "id",
        "table": "text",
        "rows": 4,
        "dim": 2,
        "width": 2,
        "combiner": "sum",
        "weighted": False,
        "initializer": None,
        "max_seq_len": 0,
        "sequence_combiner": "",
        "pretrained": {"path": path, "kind": "integer", "size": 4, "entries": [], "trainable": trainable},
    }
    group = FeatureGroup([feature])
    with tf.GradientTape() as tape:
        output = group({"item": tf.constant([2, -1, 1])})
        loss = tf.reduce_sum(output.plain[0])
    np.testing.assert_array_equal(output.plain[0], [VECTORS[0], [0, 0], [0, 0]])
    return group, output, tape, loss


def test_a_frozen_table_is_no_weight_to_train_nor_to_regularize(path):
    group, output, tape, _ = make_group(path, trainable=False)
    assert group.trainable_weights == [] and len(group.non_trainable_weights) == 1
    assert tape.watched_variables() == () and output.embeddings == []
    assert group.tables["text"].fixed


def test_a_table_that_is_trained_starts_with_the_vectors(path):
    group, output, tape, loss = make_group(path, trainable=True)
    assert len(group.trainable_weights) == 1 and len(output.embeddings) == 1
    gradient = tape.gradient(loss, group.tables["text"].variable)
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), [[0, 0], [1, 1], [1, 1], [0, 0]])
    assert not group.tables["text"].fixed
