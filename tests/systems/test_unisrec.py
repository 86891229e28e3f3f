"""UniSRec's configs on a slice of the real data: pretraining on two domains, fine-tuning on a third one."""

import csv
import gzip
import json
import pathlib
import re
import zlib

import numpy as np
import pytest
import tensorflow as tf

from easyssl.cli.main import main
from easyssl.config import parse_config
from easyssl.data.prepare import generate_movielens, prepare_domains, prepare_sequences
from easyssl.data.text.embed import embed_items, read_texts
from easyssl.models import build_model
from easyssl.training.restore import find_checkpoint

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "samples" / "unisrec"
SMALLER = (
    ("embedding_dim: 256", "embedding_dim: 24"),
    ("embedding_dim: 300", "embedding_dim: 16"),
    ('"units" value { number_value: 300 }', '"units" value { number_value: 16 }'),
    ('"num_experts" value { number_value: 8 }', '"num_experts" value { number_value: 2 }'),
    ('"intermediate_size" value { number_value: 256 }', '"intermediate_size" value { number_value: 16 }'),
    (r"batch_size: \d+", "batch_size: 64"),
)
RATE = "train_config.optimizer_config[0].adam_optimizer.learning_rate.cosine_decay_learning_rate"
SETTINGS = [f"{RATE}.warmup_steps=0", "eval_config.num_examples=64"]
RANKING = "ranking_on_ml1m"

NO_EXPORT = "export_config.exporter_type=none"
PRETRAIN = "pretrain_on_four_domains"


def smaller(path):
    """Returns the text of a config with a smaller model."""
    text = path.read_text()
    for big, small in SMALLER:
        text = re.sub(big if "\\" in big else re.escape(big), small, text)
    return text


class Words:
    """Encodes a text as the mean of a vector for each word."""

    identity = "words"

    def encode(self, texts):
        return np.stack([self._mean(text.split()) for text in texts])

    def _mean(self, words):
        draws = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=24) for word in words]
        return np.mean(draws, axis=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("unisrec")


@pytest.fixture
def prepared(folder, real_data, monkeypatch):
    """The folder with data of few users, and configs of small models; it is the current folder."""
    monkeypatch.chdir(folder)
    out = folder / "data" / "unisrec"
    if out.exists():
        return folder
    for name in ("amazon_5core/Beauty", "amazon_5core/Sports_and_Outdoors", "amazon_scientific/Scientific"):
        with gzip.open(real_data(f"{name}.txt.gz"), "rt") as lines:
            users = [next(lines) for _ in range(400)]
        (folder / f"{pathlib.Path(name).name}.txt").write_text("".join(users))
    prepare_domains(
        [folder / "Beauty.txt", folder / "Sports_and_Outdoors.txt"],
        out / "sources",
        items=[
            real_data("amazon_5core/Beauty_item_text.tsv.gz"),
            real_data("amazon_5core/Sports_and_Outdoors_item_text.tsv.gz"),
        ],
    )
    texts = [real_data("amazon_scientific/Scientific_item_text.tsv.gz")]
    prepare_sequences(folder / "Scientific.txt", out / "scientific", items=texts)
    for name, drop in (("sources/text", 0), ("sources/dropped", 0.15), ("scientific/text", 0)):
        items = read_texts(str(out / name.split("/")[0] / "items.tsv.gz"), "item_id", ["text"])
        embed_items(*items, str(out / f"{name}.npz"), Words(), word_drop=drop)
    for path in SAMPLES.glob("*.config"):
        (folder / path.name).write_text(smaller(path))
    return folder


def train(folder, name, steps, *settings):
    """Trains and returns the losses of the steps, by name."""
    words = ["train", str(folder / f"{name}.config")]
    given = [*SETTINGS, f"train_config.num_steps={steps}", "train_config.log_step_count_steps=1", *settings]
    assert main([*words, *(word for setting in given for word in ("--set", setting))]) == 0
    lines = (run_of(folder, name) / "metrics.jsonl").read_text().splitlines()
    return [line["losses"] for line in map(json.loads, lines) if line["kind"] == "train"]


def run_of(folder, name):
    return folder / "experiments" / "unisrec" / name.split("_on_")[0]


def weights(folder, name):
    with find_checkpoint(run_of(folder, name), print).arrays("weights") as stored:
        return {key: stored[key] for key in stored}


@pytest.mark.slow
def test_it_learns_from_two_domains_and_goes_on_in_a_third(prepared, capfd):
    folder = prepared
    losses = train(folder, PRETRAIN, 24, NO_EXPORT)
    assert all(np.isfinite(list(step.values())).all() for step in losses)
    assert {"next_item_loss", "contrast_info_nce_loss"} <= set(losses[0])
    assert "mixed_column" not in capfd.readouterr().err
    first, last = (np.mean([step["next_item_loss"] for step in part]) for part in (losses[:6], losses[-6:]))
    assert last < first - 0.2
    source = weights(folder, PRETRAIN)

    losses = train(folder, "inductive_on_scientific", 8)
    tuned = weights(folder, "inductive_on_scientific")
    floats = {name for name in tuned if name in source and tuned[name].dtype.kind == "f"}
    frozen = {name for name in floats if re.search("encoder/position_table|encoder/block_", name)}
    assert len(frozen) > 20
    for name in frozen:
        np.testing.assert_array_equal(tuned[name], source[name], err_msg=name)
    (table,) = (name for name in floats if "table_text" in name)
    assert tuned[table].shape == (4386, 24)
    trained = floats - frozen - {table}
    assert {name for name in trained if (tuned[name] != source[name]).any()} == trained
    assert any("adaptor" in name for name in trained) and any("embedding_norm" in name for name in trained)

    exported = tf.saved_model.load(str(run_of(folder, "inductive_on_scientific") / "export" / "1"))
    listed = exported.signatures["serving_default"](items=tf.constant(["1|2|3"]))
    assert listed["item_ids"].shape == (1, 20)
    assert not {1, 2, 3} & set(listed["item_ids"].numpy()[0].tolist())

    losses = train(folder, "transductive_on_scientific", 3, NO_EXPORT)
    assert np.isfinite([step["next_item_loss"] for step in losses]).all()
    tuned = weights(folder, "transductive_on_scientific")
    for name in frozen:
        np.testing.assert_array_equal(tuned[name], source[name], err_msg=name)
    assert any("table_id" in name for name in tuned)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["from_scratch_on_scientific", "sasrec_on_scientific"])
