"""The configs of CL4SRec, SSL item, S4Rec and Re4 on slices of the real data: they train, export and find items."""

import gzip
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from easyssl.cli.main import main
from easyssl.data.prepare import prepare_sequences
from easyssl.data.prepare.movielens_sequences import prepare_ml1m_sequences

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "samples" / "next_item"
USERS = 300
SOURCES = {
    "beauty": ("amazon_5core/Beauty", ()),
    "sports": ("amazon_5core/Sports_and_Outdoors", ("item2attributes.json", "item_text.tsv")),
    "instruments": ("amazon_instruments/Instruments", ()),
}
BLOCKS = "model_config.backbone.blocks"
SMALL = {
    "s4rec": [
        f"{BLOCKS}[name=clusters].keras_layer.st_params.num_prototypes=8",
        "model_config.backbone.packages[name=encoder].blocks[name=states].keras_layer.st_params.num_hidden_layers=1",
    ],
    "s4rec_kmeans": [
        f"{BLOCKS}[name=clusters].keras_layer.st_params.{name}={value}"
        for name, value in (("num_prototypes", 4), ("queue_size", 64), ("update_every", 2))
    ],
    "re4": ["model_config.next_item.num_negatives=50"],
    "ssl_item": ["data_config.item_corpus.streams[0].batch_size=64"],
}
S4REC = {
    "clusters_cluster_loss",
    "contrast_contrast_loss",
    "distillation_distillation_loss",
    "adversary_adversarial_loss",
}
RE4 = {"contrast_contrast_loss", "attend_attend_loss", "construct_construct_loss"}
# Config: what it reports beside the loss of the next item.
LOSSES = {
    "cl4srec_on_sports": {"contrast_nce_loss"},
    "cl4srec_on_ml1m": {"contrast_nce_loss"},
    "s4rec_on_sports": S4REC,
    "s4rec_on_ml1m": S4REC,
    "s4rec_kmeans_on_beauty": S4REC - {"clusters_cluster_loss"},
    "ssl_item_without_masking_on_ml1m": {"contrast_info_nce_loss"},
    "ssl_item_on_sports": {"contrast_info_nce_loss"},
    "re4_on_ml1m": RE4,
    "comirec_sa_on_instruments": set(),
    "comirec_dr_on_instruments": set(),
    "mind_on_instruments": set(),
}
RATE = "train_config.optimizer_config[0].adam_optimizer.learning_rate.constant_learning_rate.learning_rate"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("systems")


@pytest.fixture
def prepared(root, real_data):
    """Returns a function from the name of a config to the data root with what it reads."""

    def prepare(name):
        place = name.split("_on_")[1]
        out = root / "data" / ("ml1m_next" if place == "ml1m" else place)
        if out.exists():
            return root
        if place == "ml1m":
            prepare_ml1m_sequences(movielens(real_data, root / "ml1m"), out)
            return root
        source, about = SOURCES[place]
        text = root / f"{place}.txt"
        with gzip.open(real_data(f"{source}.txt.gz"), "rt") as lines:
            text.write_text("".join(next(lines) for _ in range(USERS)))
        prepare_sequences(text, out, items=[real_data(f"{source}_{ending}.gz") for ending in about])
        return root

    return prepare


def movielens(real_data, folder):
    """Writes the ratings of some users, and all movies."""
    folder.mkdir()
    (folder / "movies.dat").write_bytes(real_data("ml1m/movies.dat").read_bytes())
    with gzip.open(real_data("ml1m/interactions.csv.gz"), "rt") as lines:
        kept = [next(lines), *(line for line in lines if int(line.split(",", 1)[0]) <= USERS)]
    (folder / "interactions.csv").write_text("".join(kept))
    return folder


def run(root, command, name, *words, steps=3, rate=0.001):
    settings = [
        f"model_dir={root / 'model' / name}",
        "data_config.batch_size=32",
        f"train_config.num_steps={steps}",
        "train_config.log_step_count_steps=1",
        f"{RATE}={rate}",
        "eval_config.num_examples=32",
        "export_config.exporter_type=none",
        *SMALL.get(name.replace("_without_masking", "").split("_on_")[0], []),
    ]
    given = [word for setting in settings for word in ("--set", setting)]
    return main([command, str(SAMPLES / f"{name}.config"), "--data-root", str(root), *given, *words])


def records(root, name, kind):
    lines = (root / "model" / name / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def train(root, name, steps=3, rate=0.001):
    """Trains; returns the losses of each step."""
    if name in ("ssl_item_on_ml1m", "ssl_item_on_sports"):
        folder = "ml1m_next" if name.endswith("ml1m") else "sports"
        path = root / "data" / folder / "mutual_information.json"
        measure = ["data", "mutual-information", str(SAMPLES / f"{name}.config"), "--group", "drawn"]
        assert main([*measure, "--data-root", str(root), "--output", str(path)]) == 0
        matrix = np.array(json.loads(path.read_text())["mutual_information"])
        assert np.all(matrix > 0) and np.all(matrix <= matrix[0, 0] + 1e-9)  # no field tells more than an id
    assert run(root, "train", name, steps=steps, rate=rate) == 0
    losses = [record["losses"] for record in records(root, name, "train")]
    assert len(losses) == steps
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_system_trains(prepared, name):
    root = prepared(name)
    for losses in train(root, name):
        assert set(losses) >= {"next_item_loss", *LOSSES[name]}
        assert all(np.isfinite(value) for value in losses.values())
    assert records(root, name, "eval")[-1]["metrics"]["users"] > 0


def test_re4_learns_and_its_export_finds_items(prepared):
    root, name = prepared("re4_on_instruments"), "re4_on_instruments"
    losses = train(root, name, steps=30, rate=0.03)
    assert set(losses[0]) >= RE4
    values = [step["next_item_loss"] for step in losses]
    assert np.mean(values[-5:]) < np.mean(values[:5]) - 0.1
    assert run(root, "export", name, "--output", str(root / "export"), steps=30, rate=0.03) == 0
    serve = tf.saved_model.load(str(root / "export" / "1")).signatures["serving_default"]
    found = serve(items=tf.constant(["1|2|3", ""]))
    ids, scores = found["item_ids"].numpy(), found["scores"].numpy()
    assert len(set(ids[0])) == 20 and not {1, 2, 3} & set(ids[0].tolist())
    assert np.all(np.diff(scores[0]) <= 0)
    assert found["user_emb"].shape == (2, 4, 64)


def test_ssl_item_learns(prepared):
    losses = train(prepared("ssl_item_on_ml1m"), "ssl_item_on_ml1m", steps=30, rate=0.01)
    for loss in ("next_item_loss", "contrast_info_nce_loss"):
        values = [step[loss] for step in losses]
        assert np.mean(values[-5:]) < np.mean(values[:5]) - 0.1, loss


@pytest.mark.slow
def test_s4rec_learns(prepared):
    losses = train(prepared("s4rec_on_beauty"), "s4rec_on_beauty", steps=20, rate=0.003)
    assert set(losses[0]) >= S4REC
    values = [step["next_item_loss"] for step in losses]
    assert np.mean(values[-5:]) < np.mean(values[:5]) - 0.1
