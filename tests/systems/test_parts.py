"""What the parts of a system reach: the sample configs on made-up items, against the models without these parts."""

import gzip
import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from easyssl.config import parse_config
from easyssl.data.prepare import prepare_sequences
from easyssl.data.transform import transform_from_config
from easyssl.models import build_model

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "samples" / "next_item"
ITEMS = 30
BLOCKS = "model_config.backbone.blocks"


def items_file(folder):
    """Writes 30 movies; the few popular ones are those of low numbers."""
    folder.mkdir(parents=True)
    lines = ["item_id\tpopularity\ttitle_words\tyear\tgenres"]
    lines += [
        f"{i}\t{100 // i}\tthe|w{i}|w{i % 7}\t{1990 + i % 5}\tg{i % 3}|g{i % 4}" for i in range(1, ITEMS + 1)
    ]
    with gzip.open(folder / "items.tsv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")


def model_of(text, folder, *overrides):
    model = build_model(
        parse_config(text, str(folder / "my.config"), overrides=overrides, data_root=str(folder))
    )
    model.create_variables()
    return model


def histories(seed=0, rows=6):
    """Returns raw rows of histories and the items after them."""
    rng = np.random.default_rng(seed)
    cells = ["|".join(map(str, rng.integers(1, ITEMS + 1, n))) for n in [5, 1, 9, 0, 3, 4][:rows]]
    return {
        "items": tf.constant(cells),
        "items/next": tf.constant([str(rng.integers(1, ITEMS + 1)) for _ in cells]),
    }


def gradients(model, features, name):
    """Returns a loss, or with "total" the sum of all, and how large its gradient to each weight is."""
    with tf.GradientTape() as tape:
        losses = model.compute_losses(features, {}, training=True)
        value = losses.total if name == "total" else losses.unweighted[name]
    found = tape.gradient(value, model.trainable_weights, unconnected_gradients="zero")
    names = [weight.name for weight in model.trainable_weights]
    return float(value), {name: tf.convert_to_tensor(g).numpy() for name, g in zip(names, found, strict=True)}


@pytest.fixture(scope="module")
def ssl_item(tmp_path_factory):
    """Returns the model of the sample, and a function that builds one of another text."""
    root = tmp_path_factory.mktemp("ssl_item")
    folder = root / "data" / "ml1m_next"
    items_file(folder)
    information = np.eye(4) + 1 / (1 + np.abs(np.subtract.outer(np.arange(4), np.arange(4))))
    (folder / "mutual_information.json").write_text(json.dumps(information.tolist()))
    text = (SAMPLES / "ssl_item_on_ml1m.config").read_text()
    return model_of(text, root), lambda changed: model_of(changed(text), root)


def without_contrast(text):
    """Cuts what the contrast is made of out of the sample."""
    start, end = (
        text.index('    blocks {\n      name: "drawn"\n'),
        text.index('    output_blocks: ["user", "item"]'),
    )
    text = text[:start] + text[end:]
    text, groups = re.subn(r'\n  feature_groups \{ group_name: "drawn".*', "", text)
    text, streams = re.subn(r"\n    streams \{.*", "", text)
    assert (groups, streams) == (1, 1)
    return text


def test_the_contrast_of_items_teaches_the_tower_of_queries_nothing(ssl_item):
    model, _ = ssl_item
    features = model.training_transform(histories())
    queries = [w.name for w in model.trainable_weights if "/user/" in w.name]
    towers = [w.name for w in model.trainable_weights if "/vector/" in w.name]
    assert len(queries) == len(towers) == 4
    loss, found = gradients(model, features, "contrast_info_nce_loss")
    assert loss > 0
    assert all(np.all(found[name] == 0) for name in queries) and all(np.any(found[name]) for name in towers)
    _, found = gradients(model, features, "next_item_loss")
    assert all(np.any(found[name]) for name in queries + towers)


def test_scores_are_the_same_with_and_without_the_contrast(ssl_item):
    model, built = ssl_item
    plain = built(without_contrast)
    given = {w.name: w for w in model.weights}
    assert len(plain.weights) < len(model.weights)
    for weight in plain.weights:
        weight.assign(given[weight.name])
    rows = {"items": histories()["items"]}
    one, other = (m(m.transform(rows)) for m in (model, plain))
    np.testing.assert_array_equal(one["item_ids"], other["item_ids"])
    np.testing.assert_array_equal(one["scores"], other["scores"])
    assert (
        "contrast_info_nce_loss"
        not in plain.compute_losses(plain.training_transform(histories()), {}).unweighted
    )


