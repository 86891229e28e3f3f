"""Accuracy, precision, recall and errors against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from easyssl.metrics import (
    Accuracy,
    MeanAbsoluteError,
    MeanSquaredError,
    Precision,
    Recall,
    RecallAtTopK,
    RootMeanSquaredError,
)

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1, width=32), st.floats(0.125, 4, width=32)),
    min_size=2,
    max_size=50,
).map(lambda r: np.array(r, dtype=np.float64).T)


def in_two_batches(metric, labels, values, weights):
    half = len(labels) // 2
    metric.update(labels[:half], {metric.prediction: values[:half]}, weights[:half])
    metric.update(labels[half:], {metric.prediction: values[half:]}, weights[half:])
    return metric.result()


@settings(deadline=None)
@given(ROWS)
def test_binary_metrics_are_scikit_learns(data):
    labels, scores, weights = data
    predicted = (scores > 0.5).astype(int)
    for metric, reference in [
        (Accuracy(), sk.accuracy_score(labels, predicted, sample_weight=weights)),
        (Precision(), sk.precision_score(labels, predicted, sample_weight=weights, zero_division=0)),
        (Recall(), sk.recall_score(labels, predicted, sample_weight=weights, zero_division=0)),
    ]:
        assert in_two_batches(metric, labels, scores, weights) == pytest.approx(reference)


@settings(deadline=None)
@given(ROWS)
def test_errors_are_scikit_learns(data):
    labels, values, weights = data
    labels = labels * 7 - 3
    squared = sk.mean_squared_error(labels, values, sample_weight=weights)
    absolute = sk.mean_absolute_error(labels, values, sample_weight=weights)
    assert in_two_batches(MeanSquaredError(), labels, values, weights) == pytest.approx(squared)
    assert in_two_batches(RootMeanSquaredError(), labels, values, weights) == pytest.approx(squared**0.5)
    assert in_two_batches(MeanAbsoluteError(), labels, values, weights) == pytest.approx(absolute)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 6))
def test_class_metrics_are_scikit_learns(seed, classes):
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(40, classes)), rng.integers(0, classes, 40)
    metric = Accuracy()
    metric.update(labels, {"probs": scores})
    assert metric.result() == pytest.approx(sk.accuracy_score(labels, scores.argmax(axis=1)))
    for k in range(1, classes):
        metric = RecallAtTopK(k)
        metric.update(labels, {"logits": scores})
        expected = sk.top_k_accuracy_score(labels, scores, k=k, labels=range(classes))
        assert metric.name == f"recall@{k}"
        assert metric.result() == pytest.approx(expected)


def test_sums_stay_exact_over_many_float32_batches():
    metric = MeanSquaredError()
    for _ in range(200):
        metric.update(np.full(1000, 0.1, np.float32), {"y": np.full(1000, 0.4, np.float32)})
    assert metric.result() == pytest.approx((np.float64(np.float32(0.1)) - np.float32(0.4)) ** 2, rel=1e-12)


def test_integer_predictions_and_column_vectors_are_read():
    metric = MeanAbsoluteError()
    metric.update(np.array([[1.0], [2.0]]), {"y": np.array([[2], [2]])})
    assert metric.result() == 0.5
    assert MeanAbsoluteError().result() == 0.0
