"""Metrics of a config: which ones, of which predictions and columns, and what is refused where."""

import subprocess
import sys

import numpy as np
import pytest

from easyssl.config import parse_config
from easyssl.errors import ConfigError
from easyssl.metrics import (
    AUC,
    Accuracy,
    GroupedAUC,
    MaxF1,
    MeanAbsoluteError,
    MeanSquaredError,
    Precision,
    Recall,
    RecallAtTopK,
    RootMeanSquaredError,
    ThresholdedAUC,
    metric_columns,
    metrics_from_config,
)

DATA = """
data_config { input_fields { input_name: 'uid' } input_fields { input_name: 'session' } }
feature_config {
  features { input_names: 'uid' feature_type: IdFeature feature_name: 'user' }
  features { input_names: 'item' feature_type: IdFeature shared_names: ['item2'] }
}
"""


def config_of(metrics, model=""):
    sets = "".join(f"  metrics_set {{ {m} }}\n" for m in metrics)
    return parse_config(f"{DATA}model_config {{ {model} }}\neval_config {{\n{sets}}}\n", "a.config")


def build(*metrics, model=""):
    return metrics_from_config(config_of(metrics, model))


def test_every_metric_of_a_click_model():
    built = build(
        "auc {}",
        "auc { num_thresholds: 200 }",
        "gauc { uid_field: 'user' }",
        "session_auc { session_id_field: 'session' reduction: 'mean_by_sample_num' }",
        "max_f1 {}",
        "accuracy {}",
        "precision {}",
        "recall {}",
        "mean_absolute_error {}",
        "mean_squared_error {}",
        "root_mean_squared_error {}",
    )
    assert [(type(m), m.name) for m in built] == [
        (AUC, "auc"),
        (ThresholdedAUC, "auc_2"),
        (GroupedAUC, "gauc"),
        (GroupedAUC, "session_auc"),
        (MaxF1, "max_f1"),
        (Accuracy, "accuracy"),
        (Precision, "precision"),
        (Recall, "recall"),
        (MeanAbsoluteError, "mean_absolute_error"),
        (MeanSquaredError, "mean_squared_error"),
        (RootMeanSquaredError, "root_mean_squared_error"),
    ]
    assert {m.prediction for m in built} == {"probs"}
    assert (built[2].group_column, built[2].reduction) == ("uid", "mean")
    assert (built[3].group_column, built[3].reduction) == ("session", "mean_by_sample_num")


def test_a_config_without_metrics_has_none():
    assert build() == []


@pytest.mark.parametrize(("name", "column"), [("user", "uid"), ("session", "session"), ("item2", "item2")])
def test_groups_are_features_or_columns(name, column):
    config = config_of([f"gauc {{ uid_field: '{name}' }}", "auc {}"])
    assert metric_columns(config) == (column,)
    assert metrics_from_config(config)[0].group_column == column


def test_predictions_of_other_losses():
    assert build("mean_squared_error {}", model="loss_type: L2_LOSS")[0].prediction == "y"
    assert build("auc {}", model="loss_type: ZILN_LOSS num_class: 3")[0].prediction == "probs"
    assert build("mean_absolute_error {}", model="loss_type: ZILN_LOSS num_class: 3")[0].prediction == "y"
    assert build("auc {}", model="loss_type: JRC_LOSS num_class: 2")[0].prediction == "probs"
    model = "losses { loss_type: F1_REWEIGHTED_LOSS } losses { loss_type: PAIR_WISE_LOSS }"
    assert build("auc {}", model=model)[0].prediction == "probs"
    accuracy, top = build("accuracy {}", "recall_at_topk { topk: 2 }", model="num_class: 4")
    assert (accuracy.prediction, top.prediction, top.name) == ("probs", "logits", "recall@2")
    assert isinstance(top, RecallAtTopK)


