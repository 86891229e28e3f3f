"""From config text to looked-up features: spec, transform and layers fit together."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.config import parse_config
from easyssl.data.features.spec import build_feature_specs, column_types, group_features
from easyssl.data.transform import FeatureTransform
from easyssl.layers.embedding_table import create_tables
from easyssl.layers.feature_group import FeatureGroup
from easyssl.layers.input_layer import InputLayer

pytestmark = pytest.mark.both_keras

CONFIG = """
data_config {
  input_fields { input_name: "brand" }
  input_fields { input_name: "price" input_type: INT32 }
  input_fields { input_name: "tags" }
  input_fields { input_name: "brands" }
  input_fields { input_name: "cates" }
}
feature_config {
  features { input_names: "brand" hash_bucket_size: 50 embedding_dim: 4 embedding_name: "brand" }
  features { input_names: "price" feature_type: RawFeature boundaries: [10, 20] embedding_dim: 2 }
  features { input_names: "tags" feature_type: TagFeature hash_bucket_size: 9 embedding_dim: 3 kv_separator: ":" }
  features {
    input_names: "brands" feature_type: SequenceFeature hash_bucket_size: 50 embedding_dim: 4
    embedding_name: "brand" max_seq_len: 3 sequence_combiner { attention {} }
  }
  features {
    input_names: "cates" feature_type: SequenceFeature num_buckets: 7 embedding_dim: 2
    sequence_combiner { attention {} } empty_sequence: NO_STEP
  }
}
model_config {
  feature_groups { group_name: "all" feature_names: ["cates", "brand", "tags", "brands", "price"] }
  feature_groups { group_name: "wide" feature_names: ["brand", "price", "tags"] wide_deep: WIDE }
}
"""
RAW = {
    "brand": ["a", "", "c"],
    "price": [10, 0, 25],
    "tags": ["x:1|y:0.5", "", "z:2"],
    "brands": ["a|b|c|d|e", "", "c"],
    "cates": ["1|2", "", "6|6|6|6|6|6|6|6|6"],
}


@pytest.fixture(scope="module")
def built():
    config = parse_config(CONFIG)
    specs = build_feature_specs(config)
    deep = group_features(specs, ["cates", "brand", "tags", "brands", "price"], "all")
    wide = group_features(specs, ["brand", "price", "tags"], "wide", wide_output_dim=1)
    tables = create_tables([*deep, *wide])
    groups = FeatureGroup(deep, tables=tables), FeatureGroup(wide, tables=tables)
    for group in groups:
        group.build(None)
    return specs, column_types(config), groups


def tensors(rows=slice(None)):
    return {name: tf.constant(cells[rows]) for name, cells in RAW.items()}


def test_groups_have_the_tables_and_widths_of_the_config(built):
    specs, columns, (deep, wide) = built
    assert {name: table.variable.shape.as_list() for name, table in deep.tables.items()} == {
        "all/cates": [7, 2],
        "brand": [50, 4],
        "all/tags": [9, 3],
        "all/price": [3, 2],
    }
    assert [table.variable.shape.as_list() for table in wide.tables.values()] == [[50, 1], [3, 1], [9, 1]]
    features = FeatureTransform(specs, columns)(tensors())
    assert InputLayer()(deep(features)).shape == (3, 4 + 3 + 2 + 2 + 4)
    assert InputLayer()(wide(features)).shape == (3, 3)
    sequence, lengths, plain = InputLayer(output_seq_and_normal_feature=True)(deep(features))
    assert sequence.shape == (3, 16, 2 + 4) and plain.shape == (3, 4 + 3 + 2)
    assert lengths.numpy().tolist() == [2, 0, 9]


def test_a_sequence_that_is_pooled_by_convolutions():
    text = CONFIG.replace(
        "sequence_combiner { attention {} } empty",
        "sequence_combiner { text_cnn { filter_sizes: [2, 3] num_filters: [4, 2] pad_sequence_length: 5 } } empty",
    )
    config = parse_config(text)
    specs = build_feature_specs(config)
    assert (specs["cates"].width, specs["cates"].pooled_width) == (2, 6)
    assert (specs["brands"].pooled_width, specs["brand"].pooled_width) == (4, 4)
    group = FeatureGroup(group_features(specs, ["cates", "brand"], "all"))
    features = FeatureTransform(specs, column_types(config))(tensors())
    assert InputLayer()(group(features)).shape == (3, 6 + 4)
    assert group.poolers["cates"].pad_sequence_length == 5


def test_a_wide_group_adds_up_the_weights_of_a_sequence(built):
    specs, columns, _ = built
    group = FeatureGroup(group_features(specs, ["cates", "brands"], "wide", wide_output_dim=1))
    output = group(FeatureTransform(specs, columns)(tensors()))
    weights = group.tables["wide/cates"].variable.numpy()[:, 0]
    expected = [[weights[1] + weights[2]], [0.0], [9 * weights[6]]]
    np.testing.assert_allclose(output.pooled[0], expected, rtol=1e-6)
    assert InputLayer(only_output_feature_list=True)(output)[1].shape == (3, 1)


def test_key_and_history_read_the_same_row(built):
    specs, columns, (deep, _) = built
    output = deep(FeatureTransform(specs, columns)(tensors()))
    brand, history = output.plain[0], output.sequences[1]
    np.testing.assert_array_equal(brand[0], history[0, 0])
    np.testing.assert_array_equal(brand[2], history[2, 0])


@pytest.mark.parametrize("length_buckets", [(1, 2, 9), (10, 50), (64,)])
def test_rounding_of_lengths_changes_nothing_but_padding(built, length_buckets):
    specs, columns, (deep, _) = built
    expected = deep(FeatureTransform(specs, columns)(tensors()))
    got = deep(FeatureTransform(specs, columns, length_buckets)(tensors()))
    np.testing.assert_allclose(InputLayer()(got), InputLayer()(expected), rtol=1e-5, atol=1e-7)
    for one, other in zip(got.sequences, expected.sequences, strict=True):
        steps = min(one.shape[1], other.shape[1])
        np.testing.assert_array_equal(one[:, :steps], other[:, :steps])
        assert not np.any(one[:, steps:]) and not np.any(other[:, steps:])


def test_a_row_is_the_same_alone(built):
    specs, columns, (deep, wide) = built
    transform = FeatureTransform(specs, columns)
    for group in (deep, wide):
        whole = InputLayer()(group(transform(tensors())))
        for row in range(3):
            alone = InputLayer()(group(transform(tensors(slice(row, row + 1)))))
            np.testing.assert_allclose(alone[0], whole[row], rtol=1e-5, atol=1e-7)
