"""A small config with data, and the command run inside this process."""

import pathlib
import re

import numpy as np
import pytest

CONFIG = """\
train_input_path: "train.csv"
eval_input_path: "eval.csv"
train_config {
  optimizer_config {
    adam_optimizer {
      learning_rate { constant_learning_rate { learning_rate: 0.01 } }
    }
  }
  num_steps: 4
  save_checkpoints_steps: 2
}
eval_config { metrics_set { auc {} } }
data_config {
  batch_size: 8
  label_fields: "clk"
  input_type: CSVInput
  separator: ","
  input_fields { input_name: "clk" input_type: INT32 }
  input_fields { input_name: "user_id" input_type: STRING }
  input_fields { input_name: "age" input_type: INT32 default_val: "3" }
  input_fields { input_name: "price" input_type: FLOAT }
  input_fields { input_name: "hist" input_type: STRING }
}
feature_config {
  features { input_names: "user_id" feature_type: IdFeature embedding_dim: 4 hash_bucket_size: 100 }
  features { input_names: "age" feature_type: IdFeature embedding_dim: 4 num_buckets: 10 }
  features { input_names: "price" feature_type: RawFeature }
  features { input_names: "hist" feature_type: SequenceFeature embedding_dim: 4 hash_bucket_size: 100 }
}
model_config {
  model_class: "RankModel"
  feature_groups { group_name: "flat" feature_names: "user_id" feature_names: "age" feature_names: "price" }
  feature_groups { group_name: "seq" feature_names: "hist" }
  backbone {
    blocks {
      name: "deep"
      inputs { feature_group_name: "flat" }
      keras_layer { class_name: "MLP" mlp { hidden_units: [8, 4] } }
    }
    blocks {
      name: "seq"
      inputs { feature_group_name: "seq" }
      input_layer { output_seq_and_normal_feature: true }
    }
    blocks {
      name: "attended"
      inputs { block_name: "seq" input_slice: "[0]" }
      lambda { expression: "lambda x: tf.reduce_sum(x, axis=1)" }
    }
    concat_blocks: ["deep", "attended"]
  }
  model_params { l2_regularization: 1e-5 }
}
model_dir: "MODEL_DIR"
"""


def rows(count: int, seed: int) -> str:
    """CSV lines in which the click depends on the price, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        price = rng.random()
        hist = "|".join(f"i{k}" for k in rng.integers(0, 30, rng.integers(1, 6)))
        lines.append(
            f"{int(rng.random() < price)},u{rng.integers(0, 50)},{rng.integers(0, 10)},{price:.4f},{hist}"
        )
    return "\n".join(lines) + "\n"


def make_project(folder: pathlib.Path) -> pathlib.Path:
    """Puts `my.config`, `train.csv` and `eval.csv` into a folder; the model goes to `model/`."""
    (folder / "my.config").write_text(CONFIG.replace("MODEL_DIR", str(folder / "model")))
    (folder / "train.csv").write_text(rows(64, seed=1))
    (folder / "eval.csv").write_text(rows(32, seed=2))
    return folder


@pytest.fixture
def project(tmp_path) -> pathlib.Path:
    """A project that works and has not been trained."""
    return make_project(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> pathlib.Path:
    """A project that has been trained and not exported; tests only read its model."""
    from easyssl.cli.main import main

    folder = make_project(tmp_path_factory.mktemp("trained"))
    assert main(["train", str(folder / "my.config"), "--set", "export_config.exporter_type=none"]) == 0
    return folder


@pytest.fixture
def easyssl(capfd):
    """Runs the command in this process and returns (exit code, stdout, stderr)."""
    from easyssl.cli.main import main

    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        # TensorFlow's own lines: the command silences them when it is what loads TensorFlow, as it is not here.
        return code, out, re.sub(r"^[IWE]\d{4} \d\d:\d\d:.*\n", "", err, flags=re.MULTILINE)

    return run
