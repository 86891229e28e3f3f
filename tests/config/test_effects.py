import pytest

from easyssl.config import parse_config
from easyssl.errors import ConfigError


def test_a_field_without_effect_gives_one_warning():
    text = """train_config { sync_replicas: false
      startup_delay_steps: 15 }
feature_config {
  features { input_names: 'a' max_partitions: 4 }
  features { input_names: 'b' max_partitions: 4 }
  features { input_names: 'c' max_partitions: 4 }
}"""
    assert parse_config(text, "a.config").warnings == [
        "a.config:1:16: train_config.sync_replicas has no effect: with PSStrategy no worker waits, with the mirrored strategies all do",
        "a.config:4:31: feature_config.features[0].max_partitions has no effect (and in 2 more places): "
        "the table stays whole",
    ]


def test_the_older_list_of_features_wins():
    config = parse_config("feature_configs { input_names: 'a' }\nfeature_config { features {} }", "a.config")
    assert config.warnings == [
        "a.config:2:1: feature_config has no effect: feature_configs is set, the older place of features"
    ]


def test_what_is_for_the_whole_model_is_read_from_the_first_optimizer():
    text = """train_config {
  optimizer_config { use_moving_average: true embedding_learning_rate_multiplier: 2 }
  optimizer_config { use_moving_average: false embedding_learning_rate_multiplier: 3 }
}"""
    assert parse_config(text, "a.config").warnings == [
        "a.config:3:48: train_config.optimizer_config[1].embedding_learning_rate_multiplier has no effect: "
        "it is read from the first optimizer_config, for the whole model"
    ]


def test_setting_the_default_asks_for_nothing():
    config = parse_config("train_config { sync_replicas: true write_graph: true }")
    assert config.warnings == [] and config.refused == ()


def test_what_would_change_results_is_refused_only_when_asked():
    text = """binary_train_input { label_path: 'a.bin' }
data_config { input_type: KafkaInput }
model_config { kd { pred_name: 'logits' } dssm { temperature: 2 } }"""
    config = parse_config(text, "a.config")
    assert {finding.path for finding in config.refused} == {
        "binary_train_input",
        "data_config.input_type",
        "model_config.dssm",
    }
    config.refuse("feature_config", "eval_config")
    with pytest.raises(
        ConfigError, match=r"a.config:2:15: data_config.input_type: not supported: KafkaInput: "
    ):
        config.refuse("data_config")
    with pytest.raises(ConfigError, match="binary_train_input: not supported: convert the rows"):
        config.refuse()


def test_an_override_can_take_back_what_is_refused():
    config = parse_config(
        "kafka_train_input { topic: 't' }", overrides=["train_input_path=a.csv", "train_config.num_steps=1"]
    )
    config.refuse()
