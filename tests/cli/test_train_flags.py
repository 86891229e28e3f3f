"""The flags of `easyssl train` that choose devices and precision."""

import pytest

from easyssl.cli.main import main

CONFIG = """
model_dir: 'run'
train_input_path: 'rows.csv'
train_config {
  optimizer_config { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.1 } } } }
  num_steps: 1
}
data_config {
  batch_size: 31 label_fields: 'clk' input_type: CSVInput
  input_fields { input_name: 'clk' input_type: INT32 }
  input_fields { input_name: 'price' input_type: DOUBLE }
}
feature_config { features { input_names: 'price' feature_type: RawFeature } }
model_config {
  model_class: 'RankModel'
  feature_groups { group_name: 'all' feature_names: 'price' wide_deep: DEEP }
  backbone {
    blocks {
      name: 'tower' inputs { feature_group_name: 'all' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: 2 } }
    }
    concat_blocks: 'tower'
  }
}
"""
TWO = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'


@pytest.mark.parametrize(
    ("flags", "cluster", "message"),
    [
        (["--precision", "mixed_float1"], None, "no precision 'mixed_float1'; did you mean 'mixed_float16'?"),
        (["--strategy", "mirored"], None, "there is no strategy 'mirored'; did you mean 'mirrored'?"),
        (["--strategy", "multi_worker"], None, "the environment variable TF_CONFIG is not set"),
        (["--strategy", "multi_worker"], "{}", "TF_CONFIG: cluster is not an object"),
        (["--strategy", "multi_worker"], TWO, "31 rows cannot be shared evenly by 2 workers"),
        (["--strategy", "parameter_server"], TWO, "TF_CONFIG: cluster has no 'chief'"),
        (
            ["--strategy", "parameter_server", "--set", "train_config.jit_compile=true"],
            TWO,
            "train_config.jit_compile: XLA cannot read weights of parameter servers",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, monkeypatch, capsys, flags, cluster, message):
    (tmp_path / "my.config").write_text(CONFIG)
    (tmp_path / "rows.csv").write_text("1,2.0\n")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if cluster is not None:
        monkeypatch.setenv("TF_CONFIG", cluster)
    assert main(["train", str(tmp_path / "my.config"), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
