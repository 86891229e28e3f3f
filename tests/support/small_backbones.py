"""Small backbones over a few rows, for tests of what they compute."""

import numpy as np
import tensorflow as tf

from easyssl.config import parse_config
from easyssl.models import build_model

DATA = """
model_dir: "unused"
data_config {
  input_type: CSVInput label_fields: "y" batch_size: 4 num_epochs: 1
  input_fields { input_name: "y" input_type: INT32 }
  input_fields { input_name: "user" input_type: STRING }
  input_fields { input_name: "item" input_type: STRING }
  input_fields { input_name: "price" input_type: FLOAT }
  input_fields { input_name: "age" input_type: FLOAT }
  input_fields { input_name: "hist" input_type: STRING }
}
feature_config {
  features { input_names: "user" feature_type: IdFeature num_buckets: 10 embedding_dim: 4 }
  features { input_names: "item" feature_type: IdFeature num_buckets: 10 embedding_dim: 4 embedding_name: "item" }
  features { input_names: "price" feature_type: RawFeature }
  features { input_names: "age" feature_type: RawFeature }
  features {
    input_names: "hist" feature_type: SequenceFeature num_buckets: 10 embedding_dim: 4 embedding_name: "item"
  }
}
"""
GROUPS = """
feature_groups { group_name: "numbers" feature_names: "price" feature_names: "age" }
feature_groups { group_name: "user" feature_names: "user" }
feature_groups { group_name: "item" feature_names: "item" }
feature_groups { group_name: "user_item" feature_names: "user" feature_names: "item" }
feature_groups { group_name: "seq" feature_names: "hist" feature_names: "item" }
"""
ROWS = {
    "user": np.array([b"1", b"2", b"3", b"9"], object),
    "item": np.array([b"4", b"5", b"4", b"0"], object),
    "price": np.array([0.5, -1.0, 2.0, 0.0], np.float32),
    "age": np.array([1.0, 2.0, 3.0, 4.0], np.float32),
    "hist": np.array([b"1|2|3", b"4", b"5|6", b"7|8|9|1"], object),
}
NUMBERS = np.stack([ROWS["price"], ROWS["age"]], 1)


def model_of(backbone: str, extra: str = "", loss: str = "L2_LOSS"):
    text = f"""{DATA} model_config {{
      model_class: "RankModel" loss_type: {loss} {GROUPS} model_params {{ }} {extra}
      backbone {{ {backbone} }}
    }}"""
    return build_model(parse_config(text, "test.config"))


def block(name: str, inputs: str, layer: str = "", more: str = "") -> str:
    given = " ".join(f"inputs {{ {one} }}" for one in inputs.split(";"))
    return f'blocks {{ name: "{name}" {given} {layer} {more} }}'


def dense(units: int, **params: object) -> str:
    fields = f'fields {{ key: "units" value {{ number_value: {units} }} }}'
    for key, value in params.items():
        fields += f' fields {{ key: "{key}" value {{ string_value: "{value}" }} }}'
    return f'keras_layer {{ class_name: "Dense" st_params {{ {fields} }} }}'


def group(name: str) -> str:
    return f'feature_group_name: "{name}"'


def run(model, training=False, return_blocks=()):
    return model.backbone(model.transform(ROWS), training=training, return_blocks=return_blocks)


def weights_of(layer):
    return [np.asarray(tf.convert_to_tensor(w)) for w in layer.weights]


SEQUENCE = block("seq", group("seq"), "input_layer { output_seq_and_normal_feature: true }")