def test_items_of_the_contrast_are_drawn_uniformly(ssl_item):
    """Unlike those of the rows, whose popular items come most."""
    model, _ = ssl_item
    draw = tf.function(lambda: model.objective_of_items.draw_stream(6, ITEMS), autograph=False)
    counts = np.bincount(np.concatenate([draw().numpy() for _ in range(1000)]), minlength=ITEMS)
    expected = 6 * 1000 / ITEMS
    # Draws without replacement vary by (30 - 6) / (30 - 1) as much; 58.3 is the chi-square's 99.9 % at 29.
    assert np.sum((counts - expected) ** 2) / expected * 29 / 24 < 58.3
    popularity = model.corpus.popularity / model.corpus.popularity.sum()
    assert np.sum((popularity * counts.sum() - expected) ** 2) / expected > 1000


def test_re4_without_its_losses_is_comirec_sa(tmp_path):
    """By values and gradients, once both have neither positions, value projection nor head."""
    items_file(tmp_path / "data" / "instruments")
    few = "model_config.next_item.num_negatives=12"
    text = (SAMPLES / "comirec_sa_on_instruments.config").read_text()
    text, count = re.subn(r'\n.*"max_position_embeddings".*', "", text)
    comirec = model_of(text, tmp_path, few)
    text = (SAMPLES / "re4_on_instruments.config").read_text()
    text = text.replace(
        '"output_head" value { string_value: "tanh_fc" }', '"value_projection" value { bool_value: false }'
    )
    weights = [
        f"{BLOCKS}[name={block}].keras_layer.st_params.loss_weight"
        for block in ("contrast", "attend", "construct")
    ]
    off, on = (model_of(text, tmp_path, few, *(f"{w}={value}" for w in weights)) for value in (0, 1))
    assert count == 1 and "value_projection" in text

    given = {w.name: w for w in comirec.weights}
    features = comirec.training_transform(histories())
    (state,) = (w for w in comirec.weights if "random_state" in w.name)
    found = {}
    for name, model in (("off", off), ("on", on)):
        for weight in model.weights:
            if (same := weight.name.replace("/interests/", "/user/")) in given:
                weight.assign(given[same])
        found[name] = gradients(model, features, "total")
    start = state.numpy()
    expected, slopes = gradients(comirec, features, "total")
    assert np.any(state.numpy() != start)
    assert found["off"][0] == pytest.approx(expected, rel=1e-6) and found["on"][0] > expected + 0.1
    reached = {name.replace("/interests/", "/user/"): slope for name, slope in found["off"][1].items()}
    for name, slope in slopes.items():
        assert np.any(slope)
        np.testing.assert_allclose(reached.pop(name), slope, rtol=1e-6, atol=1e-9)
    assert len(reached) == 5 and not any(np.any(slope) for slope in reached.values())  # those of ReConstruct
    assert any(np.any(slope) for name, slope in found["on"][1].items() if "construct" in name)


COUNTS = {"beauty": "amazon_5core/Beauty.txt.gz", "sports": "amazon_5core/Sports_and_Outdoors.txt.gz"}


@pytest.mark.parametrize("place", COUNTS)
def test_a_fifth_of_the_users_of_s4rec_is_the_head(place, real_data, tmp_path):
    with gzip.open(real_data(COUNTS[place]), "rt") as lines:
        users = list(lines)
    counts = np.array([len(line.split()) - 1 for line in users])
    config = parse_config((SAMPLES / f"s4rec_on_{place}.config").read_text(), str(tmp_path / "my.config"))
    (bound,) = next(f for f in config.message.feature_config.features if "count" in f.input_names).boundaries
    # No other number of items comes closer to 20 %.
    shares = {n: np.mean(counts >= n) for n in (bound - 1, bound, bound + 1)}
    assert min(shares, key=lambda n: abs(shares[n] - 0.2)) == bound

    some = users[::100]
    (tmp_path / "users.txt").write_text("".join(some))
    prepare_sequences(tmp_path / "users.txt", tmp_path, compress=False)
    header, *rows = (line.split("\t") for line in (tmp_path / "sequences.tsv").read_text().splitlines())
    column = tf.constant([float(row[header.index("count")]) for row in rows])
    found = transform_from_config(config).of_columns({"count": column})
    (classes,) = (x for name, x in found.items() if name.startswith("count"))
    head = [len(line.split()) - 1 >= bound for line in some]
    np.testing.assert_array_equal(np.ravel(classes), head)
    assert 0.1 < np.mean(head) < 0.3
