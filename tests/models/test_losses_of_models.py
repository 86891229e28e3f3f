"""Every loss of a RankModel from its config: trained, and compared with its function called by hand."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.config import parse_config
from easyssl.errors import ConfigError
from easyssl.losses import SUPERVISED_LOSSES
from easyssl.losses.jrc import jrc
from easyssl.losses.listwise import listwise_rank
from easyssl.models import build_model
from easyssl.training.labels import Labels

pytestmark = pytest.mark.both_keras

CONFIG = """
model_dir: 'run'
data_config {
  label_fields: 'y' label_fields: 'teacher' input_type: CSVInput
  input_fields { input_name: 'y' input_type: FLOAT }
  input_fields { input_name: 'teacher' input_type: FLOAT }
  input_fields { input_name: 'user' input_type: STRING }
  input_fields { input_name: 'age' input_type: FLOAT }
  input_fields { input_name: 'request' input_type: STRING }
}
feature_config {
  features { input_names: 'user' feature_type: IdFeature hash_bucket_size: 9 embedding_dim: 4 }
  features { input_names: 'age' feature_type: RawFeature }
  features { feature_name: 'session' input_names: 'request' feature_type: IdFeature num_buckets: 3 embedding_dim: 4 }
}
model_config {
  model_class: 'RankModel'
  feature_groups { group_name: 'all' feature_names: 'user' feature_names: 'age' wide_deep: DEEP }
  backbone {
    blocks {
      name: 'deep' inputs { feature_group_name: 'all' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: 6 use_bn: false } }
    }
    concat_blocks: 'deep'
  }
  %s
}
"""
ROWS = 6
CLICKS = [1, 0, 0, 1, 1, 0]
GRADES = [2, 0, 1, 1.5, 3, 0]


class Raw:
    """What a reader gives, as far as labels need it."""

    def __init__(self, y):
        self.columns = {
            "user": np.array([b"a", b"b", b"c", b"a", b"d", b"b"], object),
            "age": np.array([0.5, -1.0, 2.0, 0.1, 0.3, 0.0], np.float32),
            "request": np.array([b"r1", b"r2", b"r1", b"r2", b"r1", b"r3"], object),
            "y": np.asarray(y, np.float32),
            "teacher": np.array([0.5, -2.0, 1.0, 0.0, 0.3, 2.0], np.float32),
        }
        self.paths, self.lines = ["a.csv"] * ROWS, list(range(ROWS))


def model_of(text):
    keras.utils.set_random_seed(1)
    return build_model(parse_config(CONFIG % text))


def batch_of(model, y):
    raw = Raw(y)
    found = Labels.from_config(
        model.pipeline_config, model.label_names, model.label_limits, model.loss_columns
    )
    labels = {name: tf.constant(value) for name, value in found.labels(raw).items()}
    return model.transform(raw.columns), labels


def one(kind, params="", num_class=1):
    return f"num_class: {num_class} losses {{ loss_type: {kind} {params} }}"


SESSION = "session_name: 'session'"
JRC = f"jrc_loss {{ {SESSION} %s }}"
KINDS = {
    "CLASSIFICATION": ("loss_type: CLASSIFICATION", CLICKS),
    "L2_LOSS": ("loss_type: L2_LOSS", GRADES),
    "SIGMOID_L2_LOSS": ("loss_type: SIGMOID_L2_LOSS", CLICKS),
    "SOFTMAX_CROSS_ENTROPY": ("loss_type: SOFTMAX_CROSS_ENTROPY num_class: 3", [0, 1, 2, 2, 1, 0]),
    "BINARY_CROSS_ENTROPY_LOSS": ("loss_type: BINARY_CROSS_ENTROPY_LOSS", CLICKS),
    "PAIR_WISE_LOSS": ("loss_type: PAIR_WISE_LOSS", GRADES),
    "F1_REWEIGHTED_LOSS": (
        one("F1_REWEIGHTED_LOSS", "f1_reweighted_loss { f1_beta_square: 0.5 label_smoothing: 0.1 }"),
        CLICKS,
    ),
    "BINARY_FOCAL_LOSS": (
        one("BINARY_FOCAL_LOSS", "binary_focal_loss { alpha: 0.3 ohem_ratio: 0.5 }"),
        CLICKS,
    ),
    "PAIRWISE_FOCAL_LOSS": (
        one("PAIRWISE_FOCAL_LOSS", f"pairwise_focal_loss {{ hinge_margin: 1 gamma: 2 {SESSION} }}"),
        GRADES,
    ),
    "PAIRWISE_LOGISTIC_LOSS": (
        one("PAIRWISE_LOGISTIC_LOSS", "pairwise_logistic_loss { ohem_ratio: 0.5 use_label_margin: true }"),
        GRADES,
    ),
    "PAIRWISE_HINGE_LOSS": (
        one("PAIRWISE_HINGE_LOSS", f"pairwise_hinge_loss {{ temperature: 2 {SESSION} }}"),
        GRADES,
    ),
    "JRC_LOSS": (one("JRC_LOSS", JRC % "loss_weight_strategy: 'uncertainty'", 2), CLICKS),
    "LISTWISE_RANK_LOSS": (
        one("LISTWISE_RANK_LOSS", f"listwise_rank_loss {{ {SESSION} scale_logits: true temperature: 2 }}"),
        GRADES,
    ),
    "LISTWISE_DISTILL_LOSS": (
        one(
            "LISTWISE_DISTILL_LOSS",
            "listwise_distill_loss { session_name: 'request' transform_fn: 'lambda r: 1 / r' }",
        ),
        [1, 2, 3, 7, 2, 1],
    ),
    "ZILN_LOSS": (one("ZILN_LOSS", "ziln_loss { max_sigma: 2 }", 3), [0, 20.5, 0, 1, 3, 0]),
}
PREDICTED = {
    "L2_LOSS": {"y": [ROWS]},
    "SIGMOID_L2_LOSS": {"y": [ROWS]},
    "SOFTMAX_CROSS_ENTROPY": None,
    "JRC_LOSS": {"logits": [ROWS, 2], "pos_logits": [ROWS], "probs": [ROWS]},
    "ZILN_LOSS": {"logits": [ROWS, 3], "probs": [ROWS], "y": [ROWS]},
}


def trained(model, features, labels, steps=2, rate=0.005):
    """Trains by plain gradient descent and returns the losses before each step."""
    losses = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            found = model.compute_losses(features, labels, training=True)
        losses.append(found)
        gradients = tape.gradient(found.total, model.trainable_variables)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            if gradient is not None:
                gradient = tf.convert_to_tensor(gradient)
                assert np.isfinite(gradient).all()
                variable.assign(variable - rate * gradient)
    return losses


def test_every_loss_is_here():
    assert set(KINDS) == set(SUPERVISED_LOSSES) - {"ORDER_CALIBRATE_LOSS"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_trains(kind):
    text, y = KINDS[kind]
    model = model_of(text)
    features, labels = batch_of(model, y)
    losses = trained(model, features, labels)
    assert list(losses[0].unweighted) == [SUPERVISED_LOSSES[kind].name]
    assert float(losses[1].total) < float(losses[0].total)
    predicted = model(features)
    shapes = PREDICTED.get(kind, {"logits": [ROWS], "probs": [ROWS]})
    if shapes is not None:
        assert {name: list(value.shape) for name, value in predicted.items()} == shapes
    assert "request" not in model.transform.columns  # which serving would have to give


@pytest.mark.parametrize("kind", ["PAIRWISE_FOCAL_LOSS", "JRC_LOSS", "ZILN_LOSS"])
def test_half_precision_gives_finite_gradients(kind):
    text, y = KINDS[kind]
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = model_of(text)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    features, labels = batch_of(model, y)
    for losses in trained(model, features, labels):
        assert losses.total.dtype == tf.float32
    assert all(value.dtype == tf.float32 for value in model(features).values())


def test_parameters_and_sessions_reach_the_loss():
    params = f"listwise_rank_loss {{ {SESSION} temperature: 0.5 scale_logits: true }}"
    model = model_of(one("LISTWISE_RANK_LOSS", params))
    features, labels = batch_of(model, GRADES)
    np.testing.assert_array_equal(labels["request/group"], [0, 1, 0, 1, 0, 2])
    for variable, value in zip(model.objective.weights, (-2.0, 0.5), strict=True):
        variable.assign(value)
    found = model.compute_losses(features, labels, training=False)
    scores = 2.0 * found.predictions["logits"] + 0.5
    expected = listwise_rank(labels["y"], scores, None, labels["request/group"], temperature=0.5)
    np.testing.assert_allclose(found.total, expected, rtol=1e-5)


def test_drawn_shares_of_jrc():
    model = model_of(one("JRC_LOSS", JRC % "loss_weight_strategy: 'random_uniform'", 2))
    features, labels = batch_of(model, CLICKS)

    def share(training):
        found = model.compute_losses(features, labels, training=training)
        logits = found.predictions["logits"]
        ranking, calibration = (
            float(jrc(labels["y"], logits, None, labels["request/group"], alpha=alpha))
            for alpha in (0.0, 1.0)
        )
        return (float(found.total) - ranking) / (calibration - ranking)

    np.testing.assert_allclose(share(training=False), 0.5, rtol=1e-3)
    drawn = [share(training=True) for _ in range(3)]
    assert len(set(drawn)) == 3 and min(drawn) > -1e-3 and max(drawn) < 1 + 1e-3


BOTH = """
losses { loss_type: CLASSIFICATION weight: 0.5 }
losses { loss_type: PAIR_WISE_LOSS weight: 2 pairwise_loss { session_name: 'session' } }
"""


def test_weighted_losses_add_up():
    model = model_of(BOTH)
    features, labels = batch_of(model, CLICKS)
    found = model.compute_losses(features, labels, training=False)
    terms = {name: float(value) for name, value in found.unweighted.items()}
    assert list(terms) == ["cross_entropy_loss", "pair_wise_loss"]
    expected = 0.5 * terms["cross_entropy_loss"] + 2 * terms["pair_wise_loss"]
    np.testing.assert_allclose(found.total, expected, rtol=1e-6)


def test_a_value_and_an_order_share_an_output():
    model = model_of("losses { loss_type: L2_LOSS } losses { loss_type: PAIRWISE_LOGISTIC_LOSS }")
    features, labels = batch_of(model, GRADES)
    predicted = model.compute_losses(features, labels, training=False).predictions
    assert sorted(predicted) == ["logits", "probs", "y"]
    np.testing.assert_array_equal(predicted["y"], predicted["logits"])


def test_learned_weights():
    model = model_of(
        "loss_weight_strategy: Uncertainty losses { loss_type: L2_LOSS learn_loss_weight: true } "
        "losses { loss_type: PAIR_WISE_LOSS learn_loss_weight: true } "
        "losses { loss_type: PAIRWISE_HINGE_LOSS weight: 3 }"
    )
    features, labels = batch_of(model, GRADES)
    for variable, value in zip(model.objective.trainable_weights, (0.4, -0.7), strict=True):
        variable.assign(value)
    found = model.compute_losses(features, labels, training=False)
    terms = [float(value) for value in found.unweighted.values()]
    expected = np.exp(-0.4) * terms[0] / 2 + 0.2 + np.exp(0.7) * terms[1] - 0.35 + 3 * terms[2]
    np.testing.assert_allclose(found.total, expected, rtol=1e-5)


def test_drawn_weights():
    model = model_of(BOTH + "loss_weight_strategy: Random")
    assert [warning.split(": ", 1)[1] for warning in model.pipeline_config.warnings] == [
        "model_config.losses[0].weight: has no effect: weights are drawn",
        "model_config.losses[1].weight: has no effect: weights are drawn",
    ]
    features, labels = batch_of(model, CLICKS)
    even = model.compute_losses(features, labels, training=False)
    np.testing.assert_allclose(even.total, sum(map(float, even.unweighted.values())) / 2, rtol=1e-6)
    drawn = set()
    for _ in range(3):
        found = model.compute_losses(features, labels, training=True)
        shares = [float(found.weighted[name]) / float(found.unweighted[name]) for name in found.unweighted]
        np.testing.assert_allclose(sum(shares), 1.0, rtol=1e-5)
        drawn.add(shares[0])
    assert len(drawn) == 3


DISTILLED = """
loss_type: CLASSIFICATION
kd { pred_name: 'logits' soft_label_name: 'teacher' loss_type: BINARY_CROSS_ENTROPY_LOSS loss_weight: 0.5
     temperature: 2 task_space_indicator_name: 'user' task_space_indicator_value: 'a' out_task_space_weight: 0 }
