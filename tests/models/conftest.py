"""A two-tower config over few columns, with rows and an item file to go with it."""

import numpy as np
import pytest

COLUMNS = """
data_config {
  input_type: CSVInput label_fields: 'clk' batch_size: 8 num_epochs: 1 shuffle: false
  input_fields { input_name: 'clk' input_type: FLOAT }
  input_fields { input_name: 'user' input_type: STRING }
  input_fields { input_name: 'age' input_type: FLOAT }
  input_fields { input_name: 'item' input_type: STRING }
  input_fields { input_name: 'brand' input_type: STRING }
  %(data)s
}
feature_config {
  features { input_names: 'user' feature_type: IdFeature num_buckets: 20 embedding_dim: 4 }
  features { input_names: 'age' feature_type: RawFeature }
  features { input_names: 'item' feature_type: IdFeature hash_bucket_size: 5000 embedding_dim: 4 }
  features { input_names: 'brand' feature_type: IdFeature num_buckets: 10 embedding_dim: 4 }
}
"""
MODEL = """
model_config {
  model_class: 'MatchModel'
  feature_groups { group_name: 'user' feature_names: 'user' feature_names: 'age' wide_deep: DEEP }
  feature_groups { group_name: 'item' feature_names: 'item' feature_names: 'brand' wide_deep: DEEP }
  backbone {
    blocks {
      name: 'user_tower' inputs { feature_group_name: 'user' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: 6 hidden_units: 3 use_bn: false final_activation: 'linear' } }
    }
    blocks {
      name: 'item_tower' inputs { feature_group_name: 'item' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: 6 hidden_units: 3 use_bn: false final_activation: 'linear' } }
    }
    output_blocks: ['user_tower', 'item_tower']
  }
  model_params { %(params)s }
  %(model)s
}
"""
LIST_WISE = "loss_type: SOFTMAX_CROSS_ENTROPY"


def text_of(model=LIST_WISE, params="", data="", head="model_dir: 'run'"):
    """Returns the text of a config of two towers."""
    return head + COLUMNS % {"data": data} + MODEL % {"params": params, "model": model}


def rows_of(number, seed=0):
    """Returns raw columns of a few rows."""
    rng = np.random.default_rng(seed)

    def texts(high):
        return np.array([b"%d" % i for i in rng.integers(0, high, number)], object)

    return {
        "user": texts(20),
        "age": rng.normal(size=number).astype(np.float32),
        "item": texts(12),
        "brand": texts(10),
    }


@pytest.fixture
def text():
    """Makes the text of a config of two towers."""
    return text_of


@pytest.fixture
def rows():
    """Makes raw columns."""
    return rows_of
