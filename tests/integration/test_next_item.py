"""The sample of SASRec from end to end, on histories with a planted order."""

import csv
import json
import pathlib
import random

import numpy as np
import pytest

from easyssl.cli.main import main
from easyssl.config import load_config
from easyssl.data.prepare import prepare_sequences

SAMPLE = pathlib.Path(__file__).resolve().parents[2] / "samples" / "next_item" / "sasrec_on_beauty.config"
ITEMS, USERS = 30, 240
LESS = [
    "data_config.batch_size=32",
    "data_config.num_epochs=40",
    "train_config.num_steps=72",
    "train_config.save_checkpoints_steps=36",
    "train_config.log_step_count_steps=12",
    "train_config.optimizer_config[0].adam_optimizer.learning_rate.constant_learning_rate.learning_rate=0.02",
    "feature_config.features[name=items].embedding_dim=16",
    "feature_config.features[name=item_id].embedding_dim=16",
]


def run(folder, command, *words, settings=()):
    sets = [word for flag in [f"model_dir={folder / 'run'}", *LESS, *settings] for word in ("--set", flag)]
    return main([command, str(SAMPLE), "--data-root", str(folder), *sets, *map(str, words)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Each user goes on from item i to item i + 1, round and round."""
    folder = tmp_path_factory.mktemp("next_item")
    rng = random.Random(1)
    lines = []
    for user in range(1, USERS + 1):
        first, count = rng.randrange(ITEMS), rng.randrange(5, 12)
        lines.append(" ".join(str(1 + (first + i) % ITEMS) for i in range(count)))
        lines[-1] = f"{user} {lines[-1]}"
    (folder / "raw.txt").write_text("\n".join(lines) + "\n")
    prepare_sequences(folder / "raw.txt", folder / "data" / "beauty")
    assert run(folder, "train") == 0
    return folder


def test_the_order_is_learned(trained, capfd):
    capfd.readouterr()
    results = []
    for settings in ([], ["data_config.batch_size=70"]):
        assert run(trained, "evaluate", "--part", "test", settings=settings) == 0
        results.append(json.loads(capfd.readouterr().out))
    assert results[0]["hr@5_excluded"] > 0.9 and results[0]["users"] == USERS
    assert results[0]["ndcg@5_kept"] <= results[0]["ndcg@5_excluded"]
    ranks = {name for name in results[0] if "@" in name}
    assert all(results[0][name] == results[1][name] for name in ranks)  # whatever the batches are
    losses = [json.loads(line) for line in (trained / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in losses if "loss" in record]
    assert losses[-1] < 0.5 * losses[0]


def test_predictions_and_the_export_list_what_evaluation_ranks(trained):
    import tensorflow as tf

    from easyssl.training.evaluate import Evaluator
    from easyssl.training.trained import load_trained

    config = load_config(str(SAMPLE), [f"model_dir={trained / 'run'}", *LESS], data_root=str(trained))
    config.message.data_config.sequence_split.evaluate = config.message.data_config.sequence_split.TEST
    model = load_trained(config, allow_config_change=True).model
    seen = []
    evaluator = Evaluator.from_config(config, model)
    (metric,) = evaluator.metrics
    update = metric.update
    metric.update = lambda labels, found, *rest: (seen.append(found), update(labels, found, *rest))[1]
    evaluator.run()
    ranked = np.concatenate([batch["lists_excluded"] for batch in seen])[:, :20]
    targets = np.concatenate([batch["targets"] for batch in seen])[:, 0]

    # The histories that were evaluated, as whole histories of users to come.
    rows = trained / "rows.tsv"
    lines = (line.split()[1:-1] for line in (trained / "raw.txt").read_text().splitlines())
    histories = ["|".join(items) for items in lines]
    rows.write_text("\n".join(["items", *histories]) + "\n")
    output = trained / "lists.csv"
    assert run(trained, "predict", "--input", rows, "--output", output) == 0
    with open(output, newline="") as file:
        listed = [row["item_ids"].split("|") for row in csv.DictReader(file, delimiter="\t")]
    exported = tf.saved_model.load(str(trained / "run" / "export" / "1")).signatures["serving_default"]
    served = exported(items=tf.constant(histories))["item_ids"].numpy()
    ids = model.corpus.ids
    extra = trained / "run" / "export" / "1" / "assets.extra"
    np.testing.assert_array_equal(np.load(extra / "item_ids.npy"), ids)
    vectors = np.load(extra / "item_vectors.npy")
    answer = exported(items=tf.constant(histories[:3]))
    for user, listed_items, scores in zip(
        *(answer[k].numpy() for k in ("user_emb", "item_ids", "scores")), strict=True
    ):
        places = [ids.tolist().index(item) for item in listed_items if item >= 0]
        np.testing.assert_allclose(vectors[places] @ user, scores[: len(places)], rtol=1e-4, atol=1e-5)
    compared = 0
    for place, history in enumerate(histories):
        assert [int(item) for item in listed[place]] == served[place].tolist()
        assert not set(served[place]) & set(map(int, history.split("|")))
        if ids[targets[place]] not in map(int, history.split("|")):  # evaluation never leaves out a target
            assert served[place].tolist() == [ids[i] if i >= 0 else -1 for i in ranked[place]]
            compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data_config.item_corpus.item_id=item"], "item_corpus.item_id: 'item' is not among input_fields"),
        (["model_config.next_item.history=item_id"], "'item_id' is not a SequenceFeature of ids"),
        (["data_config.item_corpus.input_path=nowhere.tsv"], "nowhere.tsv"),
        (["feature_config.features[name=item_id].num_buckets=5"], "number of ids"),
        (["feature_config.features[name=items].max_seq_len=60"], "set max_seq_len: 50"),
    ],
)
def test_broken_configs_give_one_line(trained, capfd, settings, message):
    settings = [*settings, f"model_dir={trained / 'broken'}"]
    capfd.readouterr()
    assert run(trained, "train", settings=settings) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert message in error