SCORES = np.array([[4.0, 1.0, 2.0, 3.0], [0.0, 5.0, 1.0, 1.0], [1.0, 2.0, 3.0, 0.0], [7.0, 7.0, 0.0, 7.0]])
CLASSES = np.array([0, 2, 1, 3])


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "model",
    [
        "loss_type: SOFTMAX_CROSS_ENTROPY num_class: 4",
        "loss_type: CLASSIFICATION num_class: 4",
        "num_class: 4 losses { loss_type: SOFTMAX_CROSS_ENTROPY }",
    ],
)
def test_metrics_of_several_classes(model):
    """By their definition: the best class is right, and fewer than k classes score above the labelled one."""
    metrics = build("accuracy {}", *(f"recall_at_topk {{ topk: {k} }}" for k in (1, 2, 3)), model=model)
    for rows in (slice(0, 3), slice(3, 4)):  # counts add up over batches
        for metric in metrics:
            predicted = {"logits": SCORES[rows], "probs": softmax(SCORES[rows])}
            metric.update(CLASSES[rows], predicted)
    above = [int((row > row[own]).sum()) for row, own in zip(SCORES, CLASSES, strict=True)]
    assert above == [0, 1, 1, 0]
    # Of equal scores, argmax takes the first; recall counts what is strictly above.
    assert [metric.name for metric in metrics] == ["accuracy", "recall@1", "recall@2", "recall@3"]
    assert [metric.result() for metric in metrics] == [0.25, 0.5, 1.0, 1.0]


def test_two_classes_by_softmax_have_a_positive_one():
    probs = softmax(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.5], [0.0, 0.5]]))
    labels = np.array([0, 1, 1, 1])
    model = "loss_type: SOFTMAX_CROSS_ENTROPY num_class: 2"
    auc, accuracy, recall = build("auc {}", "accuracy {}", "recall {}", model=model)
    for metric in (auc, accuracy, recall):
        metric.update(labels, {"probs": probs, "logits": np.log(probs)})
    # The third row has the lowest probability of class 1, so it loses against the only negative one.
    assert auc.result() == pytest.approx(2 / 3)
    assert accuracy.result() == 0.75
    assert recall.result() == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", ["auc {}", "recall {}", "mean_squared_error {}"])
def test_what_several_softmax_classes_do_not_give(metric):
    with pytest.raises(ConfigError, match="SOFTMAX_CROSS_ENTROPY with num_class 4 does not give"):
        build(metric, model="loss_type: SOFTMAX_CROSS_ENTROPY num_class: 4")


def test_a_metric_of_models_without_a_backbone_is_warned_of_and_passed_over():
    config = config_of(["auc {}", "precision_at_topk { topk: 3 }"])
    assert [metric.name for metric in metrics_from_config(config)] == ["auc"]
    assert [w for w in config.warnings if "precision_at_topk has no effect" in w] and not config.refused


def test_a_task_has_a_suffix_and_its_own_loss():
    config = config_of(["auc {}"], "loss_type: L2_LOSS")
    (metric,) = metrics_from_config(config, num_class=1, loss_types="CLASSIFICATION", suffix="_ctr")
    assert (metric.name, metric.prediction) == ("auc_ctr", "probs_ctr")
    metric.update(np.array([0, 1]), {"probs_ctr": np.array([0.1, 0.2])})
    assert metric.result() == 1.0


@pytest.mark.parametrize(
    ("metric", "model", "message"),
    [
        ("auc {}", "loss_type: L2_LOSS", "auc needs the probability of a positive class"),
        ("auc {}", "num_class: 3", "with num_class 3 does not give"),
        ("max_f1 {}", "num_class: 3", "max_f1 needs the probability"),
        ("accuracy {}", "loss_type: SIGMOID_L2_LOSS", "accuracy needs the probability"),
        ("mean_squared_error {}", "num_class: 2", "needs one predicted value per row"),
        ("recall_at_topk {}", "", "recall_at_topk needs MatchModel"),
        ("recall_at_topk { topk: 9 }", "num_class: 3", "topk: is 9; expected 1 to num_class 3"),
        ("auc { num_thresholds: 1 }", "", "num_thresholds: is 1; expected at least 2"),
        ("gauc {}", "", "gauc needs uid_field"),
        ("gauc { uid_field: 'usr' }", "", "'usr' is neither .* did you mean 'user'?"),
        ("gauc { uid_field: 'user' reduction: 'mean_by_sample' }", "", "did you mean 'mean_by_sample_num'?"),
        ("", "", "names no metric"),
    ],
)
def test_what_cannot_be_computed_is_refused_at_its_place(metric, model, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(
            "auc {}" if not model else "mean_absolute_error {}" if "L2" in model else "accuracy {}",
            metric,
            model=model,
        )
    assert str(caught.value).startswith("a.config:")
    assert "eval_config.metrics_set[1]" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_importing_metrics_does_not_import_tensorflow():
    code = "import sys, easyssl.metrics, easyssl.data.prepare; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
