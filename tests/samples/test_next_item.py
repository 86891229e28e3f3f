"""The sample configs of next-item models train on a small data set of the form of Beauty."""

import gzip
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from easyssl.cli.main import main

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "samples" / "next_item"
USERS, ITEMS = 48, 30

# The losses that each reports beside the one of the next item, which evaluation knows by its own name.
LOSSES = {
    "gru4rec": [],
    "caser": [],
    "bert4rec": [],
    "sasrec_bce": [],
    "s3rec_pretrain": ["mip_masked_item_loss"],
    "dssrec": ["prediction_intent_loss"],
    "iclrec": ["sequence_contrast_nce_loss", "intent_contrast_contrast_loss"],
    "comirec_sa": [],
    "comirec_dr": [],
}
FAST = {"sasrec_bce"}
CLUSTERS = "model_config.backbone.blocks[name=clusters].keras_layer.st_params.num_prototypes=8"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Histories in which item i + 1 comes after item i, and items none of which is as popular as another."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "data" / "beauty"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        first, number = rng.integers(ITEMS), int(rng.integers(4, 12))
        rows.append([(first + i) % ITEMS + 1 for i in range(number)])
        rows[user] = [int(item) for item in rows[user]]
    popularity = rng.permutation(100)[:ITEMS] + 1
    with gzip.open(folder / "sequences.tsv.gz", "wt") as file:
        file.write("user_id\titems\tcount\n")
        file.writelines(f"{u}\t{'|'.join(map(str, row))}\t{len(row)}\n" for u, row in enumerate(rows))
    with gzip.open(folder / "items.tsv.gz", "wt") as file:
        file.write("item_id\tpopularity\n")
        file.writelines(f"{i + 1}\t{number}\n" for i, number in enumerate(popularity))
    return root, rows, popularity


def run(data, command, name, *words, steps=3):
    root = data[0]
    settings = {
        "model_dir": root / name,
        "data_config.batch_size": 16,
        "data_config.num_epochs": 100,
        "train_config.num_steps": steps,
        "train_config.log_step_count_steps": 1,
        "export_config.exporter_type": "none",
        "export_config.verify": "false",
    }
    given = [w for key, value in settings.items() for w in ("--set", f"{key}={value}")]
    config = str(SAMPLES / f"{name}_on_beauty.config")
    return main([command, config, "--data-root", str(root), *given, *map(str, words)])


def records(data, name, kind):
    lines = (data[0] / name / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in LOSSES]
)
def test_a_sample_trains(data, name):
    words = ["--set", CLUSTERS] if name == "iclrec" else []  # or clusters would wait for 256 rows
    assert run(data, "train", name, *words) == 0
    steps = records(data, name, "train")
    assert len(steps) == 3
    for record in steps:
        assert set(record["losses"]) >= {"next_item_loss", *LOSSES[name]}
        assert all(np.isfinite(value) for value in record["losses"].values())
        assert all(record["losses"][loss] > 0 for loss in LOSSES[name])
    (found,) = records(data, name, "eval")
    assert found["metrics"]["users"] == USERS
    assert 0 < found["metrics"]["next_item_loss"] < 2 * np.log(ITEMS)


def test_pop_ranks_by_popularity(data):
    assert run(data, "train", "pop") == 0
    found = records(data, "pop", "eval")[-1]["metrics"]
    _, rows, popularity = data
    for protocol in ("kept", "excluded"):
        ranks = []
        for row in rows:
            target, seen = row[-2], set(row[:-2]) if protocol == "excluded" else set()
            better = popularity > popularity[target - 1]
            ranks.append(sum(better[i] for i in range(ITEMS) if i + 1 not in seen))
        gains = [1 / np.log2(rank + 2) if rank < 10 else 0 for rank in ranks]
        assert found[f"hr@5_{protocol}"] == pytest.approx(np.mean(np.array(ranks) < 5))
        assert found[f"ndcg@10_{protocol}"] == pytest.approx(np.mean(gains))


def test_mind_learns_and_its_export_finds_items(data):
    rate = (
        "train_config.optimizer_config[0].adam_optimizer.learning_rate.constant_learning_rate.learning_rate"
    )
    rate = f"{rate}=0.01"
    assert run(data, "train", "mind", "--set", rate, steps=40) == 0
    losses = [record["losses"]["next_item_loss"] for record in records(data, "mind", "train")]
    assert len(losses) == 40 and np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5
    output = data[0] / "export"
    assert run(data, "export", "mind", "--set", rate, "--output", output, steps=40) == 0
    serve = tf.saved_model.load(str(output / "1")).signatures["serving_default"]
    histories = ["4|5|6|7", "9", ""]
    found = serve(items=tf.constant(histories))
    for row, (ids, scores) in enumerate(zip(found["item_ids"].numpy(), found["scores"].numpy(), strict=True)):
        history = {int(i) for i in histories[row].split("|") if i}
        assert len(set(ids)) == 20 and not history & set(ids.tolist())
        assert np.all(np.diff(scores) <= 0)
    assert found["user_emb"].shape == (3, 4, 64)
    # What is served does not depend on the other rows, nor on chance.
    np.testing.assert_allclose(serve(items=tf.constant(["9"]))["scores"][0], found["scores"][1], atol=1e-5)


@pytest.mark.slow
def test_mind_with_its_own_readout_and_a_varied_list(data):
    """Popularity is the category, and variety is worth more than any score."""
    own = {"interest_power": 2, "category": "popularity", "diversity": 1e6, "top_k": 5}
    words = [w for key, value in own.items() for w in ("--set", f"model_config.next_item.{key}={value}")]
    assert run(data, "train", "mind", "--set", f"model_dir={data[0] / 'varied'}", *words, steps=5) == 0
    losses = [record["losses"]["next_item_loss"] for record in records(data, "varied", "train")]
    assert len(losses) == 5 and np.all(np.isfinite(losses))
    output = data[0] / "varied_export"
    given = ["--set", f"model_dir={data[0] / 'varied'}", "--set", "export_config.verify=true"]
    assert run(data, "export", "mind", *given, *words, "--output", output, steps=5) == 0
    serve = tf.saved_model.load(str(output / "1")).signatures["serving_default"]
    found = serve(items=tf.constant(["4|5|6|7", "9"]))
    assert found["item_ids"].shape == (2, 5)
    for ids in found["item_ids"].numpy():
        assert len({data[2][i - 1] for i in ids}) == 5


@pytest.mark.slow
def test_s3rec_goes_on_with_what_was_pretrained(data, capfd):
    assert run(data, "train", "s3rec_pretrain") == 0
    capfd.readouterr()
    checkpoint = f"train_config.fine_tune_checkpoint={data[0] / 's3rec_pretrain'}"
    assert run(data, "train", "s3rec", "--set", checkpoint) == 0
    text = "".join(capfd.readouterr())
    taken, total = (int(word) for word in text.split(" weights taken over")[0].split()[-3::2])
    assert total - taken <= 1, text
