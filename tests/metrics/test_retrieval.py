"""Retrieval metrics against loops over users, and against scikit-learn where it has them."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from easyssl.errors import TrainingError
from easyssl.metrics import RetrievalMetrics, retrieval

ITEMS, KS = 12, (1, 3, 10)


@st.composite
def users(draw):
    """Users with lists of all items, up to 5 targets, given twice now and then, and history lengths."""
    count = draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    lists = np.array([rng.permutation(ITEMS) for _ in range(count)])
    targets = rng.integers(-1, ITEMS, (count, 5))
    places = np.argsort(lists, axis=1)
    ranks = np.where(targets >= 0, 1 + np.take_along_axis(places, np.maximum(targets, 0), axis=1), 0)
    return ranks, targets, lists, rng.integers(0, 9, count)


def by_loops(lists, targets, ks, kept=lambda u, item: True):
    """Reads the lists, not the ranks."""
    sums, count = {}, 0
    for u, (ranking, wanted) in enumerate(zip(lists.tolist(), targets.tolist(), strict=True)):
        wanted = {t for t in wanted if t >= 0 and kept(u, t)}
        if not wanted:
            continue
        count += 1
        for k in ks:
            hits = [i for i, item in enumerate(ranking[:k], start=1) if item in wanted]
            ideal = range(1, min(k, len(wanted)) + 1)
            values = {
                "hr": float(bool(hits)),
                "recall": len(hits) / len(wanted),
                "ndcg": sum(1 / math.log2(i + 1) for i in hits) / sum(1 / math.log2(i + 1) for i in ideal),
                "mrr": 1 / hits[0] if hits else 0.0,
                "map": sum((j + 1) / i for j, i in enumerate(hits)) / len(ideal),
            }
            for name, value in values.items():
                sums[f"{name}@{k}"] = sums.get(f"{name}@{k}", 0.0) + value
    names = [f"{name}@{k}" for k in ks for name in retrieval.RANK_METRICS]
    return {"users": count, **{name: sums.get(name, 0.0) / max(count, 1) for name in names}}


@settings(deadline=None)
@given(users())
def test_metrics_are_those_of_loops_over_lists(data):
    ranks, targets, lists, _ = data
    metrics = RetrievalMetrics(KS, ITEMS)
    metrics.update(ranks, targets, lists[:, :10])
    expected = by_loops(lists, targets, KS)
    expected.update({f"coverage@{k}": len(set(lists[:, :k].ravel().tolist())) / ITEMS for k in KS})
    assert metrics.result() == pytest.approx(expected)
    assert list(metrics.result()) == list(expected)


@settings(deadline=None)
@given(users(), st.integers(1, 8))
def test_no_size_of_batch_changes_anything(data, batch):
    counts = np.arange(ITEMS) % 5
    one, other = (RetrievalMetrics(KS, ITEMS, history_edges=[2, 5], item_counts=counts) for _ in range(2))
    one.update(*data)
    for a in range(0, len(data[0]), batch):
        other.update(*(x[a : a + batch] for x in data))
    assert one.result() == other.result()


@settings(deadline=None)
@given(users())
def test_slices_are_restricted_to_their_users_and_items(data):
    _, targets, lists, lengths = data
    counts = np.array([3, 9, 1, 9, 0, 5, 2, 2, 7, 0, 1, 4])
    options = {"history_edges": [2, 5], "item_counts": counts, "popularity_edges": [2, 8]}
    metrics = RetrievalMetrics(KS, ITEMS, head_share=0.25, **options)
    metrics.update(*data)
    found = metrics.result()
    head = {1, 3, 8}
    slices = {
        "history_0_1": lambda u, item: lengths[u] < 2,
        "history_2_4": lambda u, item: 2 <= lengths[u] < 5,
        "history_5_up": lambda u, item: lengths[u] >= 5,
        "head_items": lambda u, item: item in head,
        "tail_items": lambda u, item: item not in head,
        "popularity_0_1": lambda u, item: counts[item] < 2,
        "popularity_2_7": lambda u, item: 2 <= counts[item] < 8,
        "popularity_8_up": lambda u, item: counts[item] >= 8,
    }
    for name, kept in slices.items():
        own = {key.split("/")[1]: value for key, value in found.items() if key.startswith(name + "/")}
        assert own == pytest.approx(by_loops(lists, targets, KS, kept))
    assert {key.split("/")[0] for key in found if "/" in key} == set(slices)
    metrics = RetrievalMetrics(KS, ITEMS, head_share=None, **options)
    metrics.update(*data)
    assert metrics.result() == {key: found[key] for key in found if "_items/" not in key}


@settings(deadline=None, max_examples=50)
@given(users())
def test_scikit_learn_agrees(data):
    ranks, targets, lists, _ = data
    relevant = np.zeros((len(lists), ITEMS), int)
    for u, wanted in enumerate(targets):
        relevant[u, wanted[wanted >= 0]] = 1
    some = relevant.any(axis=1)
    if not some.any():
        return
    metrics = RetrievalMetrics([1, 3, ITEMS], ITEMS)
    metrics.update(ranks, targets, lists)
    found = metrics.result()
    scores = -np.argsort(lists, axis=1).astype(float)
    for k in (1, 3, ITEMS):
        assert found[f"ndcg@{k}"] == pytest.approx(ndcg_score(relevant[some], scores[some], k=k))
    precision = [average_precision_score(r, s) for r, s in zip(relevant[some], scores[some], strict=True)]
    assert found[f"map@{ITEMS}"] == pytest.approx(np.mean(precision))


def test_with_one_target_each():
    """The closed forms of leave-one-out evaluation."""
    ranks = np.array([[1], [2], [5], [11]])
    metrics = RetrievalMetrics([5], ITEMS)
    metrics.update(ranks, np.array([[0], [1], [2], [3]]), np.zeros((4, 5), int))
    found = metrics.result()
    assert found["hr@5"] == found["recall@5"] == 0.75
    assert found["ndcg@5"] == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(6)) / 4)
    assert found["mrr@5"] == found["map@5"] == pytest.approx((1 + 1 / 2 + 1 / 5) / 4)
    assert found["coverage@5"] == 1 / ITEMS


def test_targets_that_tie_share_the_last_place():
    metrics = RetrievalMetrics([2], ITEMS)
    metrics.update([[2, 2]], [[4, 5]], [[4, 5]])
    found = metrics.result()
    assert (found["hr@2"], found["recall@2"], found["mrr@2"], found["map@2"]) == (1.0, 1.0, 0.5, 1.0)
    assert found["ndcg@2"] < 1


def test_coverage_counts_candidates_only():
    metrics = RetrievalMetrics([1, 2], ITEMS, num_candidates=ITEMS - 2)
    metrics.update([[0], [0]], [[-1], [-1]], [[3, 4], [3, -1]])
    found = metrics.result()
    assert (found["users"], found["hr@1"], found["coverage@1"], found["coverage@2"]) == (0, 0, 0.1, 0.2)


def test_nothing_seen_gives_zeros():
    metrics = RetrievalMetrics([2], ITEMS, history_edges=[3], item_counts=np.ones(ITEMS))
    assert set(metrics.result().values()) == {0.0}
    metrics.update([[1]], [[3]], [[3, 1]], [7])
    metrics.reset()
    assert set(metrics.result().values()) == {0.0}


@pytest.mark.parametrize("rank", [0, -1, ITEMS + 1])
def test_a_target_without_a_rank_is_an_error(rank):
    with pytest.raises(
        TrainingError, match="1 of 2 targets have no rank from 1 to 12; are scores not finite"
    ):
        RetrievalMetrics([1], ITEMS).update([[rank], [1]], [[3], [2]], [[1], [1]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ks": []}, "ks must be"),
        ({"ks": [0, 3]}, "ks must be"),
        ({"num_items": 0}, "num_items must"),
        ({"num_candidates": ITEMS + 1}, "num_candidates between"),
        ({"history_edges": [0, 3]}, "history_edges must increase"),
        ({"history_edges": [5, 5]}, "history_edges must increase"),
        ({"popularity_edges": [4, 2], "item_counts": np.ones(ITEMS)}, "popularity_edges must increase"),
        ({"popularity_edges": [4]}, "popularity_edges need item_counts"),
        ({"head_share": 1.0}, "head_share"),
        ({"item_counts": np.ones(ITEMS - 1)}, "item_counts are not"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        RetrievalMetrics(**{"ks": [1], "num_items": ITEMS, **options})


def test_batches_are_checked():
    metrics = RetrievalMetrics([3], ITEMS, history_edges=[2])
    with pytest.raises(ValueError, match="Received shapes"):
        metrics.update([[1]], [[1, 2]], [[1, 2, 3]], [1])
    with pytest.raises(ValueError, match="coverage@3 needs more"):
        metrics.update([[1]], [[1]], [[1, 2]], [1])
    with pytest.raises(ValueError, match="need history_lengths"):
        metrics.update([[1]], [[1]], [[1, 2, 3]])


def test_examples_run():
    assert doctest.testmod(retrieval).failed == 0
