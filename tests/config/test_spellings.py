"""The same config as different hands write it."""

from easyssl.backbone.plan import build_plan
from easyssl.config import parse_config
from easyssl.data.features.spec import build_feature_specs

PLAIN = """
train_input_path: 'train.csv'
model_dir: 'run'
train_config {
  optimizer_config { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.001 } } } }
  num_steps: 200
  log_step_count_steps: 10
}
eval_config { metrics_set { gauc { uid_field: 'C1' } } }
data_config {
  input_type: CSVInput
  separator: '\\t'
  label_fields: 'label'
  input_fields { input_name: 'label' input_type: INT32 }
  input_fields { input_name: 'C1' input_type: STRING default_val: 'none' }
  input_fields { input_name: 'C2' }
  input_fields { input_name: 'F1' input_type: FLOAT default_val: '0' }
}
feature_config {
  features { input_names: 'C1' feature_type: IdFeature hash_bucket_size: 100 embedding_dim: 8 }
  features { input_names: 'C2' feature_type: TagFeature hash_bucket_size: 100 embedding_dim: 8 }
  features { input_names: 'F1' feature_type: RawFeature boundaries: 1 boundaries: 2.5 embedding_dim: 8 }
}
model_config {
  model_class: 'RankModel'
  feature_groups { group_name: 'all' feature_names: 'C1' feature_names: 'C2' feature_names: 'F1' wide_deep: DEEP }
  embedding_regularization: 1e-05
  backbone {
    blocks {
      name: 'cross'
      inputs { feature_group_name: 'all' input_fn: 'lambda x: [x, x]' }
      recurrent { num_steps: 2 fixed_input_index: 0 keras_layer { class_name: 'Cross' } }
    }
    blocks {
      name: 'deep'
      inputs { feature_group_name: 'all' }
      keras_layer { class_name: 'Dense' st_params { fields { key: 'units' value { number_value: 8 } } } }
    }
    concat_blocks: 'cross'
    concat_blocks: 'deep'
    top_mlp { hidden_units: 16 hidden_units: 8 }
  }
  model_params { l2_regularization: 1e-06 }
}
"""
OLDER = """
# a 'team' of "hands", < { [
train_input_path: "tra" 'in.csv', model_dir: "run";
train_config: <
  optimizer_config: [{ adam_optimizer: { learning_rate: { constant_learning_rate: { learning_rate: 1.0e-3 } } } }];
  log_step_count_steps: 100
  num_steps: 0xc8 log_step_count_steps: 10  # the last one counts
>
eval_config { metrics_set: { auc {} gauc: <uid_field:"C1"> } }
data_config: {
  input_type: 10;
  separator: "\\011"
  label_fields: ["label"]
  input_fields: [{ input_name: "label", input_type: 0 }, < input_name: "C1" input_type: 2 default_val: "none" >]
  input_fields:{input_name:"C2"}input_fields:{input_name:"F1"input_type:FLOAT default_val:"0"}
}
feature_config: {
  features: { input_names: ["C1"] feature_type: 0 hash_bucket_size: 100 embedding_dim: 8 }
  features: { input_names: "C2" feature_type: 2; hash_bucket_size: 100; embedding_dim: 8; }
  features: <input_names: "F1", feature_type: RawFeature, boundaries: [1, 2.5], embedding_dim: 8>
}
model_config: {
  model_class: "RankModel"
  feature_groups: { group_name: "all" feature_names: ["C1", 'C2'] feature_names: "F1" wide_deep: 0 }
  embedding_regularization: .00001f
  backbone: {
    blocks: {
      name: "cross"
      inputs: { feature_group_name: "all" input_fn: "lambda x: "
        "[x, x]" }
      recurrent: { num_steps: 2 fixed_input_index: 0 keras_layer: { class_name: "Cross" } }
    }
    blocks: {
      name: "deep"
      inputs: { feature_group_name: "all" }
      keras_layer: { class_name: "Dense" st_params: { fields: { key: "units"; value: { number_value: 8.0 } } } }
    }
    concat_blocks: ["cross", "deep"]
    top_mlp: { hidden_units: [16, 8] }
  }
  model_params: < l2_regularization: 1E-6 >
}
"""


def test_different_spellings_are_the_same_config():
    plain, older = parse_config(PLAIN), parse_config(OLDER)
    assert older.message == plain.message
    assert older.warnings == plain.warnings == []
    plans = [build_plan(config, build_feature_specs(config)) for config in (plain, older)]
    assert repr(plans[0].main.outputs) == repr(plans[1].main.outputs)


def test_the_older_list_of_features_is_the_same_list():
    features = PLAIN[PLAIN.index("feature_config {") : PLAIN.index("model_config {")]
    lines = [line for line in features.splitlines() if line.startswith("  features")]
    older = PLAIN.replace(features, "\n".join(lines).replace("features {", "feature_configs: {") + "\n")
    configs = parse_config(PLAIN), parse_config(older)
    plain, found = (build_feature_specs(config) for config in configs)
    assert list(plain) == list(found) == ["C1", "C2", "F1"]
    for name, spec in found.items():
        assert spec.path.startswith("feature_configs[")
        assert {**vars(spec), "path": ""} == {**vars(plain[name]), "path": ""}
