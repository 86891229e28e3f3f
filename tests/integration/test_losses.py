"""Losses of sessions, pairs and amounts from end to end, with learned weights, a teacher and XLA."""

import csv
import json

import numpy as np
import pytest

from easyssl.cli.main import main
from easyssl.losses.listwise import listwise_rank
from easyssl.losses.pairwise import pairwise_focal

CONFIG = """
train_input_path: 'train.csv'
eval_input_path: 'test.csv'
train_config {
  optimizer_config { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.01 } } } }
  num_steps: 3 log_step_count_steps: 1 save_checkpoints_steps: 3
}
eval_config { metrics_set { session_auc { session_id_field: 'request' } } metrics_set { mean_absolute_error {} } }
data_config {
  input_type: CSVInput batch_size: 32 num_epochs: 9 label_fields: ['buy', 'teacher']
  input_fields { input_name: 'buy' input_type: FLOAT }
  input_fields { input_name: 'teacher' input_type: FLOAT }
  input_fields { input_name: 'request' input_type: STRING }
  input_fields { input_name: 'user' input_type: INT64 }
  input_fields { input_name: 'price' input_type: FLOAT }
}
feature_config {
  features { input_names: 'request' feature_type: PassThroughFeature }
  features { input_names: 'user' feature_type: IdFeature num_buckets: 9 embedding_dim: 4 }
  features { input_names: 'price' feature_type: RawFeature }
}
model_config {
  model_class: 'RankModel'
  feature_groups { group_name: 'all' feature_names: ['user', 'price'] wide_deep: DEEP }
  backbone { blocks { name: 'features' inputs { feature_group_name: 'all' } } }
  %s
}
"""
RANKING = """
loss_weight_strategy: Uncertainty
losses {
  loss_type: LISTWISE_RANK_LOSS learn_loss_weight: true
  listwise_rank_loss { session_name: 'request' scale_logits: true }
}
losses {
  loss_type: PAIRWISE_FOCAL_LOSS weight: 0.5
  pairwise_focal_loss { session_name: 'request' ohem_ratio: 0.5 }
}
kd { pred_name: 'logits' soft_label_name: 'teacher' loss_type: KL_DIVERGENCE_LOSS label_is_logits: false }
"""
AMOUNTS = "num_class: 3 losses { loss_type: ZILN_LOSS ziln_loss { max_sigma: 2 } }"


def run(folder, command, *words):
    return main(
        [command, str(folder / "my.config"), "--set", f"model_dir={folder / 'run'}", *map(str, words)]
    )


def prepared(folder, model):
    (folder / "my.config").write_text(CONFIG % model)
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        with open(folder / f"{name}.csv", "w", newline="") as file:
            for row in range(24 if name == "test" else 96):
                user = rng.integers(0, 9)
                buy = round(rng.exponential(user), 2) if rng.random() < 0.1 * user else 0
                teacher, price = round(rng.uniform(0.1, 0.9), 2), round(rng.uniform(0, 3), 2)
                csv.writer(file).writerow([buy, teacher, f"r{row // 5}", user, price])
    return folder


def scored(folder):
    """The test rows with predictions."""
    output = folder / "scored.csv"
    assert run(folder, "predict", "--input", folder / "test.csv", "--output", output) == 0
    with open(output, newline="") as file:
        return list(csv.DictReader(file))


def evaluated(folder, capfd):
    capfd.readouterr()
    assert run(folder, "evaluate") == 0
    return json.loads(capfd.readouterr().out)


def test_ranking_within_sessions(tmp_path, capfd):
    folder = prepared(tmp_path, RANKING)
    options = ("train_config.jit_compile=true", "export_config.exporter_type=none")
    assert run(folder, "train", *(word for option in options for word in ("--set", option))) == 0
    names = {"listwise_rank_loss", "pairwise_focal_loss", "kd_loss_logits_teacher"}
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "train"]
    assert all(set(record["losses"]) == names for record in steps)
    last = steps[-1]
    assert last["weighted"]["pairwise_focal_loss"] == pytest.approx(
        0.5 * last["losses"]["pairwise_focal_loss"]
    )
    assert last["weighted"]["listwise_rank_loss"] != pytest.approx(last["losses"]["listwise_rank_loss"])

    rows = scored(folder)
    assert {"logits", "probs"} <= set(rows[0])
    buy, logits = (np.float32([row[name] for row in rows]) for name in ("buy", "logits"))
    sessions = np.unique([row["request"] for row in rows], return_inverse=True)[1]
    found = evaluated(folder, capfd)
    focal = pairwise_focal(buy, logits, sessions=sessions, ohem_ratio=0.5)
    assert found["pairwise_focal_loss"] == pytest.approx(float(focal), rel=1e-4)
    assert found["listwise_rank_loss"] == pytest.approx(
        float(listwise_rank(buy, logits, None, sessions)), rel=0.05
    )
    assert {"session_auc", "mean_absolute_error"} <= set(found)


@pytest.mark.slow
def test_amounts(tmp_path, capfd):
    folder = prepared(tmp_path, AMOUNTS)
    assert run(folder, "train") == 0
    rows = scored(folder)
    buy, y = (np.float64([row[name] for row in rows]) for name in ("buy", "y"))
    found = evaluated(folder, capfd)
    assert found["mean_absolute_error"] == pytest.approx(np.mean(np.abs(buy - y)), rel=1e-4)

    import tensorflow as tf

    (exported,) = (folder / "run" / "export").glob("[0-9]*")
    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    assert set(serve.structured_input_signature[1]) == {"user", "price"}  # what losses read is not served
    columns = {
        "user": tf.constant([int(rows[0]["user"])], tf.int64),
        "price": tf.constant([float(rows[0]["price"])]),
    }
    np.testing.assert_allclose(serve(**columns)["y"], y[:1], rtol=1e-4)