def test_the_models_to_compare_with_train(prepared, name):
    losses = [step["next_item_loss"] for step in train(prepared, name, 12, NO_EXPORT)]
    assert np.isfinite(losses).all() and np.mean(losses[-3:]) < np.mean(losses[:3])


@pytest.mark.slow
def test_the_ranking_form_learns_and_is_exported(tmp_path):
    """On made-up movies, whose titles and genres are the texts."""
    data = tmp_path / "data" / "ml1m"
    generate_movielens(data, rows=1500, test_rows=200)
    with gzip.open(data / "train.tsv.gz", "rt") as file:
        movies = {
            row["movie_id"]: f"{row['title']} {row['genres']}" for row in csv.DictReader(file, delimiter="\t")
        }
    for name, drop in (("text", 0), ("dropped", 0.15)):
        embed_items(list(movies), list(movies.values()), str(data / f"{name}.npz"), Words(), word_drop=drop)
    settings = [
        f"model_dir={tmp_path / 'run'}",
        "data_config.batch_size=128",
        "data_config.num_epochs=3",
        "train_config.log_step_count_steps=1",
    ]
    (tmp_path / "ranking.config").write_text(smaller(SAMPLES / f"{RANKING}.config"))
    words = [str(tmp_path / "ranking.config")]
    words += [word for setting in settings for word in ("--set", setting)]
    assert main(["train", *words]) == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [record["losses"] for record in records if record["kind"] == "train"]
    assert {"cross_entropy_loss", "contrast_info_nce_loss"} <= set(losses[0])
    for name in ("cross_entropy_loss", "contrast_info_nce_loss"):
        first, last = (np.mean([step[name] for step in part]) for part in (losses[:6], losses[-6:]))
        assert last < first, name
    assert records[-1]["metrics"]["auc"] > 0.5

    # Texts of the history change the score of a row.
    serve = tf.saved_model.load(str(tmp_path / "run" / "export" / "1")).signatures["serving_default"]
    known = next(iter(movies))
    row = {name: tf.constant([text]) for name, text in (("gender", "F"), ("age", "25"), ("year", "1990"))}
    row |= {name: tf.constant(["1"]) for name in ("user_id", "occupation")}
    row |= {"movie_id": tf.constant([known]), "genres": tf.constant(["Drama"])}
    one, other = (
        float(serve(**row, hist_movie_id=tf.constant([history]))["probs"][0])
        for history in ("", f"{known}|{known}")
    )
    assert 0 < one < 1 and one != other


@pytest.mark.slow
def test_without_vectors_of_ids_a_transductive_model_is_the_inductive_one(tmp_path):
    folder = tmp_path / "data" / "unisrec" / "scientific"
    folder.mkdir(parents=True)
    ids, rng = range(1, 31), np.random.default_rng(0)
    with gzip.open(folder / "items.tsv.gz", "wt") as file:
        file.write("item_id\tpopularity\n" + "".join(f"{i}\t{i}\n" for i in ids))
    np.savez(folder / "text.npz", ids=np.array(ids), vectors=rng.normal(size=(30, 24)).astype(np.float32))
    models = []
    for name in ("inductive", "transductive"):
        text = smaller(SAMPLES / f"{name}_on_scientific.config")
        config = parse_config(text, str(tmp_path / "my.config"), data_root=str(tmp_path))
        models.append(build_model(config))
        models[-1].create_variables()
    inductive, transductive = models
    trained = {weight.name: weight for weight in inductive.trainable_weights}
    for weight in trained.values():
        weight.assign(rng.normal(scale=0.3, size=weight.shape))
    (table,) = (weight for weight in transductive.trainable_weights if weight.name not in trained)
    assert table.shape == (4386, 16)
    for weight in transductive.trainable_weights:
        weight.assign(tf.zeros_like(weight) if weight is table else trained[weight.name])
    rows = {"items": tf.constant(["1|2|3", "7", "", "30|4|4|9"])}
    one, other = (model(model.transform(rows)) for model in models)
    np.testing.assert_allclose(one["scores"], other["scores"], rtol=1e-5)
    np.testing.assert_array_equal(one["item_ids"], other["item_ids"])
    table.assign(rng.normal(size=table.shape))
    assert not np.allclose(one["scores"], transductive(transductive.transform(rows))["scores"])
