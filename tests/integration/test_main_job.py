"""The main job from end to end on made-up data: generate, check, train, evaluate, predict, export, serve."""

import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest

from easyssl.cli.main import main
from easyssl.data.prepare.taobao import COLUMNS

SEQUENCES = ("tag_category_list", "tag_brand_list")
GROUPS = {
    "user": ["user_id", "age_level", "occupation"],
    "item": ["adgroup_id", "cate_id", "brand", "price"],
    "history": list(SEQUENCES),
}
BACKBONE = """
  backbone {
    blocks {
      name: 'history' inputs { feature_group_name: 'history' }
      input_layer { output_seq_and_normal_feature: true }
    }
    packages {
      name: 'augment'
      blocks {
        name: 'augmented' inputs { block_name: 'history' }
        keras_layer { class_name: 'SeqAugment' seq_aug { mask_rate: 0.6 crop_rate: 0.2 reorder_rate: 0.6 } }
      }
    }
    packages {
      name: 'encoder'
      blocks {
        name: 'encoded' inputs { use_package_input: true }
        keras_layer {
          class_name: 'BST'
          bst {
            hidden_size: 8 num_attention_heads: 2 num_hidden_layers: 1 intermediate_size: 16 hidden_act: 'gelu'
            max_position_embeddings: 50 hidden_dropout_prob: 0.1 attention_probs_dropout_prob: 0
            output_all_token_embeddings: false
          }
        }
      }
    }
    blocks {
      name: 'contrastive'
      inputs { package_name: 'encoder' package_input: 'augment' }
      inputs { package_name: 'encoder' package_input: 'augment' }
      merge_inputs_into_list: true
      keras_layer {
        class_name: 'AuxiliaryLoss'
        st_params {
          fields { key: 'loss_type' value { string_value: 'nce_loss' } }
          fields { key: 'loss_weight' value { number_value: 0.1 } }
        }
      }
    }
    blocks {
      name: 'all'
      inputs { package_name: 'encoder' package_input: 'history' }
      inputs { feature_group_name: 'user' }
      inputs { feature_group_name: 'item' }
    }
    concat_blocks: 'all'
    top_mlp { hidden_units: [16] }
  }
  model_params { l2_regularization: 1e-6 }
"""


