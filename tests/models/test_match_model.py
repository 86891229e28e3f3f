"""MatchModel against NumPy on the vectors of its towers, and against TensorFlow Recommenders."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.config import parse_config
from easyssl.data.build import dataset_from_config
from easyssl.errors import ConfigError
from easyssl.models import MatchModel, build_model
from easyssl.models.hard_negatives import of_rows
from easyssl.training.labels import Labels
from easyssl.training.pipeline import Preparation
from easyssl.training.step import graph_function, inputs_of, open_inputs

pytestmark = pytest.mark.both_keras

SAMPLER = """
  negative_sampler {
    input_path: 'items.tsv' num_sample: 4 num_eval_sample: 2 attr_fields: ['item', 'brand'] item_id_field: 'item'
  }
"""


def built(text):
    return build_model(parse_config(text, "my.config"))


def float64(*tensors):
    return [np.asarray(t, np.float64) for t in tensors]


def softmax_loss(scores, weights, allowed=None):
    """Mean of the cross entropy of the diagonal, row by row."""
    total = 0.0
    for i, row in enumerate(scores):
        kept = row if allowed is None else row[allowed[i]]
        top = kept.max()
        total += weights[i] * (top + np.log(np.exp(kept - top).sum()) - row[i])
    return total / weights.sum()


def item_rows(rows, more):
    """Puts the items of `more` behind those of `rows`."""
    return {**rows, **{name: np.concatenate([rows[name], more[name]]) for name in ("item", "brand")}}


@pytest.mark.parametrize("function", ["COSINE", "INNER_PRODUCT", "EUCLID"])
@pytest.mark.parametrize("weighted", [False, True])
def test_list_wise(text, rows, function, weighted):
    model = built(text(params=f"simi_func: {function} temperature: 0.2 scale_simi: true", data=SAMPLER))
    scale, offset = model.get_layer("similarity").weights
    scale.assign(-1.5)
    offset.assign(0.3)
    features = model.transform(item_rows(rows(6), rows(4, seed=1)))
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 0.1], np.float32) if weighted else None
    losses = model.compute_losses(features, {}, weights, training=False)
    predicted = losses.predictions
    user, item = float64(predicted["user_tower_emb"], predicted["item_tower_emb"])
    assert user.shape == (6, 3) and item.shape == (10, 3)
    raw_user, raw_item = float64(*model.backbone(features, training=False))
    if function == "COSINE":
        raw_user, raw_item = (
            v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-6) for v in (raw_user, raw_item)
        )
    np.testing.assert_allclose(user, raw_user, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(item, raw_item, rtol=1e-4, atol=1e-6)
    scores = 1.5 * user @ item.T / (0.2 if function == "COSINE" else 1.0) + 0.3
    np.testing.assert_allclose(predicted["logits"], scores, rtol=1e-4, atol=1e-4)
    probs = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(predicted["probs"], probs / probs.sum(1, keepdims=True), rtol=1e-3, atol=1e-6)
    w = np.ones(6) if weights is None else weights.astype(np.float64)
    apart = np.maximum(0.0, -np.sum(user * item[:6], axis=1))
    expected = {"cross_entropy_loss": softmax_loss(scores, w), "reg_pos_loss": np.sum(w * apart) / w.sum()}
    assert losses.unweighted.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(losses.unweighted[name], value, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(losses.total, sum(expected.values()), rtol=1e-4)


def test_weights_of_zero_alone_give_no_loss(text, rows):
    model = built(text())
    losses = model.compute_losses(model.transform(rows(3)), {}, np.zeros(3, np.float32), training=False)
    assert float(losses.total) == 0.0


def test_items_of_the_own_id_are_no_negatives(text, rows):
    raw = item_rows(rows(5), rows(3, seed=1))
    raw["item"] = np.array([b"1", b"2", b"1", b"", b"", b"2", b"7", b"1"], object)
    model = built(text(params="item_id_feature: 'item'", data=SAMPLER))
    losses = model.compute_losses(model.transform(raw), {}, None, training=False)
    same = (raw["item"][:5, None] == raw["item"][None, :]) & (raw["item"] != b"")[None, :]
    allowed = ~same | np.eye(5, 8, dtype=bool)
    logits = float64(losses.predictions["logits"])[0]
    user, item = float64(losses.predictions["user_tower_emb"], losses.predictions["item_tower_emb"])
    np.testing.assert_array_equal(logits < -1e29, ~allowed)
    expected = softmax_loss(user @ item.T, np.ones(5), allowed)
    np.testing.assert_allclose(losses.unweighted["cross_entropy_loss"], expected, rtol=1e-4)
    plain = built(text(params="item_id_feature: 'item' mask_accidental_hits: false", data=SAMPLER))
    logits = plain.compute_losses(plain.transform(raw), {}, None, training=False).predictions["logits"]
    assert np.min(logits) > -2.0


HARD = """
  hard_negative_sampler {
    item_input_path: 'items.tsv' hard_neg_edge_input_path: 'skipped.tsv' num_sample: 2 num_hard_sample: 3
    attr_fields: ['item', 'brand'] item_id_field: 'item' user_id_field: 'user'
  }
