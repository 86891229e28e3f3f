"""Two tasks from end to end: train and stop by a task's metric, evaluate, predict, export, check."""

import csv
import json

import numpy as np
import pytest

from easyssl.cli.main import main
from easyssl.metrics import AUC

CONFIG = """
train_input_path: 'train.csv'
eval_input_path: 'test.csv'
train_config {
  optimizer_config { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.01 } } } }
  num_steps: 40
  save_checkpoints_steps: 2
  log_step_count_steps: 2
  early_stopping { metric: 'auc_cvr' patience_evals: 2 bigger_is_better: false }
}
export_config { exporter_type: 'none' }
data_config {
  input_type: CSVInput batch_size: 32 num_epochs: 9 label_fields: ['clk', 'buy'] sample_weight: 'price'
  input_fields { input_name: 'clk' input_type: INT32 }
  input_fields { input_name: 'buy' input_type: INT32 }
  input_fields { input_name: 'user' input_type: INT64 }
  input_fields { input_name: 'shop' input_type: STRING }
  input_fields { input_name: 'price' input_type: FLOAT }
}
feature_config {
  features { input_names: 'user' feature_type: IdFeature num_buckets: 9 embedding_dim: 4 }
  features { input_names: 'price' feature_type: RawFeature }
}
model_config {
  model_class: 'MultiTaskModel'
  feature_groups { group_name: 'all' feature_names: ['user', 'price'] wide_deep: DEEP }
  backbone { blocks { name: 'shared' inputs { feature_group_name: 'all' } } }
  model_params {
    task_towers { tower_name: 'ctr' relation_dnn { hidden_units: 4 use_bn: false } metrics_set { auc {} } }
    task_towers {
      tower_name: 'cvr' weight: 0.5 metrics_set { auc {} } metrics_set { gauc { uid_field: 'shop' } }
      relation_tower_names: 'ctr' relation_dnn { hidden_units: 4 use_bn: false }
      use_sample_weight: false
      task_space_indicator_label: 'clk' task_space_indicator_name: 'shop' task_space_indicator_value: 'b'
      in_task_space_weight: 1 out_task_space_weight: 0
    }
  }
}
"""
COLUMNS = ["clk", "buy", "user", "shop", "price"]
PREDICTIONS = {"logits_ctr", "probs_ctr", "logits_cvr", "probs_cvr"}
LOSSES = {"cross_entropy_loss_ctr", "cross_entropy_loss_cvr"}


def rows_of(number, seed):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        user = rng.integers(0, 9)
        click = int(rng.random() < 0.2 + 0.07 * user)
        yield [
            click,
            click * int(rng.random() < 0.5),
            user,
            rng.choice(["a", "b"]),
            round(rng.uniform(0, 3), 2),
        ]


def run(folder, command, *words):
    return main(
        [command, str(folder / "my.config"), "--set", f"model_dir={folder / 'run'}", *map(str, words)]
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multi_task")
    (folder / "my.config").write_text(CONFIG)
    for name, number, seed in (("train", 300, 0), ("test", 90, 1)):
        with open(folder / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows(rows_of(number, seed))
    assert run(folder, "train") == 0
    return folder


@pytest.fixture(scope="module")
def scored(trained):
    """The test rows with predictions."""
    output = trained / "scored.csv"
    assert run(trained, "predict", "--input", trained / "test.csv", "--output", output) == 0
    with open(output, newline="") as file:
        return list(csv.DictReader(file))


def test_training_logs_each_task_and_stops_by_the_metric_of_one(trained):
    records = [json.loads(line) for line in (trained / "run" / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        if record["kind"] == "train":
            assert set(record["losses"]) == set(record["weighted"]) == LOSSES
            name = "cross_entropy_loss_cvr"
            assert record["weighted"][name] == pytest.approx(0.5 * record["losses"][name])
    found = [record["metrics"] for record in records if record["kind"] == "eval"]
    assert all(set(metrics) == {"auc_ctr", "auc_cvr", "gauc_cvr"} | LOSSES for metrics in found)
    values = [metrics["auc_cvr"] for metrics in found]
    assert len(values) < 20 and min(values) == values[-3]  # better when smaller, and then twice no better


def test_evaluation_agrees_with_the_predictions(trained, scored, capfd):
    assert len(scored) == 90 and set(scored[0]) == {*COLUMNS, *PREDICTIONS}
    capfd.readouterr()
    assert run(trained, "evaluate") == 0
    found = json.loads(capfd.readouterr().out)
    shop = np.array([row["shop"] for row in scored])
    columns = {name: np.array([float(row[name]) for row in scored]) for name in set(scored[0]) - {"shop"}}
    weights = {"ctr": columns["price"], "cvr": columns["clk"] * (shop == "b")}
    for tower, label in (("ctr", "clk"), ("cvr", "buy")):
        y, z, w = columns[label], columns[f"logits_{tower}"], weights[tower]
        loss = np.sum(w * (np.logaddexp(0, z) - y * z)) / np.count_nonzero(w)
        assert found[f"cross_entropy_loss_{tower}"] == pytest.approx(loss, rel=1e-4)
        metric = AUC()
        metric.update(y, {"probs": columns[f"probs_{tower}"]})
        assert found[f"auc_{tower}"] == pytest.approx(metric.result(), abs=1e-6)


def test_the_export_serves_all_tasks(trained, scored):
    import tensorflow as tf

    assert run(trained, "export", "--output", trained / "export") == 0
    serve = tf.saved_model.load(str(trained / "export" / "1")).signatures["serving_default"]
    assert set(serve.structured_input_signature[1]) == {"user", "price"}
    users, prices = [int(row["user"]) for row in scored], [float(row["price"]) for row in scored]
    found = serve(user=tf.constant(users, tf.int64), price=tf.constant(prices))
    assert set(found) == PREDICTIONS
    expected = [float(row["probs_cvr"]) for row in scored]
    np.testing.assert_allclose(found["probs_cvr"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_best_step_needs_the_name_of_a_task(trained, capfd):
    text, head = (trained / "my.config").read_text(), CONFIG.index("  early_stopping")
    text = text.replace(text[head : text.index("\n", head)], "").replace("'none'", "'best'")
    (trained / "best.config").write_text(text)
    assert main(["train", str(trained / "best.config"), "--set", f"model_dir={trained / 'best'}"]) == 2
    assert "best_exporter_metric: 'auc' is not computed; did you mean 'auc_c" in capfd.readouterr().err


def test_check_shows_the_towers(trained, capfd):
    capfd.readouterr()
    assert run(trained, "check", "--plan-only") == 0
    tasks = capfd.readouterr().out.partition("\ntasks\n")[2].splitlines()
    assert [line.split()[0] for line in tasks[2:5]] == ["ctr", "cvr", "ctr"]  # the last one is what cvr reads
    assert "output  relation_dnn [4], dense 1  clk" in tasks[2]
