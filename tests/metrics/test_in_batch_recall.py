import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.metrics import InBatchRecall


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(0, 4), st.integers(1, 4), st.integers(0, 99))
def test_it_is_the_definition(rows, sampled, topk, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, (rows, rows + sampled)).astype(float)
    weights = rng.integers(0, 3, rows).astype(float)
    spans = {"all": (0, rows + sampled), "batch": (0, rows), "sampled": (rows, rows + sampled)}
    for columns, (begin, end) in spans.items():
        metric = InBatchRecall(topk, columns)
        metric.update(np.ones(rows), {"logits": scores}, weights)
        found = [sum(scores[i, j] > scores[i, i] for j in range(begin, end)) < topk for i in range(rows)]
        expected = np.dot(found, weights) / weights.sum() if weights.any() else 0.0
        assert metric.result() == pytest.approx(expected)


def test_names():
    assert [InBatchRecall(3, c).name for c in ("all", "batch", "sampled")] == [
        "recall@3",
        "recall_in_batch@3",
        "recall_neg_sam@3",
    ]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="topk must be at least 1"):
        InBatchRecall(0)
    with pytest.raises(ValueError, match="columns must be one of all, batch, sampled"):
        InBatchRecall(1, "some")