def config_text(folder) -> str:
    fields, features = [], []
    for name in COLUMNS:
        kind = {"clk": "INT32", "price": "FLOAT"}.get(name, "STRING")
        fields.append(f"input_fields {{ input_name: '{name}' input_type: {kind} }}")
        if name == "price":
            features.append(f"features {{ input_names: '{name}' feature_type: RawFeature }}")
        elif name != "clk":
            feature_type = "SequenceFeature" if name in SEQUENCES else "IdFeature"
            features.append(
                f"features {{ input_names: '{name}' feature_type: {feature_type} embedding_dim: 4 "
                "hash_bucket_size: 1000 }"
            )
    groups = [
        f"feature_groups {{ group_name: '{group}' feature_names: {json.dumps(names)} }}"
        for group, names in GROUPS.items()
    ]
    return "\n".join(
        [
            "train_input_path: 'data/train.csv'",
            "eval_input_path: 'data/test.csv'",
            f"model_dir: '{folder}/model'",
            "train_config {",
            "  optimizer_config { adam_optimizer { learning_rate { constant_learning_rate {",
            "    learning_rate: 0.01 } } } }",
            "  num_steps: 6 save_checkpoints_steps: 3 log_step_count_steps: 2",
            "}",
            "eval_config { metrics_set { auc {} } }",
            "data_config { batch_size: 64 label_fields: 'clk' input_type: CSVInput",
            *fields,
            "}",
            "feature_config {",
            *features,
            "}",
            "model_config { model_class: 'RankModel'",
            *groups,
            BACKBONE,
            "}",
        ]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which data has been made and a model trained and exported."""
    path = tmp_path_factory.mktemp("job")
    (path / "my.config").write_text(config_text(path))
    assert (
        main(["data", "generate", "taobao", "--out", f"{path}/data", "--rows", "400", "--test-rows", "90"])
        == 0
    )
    assert main(["train", f"{path}/my.config"]) == 0
    return path


@pytest.fixture(scope="module")
def scored(folder):
    """The test rows with their predictions, as dictionaries of text."""
    out = folder / "scored.csv"
    assert (
        main(["predict", f"{folder}/my.config", "--input", f"{folder}/data/test.csv", "--output", str(out)])
        == 0
    )
    return rows_of(out)


def rows_of(path, names=None):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, names))


def numbers(rows, name):
    return np.array([row[name] for row in rows], np.float32)


def records(folder, kind):
    lines = (folder / "model" / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def test_training_leaves_a_record_checkpoints_and_an_export(folder):
    assert [r["step"] for r in records(folder, "train")] == [2, 4, 6]
    assert all(
        {"cross_entropy_loss", "contrastive_nce_loss"} <= set(r["losses"]) for r in records(folder, "train")
    )
    assert [r["step"] for r in records(folder, "eval")] == [3, 6]
    assert sorted(p.name for p in (folder / "model" / "ckpt").iterdir()) == ["step-00000003", "step-00000006"]
    assert (folder / "model" / "export" / "1" / "saved_model.pb").is_file()


def test_a_finished_run_is_not_exported_again(folder, capfd):
    capfd.readouterr()
    assert main(["train", f"{folder}/my.config"]) == 0
    exports = folder / "model" / "export"
    assert capfd.readouterr().err.splitlines()[-1] == f"step 6 is exported already: {exports / '1'}"
    assert [path.name for path in exports.iterdir()] == ["1"]


def test_evaluate_prints_what_training_reported(folder, capfd):
    capfd.readouterr()
    assert main(["evaluate", f"{folder}/my.config"]) == 0
    found = json.loads(capfd.readouterr().out)
    expected = records(folder, "eval")[-1]["metrics"]
    assert found.keys() == expected.keys() and "auc" in found
    for name in expected:
        assert found[name] == pytest.approx(expected[name], rel=1e-5)


def test_predictions_stand_beside_their_rows(folder, scored):
    given = rows_of(folder / "data" / "test.csv", COLUMNS)
    assert list(scored[0]) == [*COLUMNS, "logits", "probs"]
    for name in COLUMNS:
        if name != "price":
            assert [row[name] for row in scored] == [row[name] for row in given]
    np.testing.assert_array_equal(numbers(scored, "price"), numbers(given, "price"))
    expected = 1 / (1 + np.exp(-numbers(scored, "logits").astype(np.float64)))
    np.testing.assert_allclose(numbers(scored, "probs"), expected, rtol=1e-5)
    assert len(set(numbers(scored, "logits"))) > len(scored) // 2


def test_parquet_holds_the_same(folder, scored):
    out = folder / "scored.parquet"
    words = ["--input", f"{folder}/data/test.csv", "--output", str(out), "--prefix", "model_"]
    assert main(["predict", f"{folder}/my.config", *words]) == 0
    table = pyarrow.parquet.read_table(out).to_pydict()
    assert list(table) == [*COLUMNS, "model_logits", "model_probs"]
    assert table["user_id"] == [row["user_id"] for row in scored]
    np.testing.assert_allclose(table["model_logits"], numbers(scored, "logits"), rtol=1e-5, atol=1e-6)


SERVE = """
import csv, json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "easyssl":
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
with open(sys.argv[2], newline="") as file:
    rows = list(csv.DictReader(file))
columns = {
    name: tf.constant([float(r[name]) if spec.dtype == tf.float32 else r[name] for r in rows], spec.dtype)
    for name, spec in serve.structured_input_signature[1].items()
}
print(json.dumps(serve(**columns)["logits"].numpy().tolist()))
"""


def served(model, rows_file):
    """Scores a CSV with a header by an exported model, in a process without easyssl."""
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(model), str(rows_file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout.splitlines()[-1]), np.float32)


def test_exported_model_scores_alike_without_easyssl(folder, scored):
    logits = served(folder / "model" / "export" / "1", folder / "scored.csv")
    np.testing.assert_allclose(logits, numbers(scored, "logits"), rtol=1e-4, atol=1e-5)


def test_rows_with_unseen_ids_and_without_labels(folder):
    """New users, new items and new customers without any history are scored, the same in both places."""
    names = [name for name in COLUMNS if name != "clk"]
    with (folder / "new.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for i in range(5):
            writer.writerow(
                "0.5" if n == "price" else "" if n in SEQUENCES and i else f"new-{n}-{i}" for n in names
            )
    words = ["--input", f"{folder}/new.csv", "--output", f"{folder}/new_scored.csv"]
    with_header = ["--set", "data_config.with_header=true", "--allow-config-change"]
    assert main(["predict", f"{folder}/my.config", *words, *with_header]) == 0
    rows = rows_of(folder / "new_scored.csv")
    assert "clk" not in rows[0] and [row["user_id"] for row in rows] == [f"new-user_id-{i}" for i in range(5)]
    assert np.isfinite(numbers(rows, "logits")).all()
    logits = served(folder / "model" / "export" / "1", folder / "new_scored.csv")
    np.testing.assert_allclose(logits, numbers(rows, "logits"), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_signal_gives_143_and_the_same_command_goes_on(tmp_path):
    (tmp_path / "my.config").write_text(config_text(tmp_path))
    assert (
        main(
            ["data", "generate", "taobao", "--out", f"{tmp_path}/data", "--rows", "400", "--test-rows", "90"]
        )
        == 0
    )
    words = [sys.executable, "-m", "easyssl", "train", f"{tmp_path}/my.config"]
    endless = ["--set", "train_config.num_steps=1000000", "--set", "export_config.exporter_type=none"]
    run = subprocess.Popen([*words, *endless], stderr=subprocess.PIPE, text=True, env=os.environ)
    for line in run.stderr:
        if line.startswith("step 2/"):
            run.send_signal(signal.SIGTERM)
            break
    rest = run.stderr.read()
    assert run.wait() == 143, rest
    assert "the same command again" in rest.splitlines()[-1]
    (checkpoint,) = sorted((tmp_path / "model" / "ckpt").iterdir())[-1:]
    step = int(checkpoint.name.removeprefix("step-"))
    more = ["--set", f"train_config.num_steps={step + 1}", "--set", "export_config.exporter_type=none"]
    done = subprocess.run([*words, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"going on after step {step}" in done.stderr
