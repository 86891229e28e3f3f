"""The sample of two towers from end to end: train, resume, evaluate, predict, export, and broken input."""

import csv
import json
import pathlib
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from easyssl.cli.main import main
from easyssl.data.prepare.taobao import COLUMNS, ITEM_COLUMNS, generate_taobao

SAMPLE = pathlib.Path(__file__).resolve().parents[2] / "samples" / "dssm_on_taobao.config"
LESS = ["data_config.batch_size=50", "train_config.num_steps=24", "train_config.save_checkpoints_steps=8"]
LESS += ["train_config.log_step_count_steps=4"]
KEYS = {f"{name}@{k}" for name in ("recall", "recall_neg_sam", "recall_in_batch") for k in (1, 10)}


def run(folder, command, *words, model="run", settings=()):
    flags = [f"model_dir={folder / model}", *LESS, *settings]
    sets = [word for flag in flags for word in ("--set", flag)]
    return main([command, str(SAMPLE), "--data-root", str(folder), *sets, *map(str, words)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_towers")
    generate_taobao(folder / "data" / "taobao", rows=600, test_rows=130)
    assert run(folder, "train", "--strategy", "none") == 0
    return folder


def records(folder, model="run"):
    return [json.loads(line) for line in (folder / model / "metrics.jsonl").read_text().splitlines()]


def newest(folder, model="run"):
    (path,) = sorted((folder / model / "ckpt").glob("step-*"))[-1:]
    return path


def test_the_metrics_are_those_of_lists(trained, capfd):
    capfd.readouterr()
    results = []
    for _ in range(2):
        assert run(trained, "evaluate") == 0
        results.append(json.loads(capfd.readouterr().out))
    assert results[0] == results[1]  # the same negatives each time
    assert set(results[0]) == KEYS | {"cross_entropy_loss", "reg_pos_loss"}
    assert all(0 <= results[0][key] <= 1 for key in KEYS)
    assert results[0]["recall@10"] <= min(results[0]["recall_in_batch@10"], results[0]["recall_neg_sam@10"])


def test_a_resumed_run_is_the_uninterrupted_one(trained):
    not_exported = "export_config.exporter_type=none"
    less = ["train_config.num_steps=8", not_exported]
    assert run(trained, "train", model="again", settings=less) == 0
    assert run(trained, "train", "--allow-config-change", model="again", settings=[not_exported]) == 0
    whole, resumed = newest(trained), newest(trained, "again")
    arrays = {path.name: path.read_bytes() for path in sorted(whole.glob("*.npz"))}
    assert arrays and arrays == {path.name: path.read_bytes() for path in sorted(resumed.glob("*.npz"))}


def test_predictions_are_scores_of_pairs(trained):
    output = trained / "scored.csv"
    source = trained / "data" / "taobao" / "test.csv"
    assert run(trained, "predict", "--input", source, "--output", output) == 0
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 130 and list(rows[0]) == [
        *COLUMNS,
        "logits",
        "user_emb",
        "item_emb",
        "user_tower_emb",
        "item_tower_emb",
    ]
    for row in rows[:5]:
        user, item = (np.array(row[f"{side}_emb"].split(","), float) for side in ("user", "item"))
        assert np.linalg.norm(user) == pytest.approx(1, abs=1e-4)
        assert float(row["logits"]) == pytest.approx(user @ item / 0.1, abs=1e-3)


def test_the_export_serves_pairs_and_each_tower(trained):
    import tensorflow as tf

    assert run(trained, "export", "--output", trained / "export") == 0
    model = tf.saved_model.load(str(trained / "export" / "1"))
    with open(trained / "data" / "taobao" / "test.csv", newline="") as file:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in csv.reader(file)][:6]
    columns = {
        name: tf.constant(
            [float(row[name]) for row in rows] if name == "price" else [row[name] for row in rows]
        )
        for name in COLUMNS
    }

    def ask(signature):
        wanted = model.signatures[signature].structured_input_signature[1]
        return set(wanted), model.signatures[signature](**{name: columns[name] for name in wanted})

    _, pairs = ask("serving_default")
    user_columns, user = ask("user_tower")
    item_columns, item = ask("item_tower")
    assert item_columns == set(ITEM_COLUMNS) and not item_columns & user_columns
    assert set(user) == {"user_tower_emb"} and set(item) == {"item_tower_emb"}
    scores = np.sum(user["user_tower_emb"].numpy() * item["item_tower_emb"].numpy(), axis=1) / 0.1
    np.testing.assert_allclose(pairs["logits"], scores, rtol=1e-3, atol=1e-4)
    manifest = json.loads((trained / "export" / "1" / "assets.extra" / "easyssl_export.json").read_text())
    assert set(manifest["signatures"]) == {"user_tower", "item_tower"}
    assert manifest["verified"]["rows"] > 0


def test_the_loss_falls(trained):
    losses = [record["loss"] for record in records(trained) if "loss" in record]
    assert len(losses) == 6 and losses[-1] < losses[0]


def test_two_devices_share_the_rows_and_each_has_all_negatives(trained):
    from easyssl.config import load_config
    from easyssl.data.build import dataset_from_config
    from easyssl.training.labels import Labels
    from easyssl.training.pipeline import Preparation
    from easyssl.training.placement import Placement
    from easyssl.training.setup import build_model

    overrides = [f"model_dir={trained / 'x'}", *LESS]
    config = load_config(SAMPLE, overrides=overrides, data_root=trained)
    model = build_model(config)
    labels = Labels.from_config(config, model.label_names, model.label_limits)
    raw = next(iter(dataset_from_config(config, "train").batches()))
    batch = Preparation.for_model(model, labels)(raw)
    assert batch.features["adgroup_id"].shape[0] == 50 + 64 and batch.features["user_id"].shape[0] == 50
    placement = Placement(lambda raw: raw, SimpleNamespace(names=["/CPU:0", "/CPU:0"]))
    ads = batch.features["adgroup_id"].numpy()
    for index, begin in enumerate((0, 25)):
        features = placement._share(batch, 2, index).inputs["features"]
        np.testing.assert_array_equal(
            features["adgroup_id"], np.concatenate([ads[begin : begin + 25], ads[50:]])
        )
        np.testing.assert_array_equal(features["user_id"], batch.features["user_id"][begin : begin + 25])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "'customer', 'brand', 'price'",
            "'customer', 'brand'",
            "attr_fields: lacks 'price', which the item tower 'item_tower' reads",
        ),
        (
            "'customer', 'brand', 'price'",
            "'customer', 'brand', 'price', 'user_id'",
            "attr_fields: holds 'user_id', which the user tower",
        ),
        (
            "output_blocks: ['user_tower', 'item_tower']",
            "concat_blocks: ['user_tower', 'item_tower']",
            "list their blocks in output_blocks",
        ),
        ("temperature: 0.1", "temperature: 0", "temperature: is 0, expected a number above 0"),
        (
            "temperature: 0.1",
            "item_tower_idx_in_output: 2",
            r"item_tower_idx_in_output: is 2, expected 0 to 1 \(user_tower, item_tower\)",
        ),
        (
            "temperature: 0.1",
            "user_tower_idx_in_output: 1",
            "item_tower_idx_in_output: is 1, and so is user_tower_idx_in_output",
        ),
        ("item_id_feature: 'adgroup_id'", "", "log_q_correction: needs item_id_feature"),
        (
            "item_id_feature: 'adgroup_id'",
            "item_id_feature: 'adgroup'",
            "no feature is called 'adgroup'; did you mean 'adgroup_id'",
        ),
        ("item_id_feature: 'adgroup_id'", "item_id_feature: 'price'", "'price' is not an IdFeature"),
        ("recall_at_topk { topk: 10 }", "auc {}", "auc needs the probability of a positive class"),
        ("recall_at_topk { topk: 10 }", "recall_at_topk { topk: 0 }", "topk: is 0; expected at least 1"),
        (
            "loss_type: SOFTMAX_CROSS_ENTROPY",
            "",
            "negative_sampler: sampled items have no label; set loss_type to",
        ),
        ("'data/taobao/items.tsv'", "'data/taobao/gone.tsv'", "there is no file"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(trained, tmp_path, capfd, old, new, message):
    text = SAMPLE.read_text()
    assert old in text
    (tmp_path / "my.config").write_text(text.replace(old, new, 1))
    capfd.readouterr()
    assert (
        main(["check", str(tmp_path / "my.config"), "--data-root", str(trained), "--plan-only"]) == 2
        or "gone" in new
    )
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and re.search(message, err), err


def test_a_malformed_item_file_stops_training_in_one_line(trained, tmp_path, capfd):
    shutil.copytree(trained / "data", tmp_path / "data")
    items = tmp_path / "data" / "taobao" / "items.tsv"
    items.write_text(items.read_text().replace("\t", " ", 3))
    capfd.readouterr()
    assert run(tmp_path, "train", model="broken") == 2
    assert re.search(r"items.tsv:\d+: ", capfd.readouterr().err)
