"""UniSRec's configs on a slice of the real data: pretraining on two domains, fine-tuning on a third one."""

import gzip
import json
import pathlib
import re
import zlib

import numpy as np
import pytest
import tensorflow as tf

from easyssl.cli.main import main
from easyssl.data.prepare import prepare_domains, prepare_sequences
from easyssl.data.text.embed import embed_items, read_texts
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
SETTINGS = ["train_config.early_stopping.patience_evals=1000", "eval_config.num_examples=64"]

NO_EXPORT = "export_config.exporter_type=none"
PRETRAIN = "pretrain_on_four_domains"


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
        text = path.read_text()
        for big, small in SMALLER:
            text = re.sub(big if "\\" in big else re.escape(big), small, text)
        (folder / path.name).write_text(text)
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
def test_it_learns_from_two_domains_and_goes_on_in_a_third(prepared):
    folder = prepared
    losses = train(folder, PRETRAIN, 24, NO_EXPORT)
    assert all(np.isfinite(list(step.values())).all() for step in losses)
    assert {"next_item_loss", "contrast_info_nce_loss"} <= set(losses[0])
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
