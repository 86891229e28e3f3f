"""Short texts of backbones, their plans, and how they are refused."""

import pytest

from easyssl.backbone.plan import build_plan
from easyssl.config import parse_config
from easyssl.data.features.spec import build_feature_specs
from easyssl.errors import ConfigError

FEATURES = """
data_config {
  input_fields { input_name: 'user' input_type: STRING }
  input_fields { input_name: 'age' input_type: INT64 }
  input_fields { input_name: 'item' input_type: STRING }
  input_fields { input_name: 'history' input_type: STRING }
  input_fields { input_name: 'recent' input_type: STRING }
  input_fields { input_name: 'price' input_type: FLOAT }
  input_fields { input_name: 'f1' input_type: STRING }
  input_fields { input_name: 'f2' input_type: STRING }
  input_fields { input_name: 'f3' input_type: STRING }
}
feature_config {
  features { input_names: 'user' hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'age' num_buckets: 10 embedding_dim: 8 }
  features { input_names: 'item' hash_bucket_size: 10 embedding_dim: 4 }
  features { input_names: 'history' feature_type: SequenceFeature hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'recent' feature_type: SequenceFeature hash_bucket_size: 10 embedding_dim: 8
             sequence_combiner { attention {} } }
  features { input_names: 'price' feature_type: RawFeature }
  features { input_names: 'f1' hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'f2' hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'f3' hash_bucket_size: 10 embedding_dim: 8 }
}
"""
GROUPS = """
  feature_groups { group_name: 'user' feature_names: ['user', 'age'] wide_deep: DEEP }
  feature_groups { group_name: 'item' feature_names: ['item', 'f[1-3]'] wide_deep: DEEP }
  feature_groups { group_name: 'sequence' feature_names: ['item', 'history'] wide_deep: DEEP }
"""
MLP = "keras_layer { class_name: 'MLP' mlp { hidden_units: 8 } }"


def plan_of(backbone, groups=GROUPS, features=FEATURES):
    config = parse_config(f"{features} model_config {{ {groups} backbone {{ {backbone} }} }}", "a.config")
    return build_plan(config, build_feature_specs(config))


def refused(backbone, groups=GROUPS):
    """Returns the field path and the text of the error."""
    with pytest.raises(ConfigError) as error:
        plan_of(backbone, groups)
    place, path, text = str(error.value).split(": ", 2)
    assert place.startswith("a.config:") and "\n" not in text
    return path.removeprefix("model_config.").removeprefix("backbone."), text


def warnings(plan):
    return [warning.split(": ", 2)[1:] for warning in plan.warnings]


def block(name, *inputs, layer="", more=""):
    return f"blocks {{ name: '{name}' {' '.join(f'inputs {{ {i} }}' for i in inputs)} {layer} {more} }} "


def group(name):
    return f"feature_group_name: '{name}'"


def of(name, more=""):
    return f"block_name: '{name}' {more}"


USER = block("u", group("user"), layer=MLP)
ITEM = block("i", group("item"), layer=MLP)