kd { pred_name: 'probs' soft_label_name: 'teacher' loss_type: PAIRWISE_HINGE_LOSS loss_name: 'order'
     pairwise_hinge_loss { label_is_logits: false session_name: 'session' } }
"""


def test_distillation():
    model = model_of(DISTILLED)
    assert model.label_names == ("y", "teacher")
    assert model.label_limits == {"y": (0.0, 1.0, False)}
    features, labels = batch_of(model, CLICKS)
    np.testing.assert_array_equal(labels["user=a"], [1, 0, 0, 1, 0, 0])
    found = model.compute_losses(features, labels, training=False)
    assert list(found.unweighted) == ["cross_entropy_loss", "kd_loss_logits_teacher", "order"]
    z, t = (x.numpy()[[0, 3]] / 2 for x in (found.predictions["logits"], labels["teacher"]))
    expected = np.mean(np.logaddexp(0, z) - z / (1 + np.exp(-t)))
    np.testing.assert_allclose(found.unweighted["kd_loss_logits_teacher"], expected, rtol=1e-5)
    np.testing.assert_allclose(found.weighted["kd_loss_logits_teacher"], expected / 2, rtol=1e-5)
    counts = model.loss_denominators(ROWS, None, {name: value.numpy() for name, value in labels.items()})
    assert counts == {"cross_entropy_loss": 6.0, "kd_loss_logits_teacher": 2.0, "order": 6.0}


def test_a_keras_file_keeps_what_losses_learn(tmp_path):
    model = model_of(KINDS["LISTWISE_RANK_LOSS"][0])
    features, labels = batch_of(model, GRADES)
    trained(model, features, labels)
    before = model.compute_losses(features, labels, training=False).total
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
    after = loaded.compute_losses(features, labels, training=False).total
    np.testing.assert_allclose(after, before, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss_type: CIRCLE_LOSS", "loss_type: not supported: CIRCLE_LOSS"),
        ("loss_type: KL_DIVERGENCE_LOSS", "KL_DIVERGENCE_LOSS is no loss of a RankModel"),
        ("loss_type: ORDER_CALIBRATE_LOSS", "ORDER_CALIBRATE_LOSS is no loss of a RankModel"),
        ("loss_type: LISTWISE_RANK_LOSS", "LISTWISE_RANK_LOSS needs listwise_rank_loss { session_name }"),
        (one("JRC_LOSS", "jrc_loss { alpha: 0.2 }", 2), "JRC_LOSS needs jrc_loss { session_name }"),
        (one("JRC_LOSS", JRC % ""), "JRC_LOSS needs num_class 2; found 1"),
        (one("ZILN_LOSS"), "ZILN_LOSS needs num_class 3; found 1"),
        (
            one("LISTWISE_RANK_LOSS", f"listwise_rank_loss {{ {SESSION} transform_fn: 'os.system' }}"),
            r"listwise_rank_loss.transform_fn: 'os.system'",
        ),
        (
            one("PAIR_WISE_LOSS", "jrc_loss {}"),
            r"losses\[0\].jrc_loss: does not belong to PAIR_WISE_LOSS; its",
        ),
        (
            one("PAIR_WISE_LOSS", "pairwise_loss { temperature: 0 }"),
            "temperature: found 0; expected more than 0",
        ),
        (one("PAIR_WISE_LOSS", "pairwise_loss { session_name: 'sesion' }"), "did you mean 'session'"),
        (one("BINARY_FOCAL_LOSS", "binary_focal_loss { ohem_ratio: 2 }"), "more than 0 and at most 1"),
        (
            one("JRC_LOSS", JRC % "loss_weight_strategy: 'random_unifrm'", 2),
            "loss_weight_strategy: .*did you mean 'random_uniform'",
        ),
        (
            "losses { loss_type: L2_LOSS learn_loss_weight: true }",
            "needs .*loss_weight_strategy: Uncertainty",
        ),
        (
            one("JRC_LOSS", JRC % "", 2) + "losses { loss_type: CLASSIFICATION }",
            "JRC_LOSS and CLASSIFICATION cannot share one output",
        ),
        (
            "losses { loss_type: PAIR_WISE_LOSS } losses { loss_type: PAIR_WISE_LOSS }",
            "two losses are called 'p",
        ),
        ("kd { pred_name: 'logit' soft_label_name: 'teacher' loss_type: L2_LOSS }", "did you mean 'logits'"),
        ("kd { pred_name: 'logits' soft_label_name: 'techer' }", "did you mean 'teacher'"),
        (
            "kd { pred_name: 'logits' soft_label_name: 'teacher' loss_type: L2_LOSS temperature: 2 }",
            "temperature: has no effect on L2_LOSS",
        ),
        ("kd { soft_label_name: 'teacher' }", r"kd\[0\]: needs pred_name"),
    ],
)
def test_what_does_not_fit_is_told(text, message):
    with pytest.raises(ConfigError, match=message):
        model_of(text)