"""
INDICES = np.array([[0, 0], [0, 1], [3, 0]], np.int64)


def hard_features(model, rows):
    """Returns features of 5 rows, 2 negatives of all, 2 of row 0 and 1 of row 3."""
    raw = item_rows(rows(5), rows(5, seed=1))
    raw["item"] = np.array([b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"1", b"9"], object)
    return model.training_transform({**raw, "hard_neg_indices": INDICES})


@pytest.mark.parametrize("params", ["", "item_id_feature: 'item'"])
def test_hard_negatives_are_compared_with_their_rows_alone(text, rows, params):
    model = built(text(params=f"temperature: 0.5 scale_simi: true {params}", data=HARD))
    model.get_layer("similarity").weights[1].assign(0.3)
    losses = model.compute_losses(hard_features(model, rows), {}, None, training=False)
    user, item = float64(losses.predictions["user_tower_emb"], losses.predictions["item_tower_emb"])
    expected = np.full((5, 10), -np.inf)
    expected[:, :7] = user @ item[:7].T / 0.5 + 0.3
    for (row, number), vector in zip(INDICES, item[7:], strict=True):
        expected[row, 7 + number] = user[row] @ vector / 0.5 + 0.3
    if params:  # the second one of row 0 is its own item
        expected[0, 8] = -np.inf
    logits = float64(losses.predictions["logits"])[0]
    np.testing.assert_array_equal(logits < -1e29, np.isinf(expected))
    np.testing.assert_allclose(logits[logits > -1e29], expected[logits > -1e29], rtol=1e-4, atol=1e-5)
    loss = softmax_loss(expected, np.ones(5))
    np.testing.assert_allclose(losses.unweighted["cross_entropy_loss"], loss, rtol=1e-4)
    # Without any, as in a batch of users for whom nothing is listed.
    raw = {**item_rows(rows(5), rows(2, seed=1)), "hard_neg_indices": INDICES[:0]}
    none = model.compute_losses(model.training_transform(raw), {}, None, training=False)
    assert none.predictions["logits"].shape == (5, 10) and np.max(none.predictions["logits"][:, 7:]) < -1e29
    assert model(model.transform(rows(5)), training=False)["logits"].shape == (5,)


def test_hard_negatives_teach_under_xla_and_without_correction(text, rows):
    params = "item_id_feature: 'item' log_q_correction: true log_q_buckets: 50"
    model = built(text(params=params, data=HARD))
    model.create_variables()
    features = hard_features(model, rows)

    def gradient(features):
        with tf.GradientTape() as tape:
            losses = model.compute_losses(features, {}, None, training=True)
        table = next(v for v in model.trainable_variables if "brand" in getattr(v, "path", v.name))
        found = tape.gradient(losses.unweighted["cross_entropy_loss"], table)
        return tf.convert_to_tensor(found), losses.predictions["log_probabilities"]

    plain, log_p = gradient(features)
    compiled, _ = tf.function(gradient, jit_compile=True, autograph=False)(features)
    assert np.all(np.any(np.asarray(plain)[np.asarray(features["brand"])[7:]] != 0, axis=-1))
    np.testing.assert_allclose(log_p[7:], np.zeros(3))
    assert log_p.shape == (10,) and compiled.shape == plain.shape


def test_hard_negatives_come_from_files_to_the_loss(text, tmp_path):
    lines = [f"{i}\t1\t{i}:{i % 10}\n" for i in range(30)]
    (tmp_path / "items.tsv").write_text("id:int64\tweight:float\tfeature:string\n" + "".join(lines))
    (tmp_path / "skipped.tsv").write_text("u\ti\tw\n1\t20\t1\n1\t21\t1\n3\t22\t1\n")
    (tmp_path / "rows.csv").write_text("1,1,0.5,4,4\n1,bad,0.1,5,5\n0,2,0.5,6,6\n1,3,0.5,7,7\n1,1,0.5,20,0\n")
    skip = "malformed_rows: SKIP max_malformed_rows: 1 " + HARD
    config = parse_config(
        text(data=skip, head="model_dir: 'run' train_input_path: 'rows.csv'"), str(tmp_path / "my.config")
    )
    model = build_model(config)
    data = dataset_from_config(config, "train", columns=list(model.training_transform.columns))
    prepare = Preparation.for_model(model, Labels([]), data.bad_rows)
    (batch,) = [prepare(raw) for raw in data.batches()]
    assert batch.rows == 4 and batch.features["hard_neg_indices"].numpy().tolist() == [
        [0, 0],
        [0, 1],
        [2, 0],
        [3, 0],
    ]
    assert batch.features["brand"].numpy().tolist()[-4:] == [0, 1, 2, 1]
    step = graph_function(
        lambda given: model.compute_losses(given["features"], {}).predictions["logits"],
        open_inputs(batch, prepare.signature()),
    )
    logits = step(inputs_of(batch)).numpy()
    assert logits.shape == (4, 4 + 2 + 3)
    assert (logits[:, 6:] > -1e29).sum(axis=1).tolist() == [2, 0, 1, 1]


def test_rows_of_a_batch_keep_their_hard_negatives(text, rows):
    model = built(text(data=HARD))
    features = hard_features(model, rows)
    whole = float64(model.predict_for_loss(features, training=False)["logits"])[0]
    for begin, end in ((0, 2), (2, 5), (4, 5)):
        part = of_rows(features, 5, begin, end)
        logits = float64(model.predict_for_loss(part, training=False)["logits"])[0]
        expected = np.concatenate([whole[begin:end, begin:end], whole[begin:end, 5:]], axis=1)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_popular_items_are_corrected_for_while_training(text, rows):
    params = "item_id_feature: 'item' mask_accidental_hits: false log_q_correction: true log_q_rate: 1 log_q_buckets: 1009"
    model = built(text(params=params))
    raw = rows(4)
    raw["item"] = np.array([b"1", b"2", b"3", b"4"], object)
    features = model.transform(raw)
    for _ in range(3):
        model.compute_losses(features, {}, None, training=True)
    raw["item"] = np.array([b"1", b"2", b"3", b"9"], object)
    losses = model.compute_losses(model.transform(raw), {}, None, training=True)
    # 9 is met for the first time, in the fourth step.
    log_p = float64(losses.predictions["log_probabilities"])[0]
    np.testing.assert_allclose(log_p, np.log([1.0, 1.0, 1.0, 0.25]), atol=1e-6)
    scores = float64(losses.predictions["logits"])[0] - log_p[None, :]
    np.testing.assert_allclose(
        losses.unweighted["cross_entropy_loss"], softmax_loss(scores, np.ones(4)), rtol=1e-4
    )
    quiet = model.compute_losses(model.transform(raw), {}, None, training=False)
    assert "log_probabilities" not in quiet.predictions


@pytest.mark.parametrize("loss", ["CLASSIFICATION", "L2_LOSS"])
def test_point_wise(text, rows, loss):
    model = built(text(model=f"loss_type: {loss}", params="temperature: 0.5"))
    features, labels = model.transform(rows(6)), {"clk": np.array([0, 1, 1, 0, 1, 0], np.float32)}
    losses = model.compute_losses(features, labels, None, training=False)
    predicted = losses.predictions
    user, item = float64(predicted["user_tower_emb"], predicted["item_tower_emb"])
    score = np.sum(user * item, axis=1) / 0.5
    y = labels["clk"].astype(np.float64)
    if loss == "L2_LOSS":
        np.testing.assert_allclose(predicted["y"], score, rtol=1e-4, atol=1e-5)
        expected, name = np.mean((y - score) ** 2), "l2_loss"
    else:
        np.testing.assert_allclose(predicted["logits"], score, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(predicted["probs"], 1 / (1 + np.exp(-score)), rtol=1e-4)
        expected, name = np.mean(np.logaddexp(0, score) - y * score), "cross_entropy_loss"
    assert list(losses.unweighted) == [name]
    np.testing.assert_allclose(losses.total, expected, rtol=1e-4)


def test_pairs_are_scored_row_by_row(text, rows):
    model = built(text(params="temperature: 0.1"))
    features = model.transform(rows(6))
    pairs = model(features, training=False)
    matrix = model.predict_for_loss(features, training=False)["logits"]
    assert set(pairs) == {"logits", "user_emb", "item_emb", "user_tower_emb", "item_tower_emb"}
    np.testing.assert_allclose(pairs["logits"], np.diagonal(matrix), rtol=1e-4, atol=1e-5)
    alone = model({name: value[2:3] for name, value in features.items()}, training=False)
    np.testing.assert_allclose(alone["logits"], pairs["logits"][2:3], rtol=1e-5)
    for side in ("user", "item"):
        numbers = [[float(n) for n in row.split(b",")] for row in pairs[f"{side}_emb"].numpy()]
        np.testing.assert_allclose(numbers, pairs[f"{side}_tower_emb"], atol=1e-6)


def test_each_tower_answers_for_its_own_columns(text, rows):
    model = built(text())
    raw = rows(4)
    both = model(model.transform(raw), training=False)
    assert {name: s.columns for name, s in model.signatures().items()} == {
        "user_tower": ("user", "age"),
        "item_tower": ("item", "brand"),
    }
    for name, signature in model.signatures().items():
        (found,) = signature.function({column: raw[column] for column in signature.columns}).items()
        assert found[0] == f"{name}_emb"
        np.testing.assert_allclose(found[1], both[found[0]], rtol=1e-5, atol=1e-6)


def test_towers_may_stand_anywhere_in_the_output(text, rows):
    swapped = text(params="user_tower_idx_in_output: 1 item_tower_idx_in_output: 0").replace(
        "['user_tower', 'item_tower']", "['item_tower', 'user_tower']"
    )
    model = built(swapped)
    assert (model.match.user.block, model.match.item.block) == ("user_tower", "item_tower")


def test_fit_and_evaluate_of_keras(text, rows):
    model = built(text(params="item_id_feature: 'item' log_q_correction: true log_q_buckets: 100"))
    features = model.transform(rows(16))
    model.compile("adam")
    history = model.fit(tf.data.Dataset.from_tensors((features, {})).repeat(3), verbose=0)
    assert np.isfinite(history.history["loss"][0])
    again = MatchModel.from_config(model.get_config())
    assert again.pipeline_config.text() == model.pipeline_config.text()


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_loss_of_a_batch_does_not_depend_on_the_order_of_its_rows(text, rows, batch):
    model = built(text(params="item_id_feature: 'item'"))
    raw, order = rows(batch), np.random.default_rng(1).permutation(batch)
    first, second = (
        model.compute_losses(model.transform(columns), {}, None, training=False).total
        for columns in (raw, {name: values[order] for name, values in raw.items()})
    )
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(hasattr(keras, "ops"), reason="TensorFlow Recommenders imports under tf_keras only")
@pytest.mark.parametrize("masked", [False, True])
def test_it_agrees_with_tensorflow_recommenders(text, rows, masked):
    tfrs = pytest.importorskip("tensorflow_recommenders")
    model = built(
        text(
            params="temperature: 0.3 item_id_feature: 'item' "
            + f"mask_accidental_hits: {str(masked).lower()}"
        )
    )
    raw = rows(16)
    features = model.transform(raw)
    losses = model.compute_losses(features, {}, None, training=False)
    predicted = losses.predictions
    theirs = tfrs.tasks.Retrieval(temperature=0.3, remove_accidental_hits=masked)(
        predicted["user_tower_emb"],
        predicted["item_tower_emb"],
        candidate_ids=features["item"],
        compute_metrics=False,
        compute_batch_metrics=False,
    )
    np.testing.assert_allclose(losses.unweighted["cross_entropy_loss"] * 16, theirs, rtol=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "loss_type: SOFTMAX_CROSS_ENTROPY",
            "loss_type: SIGMOID_L2_LOSS",
            "loss_type: SIGMOID_L2_LOSS is no loss of a MatchModel",
        ),
        (
            "loss_type: SOFTMAX_CROSS_ENTROPY",
            "loss_type: SOFTMAX_CROSS_ENTROPY num_class: 2",
            "num_class: found 2",
        ),
        (
            "loss_type: SOFTMAX_CROSS_ENTROPY",
            "losses { loss_type: SOFTMAX_CROSS_ENTROPY } losses { loss_type: CLASSIFICATION loss_name: 'b' }",
            r"losses\[1\]: SOFTMAX_CROSS_ENTROPY and CLASSIFICATION cannot share one output",
        ),
        (
            "hidden_units: 3 use_bn",
            "hidden_units: 4 use_bn",
            "need one width, but 'user_tower' gives .*4.* and 'item_tower' .*3",
        ),
        (
            "inputs { feature_group_name: 'item' }",
            "inputs { feature_group_name: 'item' } inputs { feature_group_name: 'item' } merge_inputs_into_list: true",
            "item_tower",
        ),
        (
            "model_class: 'MatchModel'",
            "model_class: 'RankModel' num_class: 2",
            "simi_func: is for model_class MatchModel",
        ),
    ],
)
def test_what_does_not_fit_is_told(text, old, new, message):
    given = text(params="simi_func: INNER_PRODUCT")
    assert old in given
    with pytest.raises(ConfigError, match=message):
        built(given.replace(old, new, 1))


def test_blocks_that_mix_users_with_sampled_items_are_told(text):
    extra = """blocks {
      name: 'mixed' inputs { block_name: 'user_tower' } inputs { block_name: 'item_tower' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: 2 } }
    }
    output_blocks:"""
    given = text(data=SAMPLER).replace("output_blocks:", extra)
    with pytest.raises(ConfigError, match="block 'mixed'"):
        built(given)
