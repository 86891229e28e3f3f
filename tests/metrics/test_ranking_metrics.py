"""AUC, grouped AUC and best F1 against scikit-learn and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from easyssl.errors import TrainingError
from easyssl.metrics import AUC, GroupedAUC, MaxF1, ThresholdedAUC


def rows(min_size=2, max_size=60):
    """Rows of (label, score with many ties, weight, group)."""
    row = st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(1, 5), st.integers(0, 6))
    return st.lists(row, min_size=min_size, max_size=max_size).map(lambda r: np.array(r).T)


def stream(metric, labels, scores, weights=None, columns=None, cuts=(0.3, 0.8)):
    """Feeds rows in three batches."""
    n = len(labels)
    edges = [0, *(int(c * n) for c in cuts), n]
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        metric.update(
            labels[a:b],
            {metric.prediction: scores[a:b]},
            None if weights is None else weights[a:b],
            None if columns is None else {k: v[a:b] for k, v in columns.items()},
        )
    return metric.result()


@settings(deadline=None)
@given(rows())
def test_auc_is_scikit_learns(data):
    labels, scores, weights, _ = data
    scores = scores / 8
    if 0 < labels.sum() < len(labels):
        assert stream(AUC(), labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores))
        expected = sk.roc_auc_score(labels, scores, sample_weight=weights)
        assert stream(AUC(), labels, scores, weights) == pytest.approx(expected)
    else:
        assert stream(AUC(), labels, scores) == 0.0


@settings(deadline=None)
@given(rows(min_size=4))
def test_auc_does_not_change_under_an_increasing_function(data):
    labels, scores, _, _ = data
    assert stream(AUC(), labels, scores / 8) == stream(AUC(), labels, np.exp(scores / 3.0))


def test_auc_of_a_large_batch_in_float32():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    scores = (rng.normal(size=20_000) + labels).astype(np.float32)
    assert stream(AUC(), labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)


def test_integer_weights_are_repeated_rows():
    labels, scores, weights = np.array([0, 1, 1, 0]), np.array([0.1, 0.4, 0.35, 0.4]), np.array([2, 1, 3, 1])
    repeated = AUC()
    repeated.update(labels.repeat(weights), {"probs": scores.repeat(weights)})
    assert stream(AUC(), labels, scores, weights) == pytest.approx(repeated.result())


def test_reset_forgets_and_buffers_may_be_reused():
    metric = AUC()
    buffer = np.array([0.9, 0.1])
    metric.update(np.array([0, 1]), {"probs": buffer})
    buffer[:] = buffer[::-1].copy()
    assert metric.result() == 0.0
    metric.reset()
    metric.update(np.array([0, 1]), {"probs": buffer})
    assert metric.result() == 1.0


def test_two_columns_mean_the_second():
    metric = AUC()
    metric.update(np.array([[0], [1]]), {"probs": np.array([[0.8, 0.2], [0.3, 0.7]])})
    assert metric.result() == 1.0


@pytest.mark.parametrize("metric", [AUC(), GroupedAUC("user"), MaxF1(), ThresholdedAUC(5)])
def test_no_rows_give_zero(metric):
    assert metric.result() == 0.0


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(TrainingError, match="auc: 1 of 2 values of prediction 'probs' are not finite"):
        AUC().update(np.array([0, 1]), {"probs": np.array([0.5, np.nan])})


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_shapes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="auc: prediction 'probs'"):
        AUC().update(np.array([0, 1]), {"probs": np.zeros(shape)})


@settings(deadline=None)
@given(rows(), st.integers(2, 20))
def test_thresholded_auc_is_the_trapezoid_over_its_thresholds(data, count):
    labels, scores, weights, _ = data
    scores = scores / 8
    if labels.min() == labels.max():
        assert stream(ThresholdedAUC(count), labels, scores) == 0.0
        return
    thresholds = [i / (count - 1) for i in range(count)]
    thresholds[0], thresholds[-1] = -1e-7, 1 + 1e-7
    true = [weights[(scores > t) & (labels == 1)].sum() / weights[labels == 1].sum() for t in thresholds]
    false = [weights[(scores > t) & (labels == 0)].sum() / weights[labels == 0].sum() for t in thresholds]
    area = sum((false[i] - false[i + 1]) * (true[i] + true[i + 1]) / 2 for i in range(count - 1))
    assert stream(ThresholdedAUC(count), labels, scores, weights) == pytest.approx(area)


@settings(deadline=None)
@given(rows())
def test_thresholded_auc_is_exact_when_a_threshold_parts_every_pair_of_scores(data):
    labels, scores, _, _ = data
    scores = (scores + 0.5) / 9
    assert stream(ThresholdedAUC(10), labels, scores) == pytest.approx(stream(AUC(), labels, scores))


def loop_gauc(labels, scores, groups, reduction, weights):
    values, importance = [], []
    for group in sorted(set(groups)):
        own = groups == group
        if labels[own].min() == labels[own].max():
            continue
        values.append(sk.roc_auc_score(labels[own], scores[own], sample_weight=weights[own]))
        importance.append(
            {
                "mean": 1,
                "mean_by_sample_num": weights[own].sum(),
                "mean_by_positive_num": weights[own & (labels == 1)].sum(),
            }[reduction]
        )
    return np.average(values, weights=importance) if values else 0.0


@settings(max_examples=60, deadline=None)
@given(rows(), st.sampled_from(["mean", "mean_by_sample_num", "mean_by_positive_num"]), st.booleans())
def test_gauc_is_a_loop_of_scikit_learn(data, reduction, weighted):
    labels, scores, weights, groups = data
    names = np.array([f"u{g}".encode() for g in groups], dtype=object)
    metric = GroupedAUC("user", reduction)
    found = stream(metric, labels, scores / 8, weights if weighted else None, {"user": names})
    unit = weights if weighted else np.ones_like(weights)
    assert found == pytest.approx(loop_gauc(labels, scores, groups, reduction, unit))


@settings(deadline=None)
@given(rows())
def test_gauc_of_one_group_is_the_auc(data):
    labels, scores, _, _ = data
    columns = {"user": np.full(len(labels), 7)}
    assert stream(GroupedAUC("user"), labels, scores / 8, columns=columns) == pytest.approx(
        stream(AUC(), labels, scores / 8)
    )


def test_gauc_needs_its_column_and_a_known_reduction():
    with pytest.raises(ValueError, match="no raw column 'user'"):
        GroupedAUC("user").update(np.array([1]), {"probs": np.array([0.5])}, columns={})
    with pytest.raises(ValueError, match="reduction"):
        GroupedAUC("user", "median")


@settings(deadline=None)
@given(rows())
def test_max_f1_tries_every_threshold(data):
    labels, scores, weights, _ = data
    candidates = [
        sk.f1_score(labels, scores >= t, sample_weight=weights, zero_division=0) for t in np.unique(scores)
    ]
    assert stream(MaxF1(), labels, scores / 8, weights) == pytest.approx(max(candidates))
