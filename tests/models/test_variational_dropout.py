"""Learned dropout of the features of a model's groups."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.config import parse_config
from easyssl.errors import ConfigError
from easyssl.models import build_model

pytestmark = pytest.mark.both_keras

CONFIG = """
data_config {
  label_fields: 'clk' input_type: CSVInput
  input_fields { input_name: 'clk' input_type: FLOAT }
  input_fields { input_name: 'user' input_type: STRING }
  input_fields { input_name: 'age' input_type: FLOAT }
  input_fields { input_name: 'hist' input_type: STRING }
}
feature_config {
  features { input_names: 'user' embedding_dim: 4 hash_bucket_size: 9 }
  features { input_names: 'age' feature_type: RawFeature }
  features { input_names: 'hist' feature_type: SequenceFeature embedding_dim: 4 hash_bucket_size: 9 }
}
model_config {
  model_class: 'RankModel'
  feature_groups { group_name: 'all' feature_names: 'user' feature_names: 'age' wide_deep: DEEP }
  feature_groups { group_name: 'seq' feature_names: 'hist' wide_deep: DEEP }
  backbone {
    blocks { name: 'all' inputs { feature_group_name: 'all' } input_layer { only_output_feature_list: true } }
    blocks { name: 'deep' inputs { block_name: 'all' } keras_layer { class_name: 'Concatenate' } }
    %s
    concat_blocks: 'deep'
  }
  variational_dropout { regularization_lambda: 0.5 %s }
}
"""
ROWS = {"user": np.array([b"a", b"b"], object), "age": np.array([2.0, -1.0], np.float32)}


@pytest.mark.parametrize(("wise", "kept"), [("", 2), ("embedding_wise_variational_dropout: true", 5)])
def test_features_are_weighed_and_what_is_kept_costs(wise, kept):
    model = build_model(parse_config(CONFIG % ("", wise)))
    model.create_variables()
    features = model.transform({**ROWS, "hist": np.array([b"", b""], object)})
    values = model.backbone(features, training=False, return_blocks=["all"])[1]["all"]
    np.testing.assert_allclose(values[1], ROWS["age"][:, None] / 2)
    labels = {"clk": tf.constant([0.0, 1.0])}
    losses = model.compute_losses(features, labels, training=True)
    np.testing.assert_allclose(losses.weighted["all_variational_dropout_loss"], 0.5 * kept * 0.5 / 2)
    np.testing.assert_allclose(losses.metrics["all_variational_dropout_kept"], 0.5)
    assert (
        "all_variational_dropout_loss" not in model.compute_losses(features, labels, training=False).weighted
    )


def test_groups_that_are_read_as_sequences_are_refused():
    block = """blocks {
      name: 'hist' inputs { feature_group_name: 'seq' } input_layer { output_seq_and_normal_feature: true }
    }"""
    with pytest.raises(ConfigError, match=r"blocks\[2\].*does not go with model_config.variational_dropout"):
        build_model(parse_config(CONFIG % (block, "")))
