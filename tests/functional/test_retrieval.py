"""Exact ranking against sorting everything."""

import doctest

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional import retrieval
from easyssl.functional.retrieval import rank_items
from easyssl.metrics import RetrievalMetrics

USERS, ITEMS, DIM = 5, 23, 3


def example(seed, *, interests=None, coarse=True, targets=3, excluded=4):
    """Coarse vectors give many ties, and exact scores in any order of adding up."""
    rng = np.random.default_rng(seed)
    shape = (USERS, DIM) if interests is None else (USERS, interests, DIM)
    draw = (lambda s: rng.integers(-2, 3, s) / 2) if coarse else (lambda s: rng.normal(size=s))
    return (
        draw(shape).astype(np.float32),
        draw((ITEMS, DIM)).astype(np.float32),
        rng.integers(-1, ITEMS, (USERS, targets)),
        rng.integers(-1, ITEMS, (USERS, excluded)),
    )


def brute_force(queries, items, targets, k, excluded=None, bias=0.0):
    """One user at a time: sorts the candidates, equals by id."""
    ranks = np.zeros(targets.shape, int)
    ids, best = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
    for u, query in enumerate(queries.astype(np.float64)):
        scores = np.max(np.atleast_2d(query) @ items.astype(np.float64).T, axis=0) + bias
        out = set() if excluded is None else set(excluded[u].tolist()) - set(targets[u].tolist())
        candidates = [j for j in range(len(items)) if j not in out and scores[j] > -np.inf]
        for t, target in enumerate(targets[u]):
            if target >= 0:
                others = [j for j in candidates if j != target]
                ranks[u, t] = 1 + sum(scores[j] >= scores[target] for j in others)
        order = sorted(candidates, key=lambda j: (-scores[j], j))[:k]
        ids[u, : len(order)], best[u, : len(order)] = order, scores[order]
    return ranks, ids, best


def check(found, expected):
    np.testing.assert_array_equal(found.ranks, expected[0])
    np.testing.assert_array_equal(found.ids, expected[1])
    np.testing.assert_allclose(found.scores, expected[2], rtol=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**31),
    st.sampled_from([None, 1, 3]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 30),
    st.integers(5, 30),
)
def test_ranking_is_that_of_sorting_everything(seed, interests, coarse, exclude, k, chunk):
    queries, items, targets, excluded = example(seed, interests=interests, coarse=coarse)
    excluded = excluded if exclude else None
    found = rank_items(
        tf.constant(queries),
        tf.constant(items),
        tf.constant(targets),
        k=k,
        excluded=None if excluded is None else tf.constant(excluded),
        chunk_items=chunk,
    )
    check(found, brute_force(queries, items, targets, k, excluded))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31), st.integers(9, 60), st.sampled_from([1, 4, 9]))
def test_no_size_of_chunk_or_batch_changes_anything(seed, chunk, batch):
    rng = np.random.default_rng(seed)
    items = rng.normal(size=(40, 16)).astype(np.float32)
    items = tf.constant(items[rng.integers(0, 40, 60)])  # some vectors come several times
    queries, targets = rng.normal(size=(9, 16)).astype(np.float32), rng.integers(0, 60, (9, 2))
    whole = rank_items(tf.constant(queries), items, tf.constant(targets), k=10)
    parts = [
        rank_items(
            tf.constant(queries[a : a + batch]),
            items,
            tf.constant(targets[a : a + batch]),
            k=10,
            chunk_items=chunk,
        )
        for a in range(0, 9, batch)
    ]
    for name in whole._fields:
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


@pytest.mark.parametrize("interests", [None, 2])
def test_metrics_of_a_whole_evaluation_for_every_size_of_batch_and_chunk(interests):
    queries, items, targets, excluded = example(11, interests=interests, coarse=False)
    expected = None
    for batch, chunk in ((USERS, ITEMS), (2, 7), (1, 10)):
        metrics = RetrievalMetrics([1, 5, 10], ITEMS, history_edges=[2, 4], item_counts=np.arange(ITEMS) % 7)
        for a in range(0, USERS, batch):
            q, t, e = (x[a : a + batch] for x in (queries, targets, excluded))
            found = rank_items(q, items, t, k=10, excluded=e, chunk_items=chunk)
            metrics.update(found.ranks.numpy(), t, found.ids.numpy(), (e >= 0).sum(axis=1))
        expected = metrics.result() if expected is None else expected
        assert metrics.result() == expected
    assert expected["users"] > 0 and 0 < expected["ndcg@10"] < 1


def test_bias_takes_part_and_takes_out():
    queries, items, targets, excluded = example(4)
    targets = np.maximum(targets, 1)
    bias = np.where(np.arange(ITEMS) == 0, -np.inf, np.arange(ITEMS) % 3).astype(np.float32)
    found = rank_items(
        queries,
        items,
        targets,
        k=ITEMS,
        excluded=tf.constant(excluded),
        bias=tf.constant(bias),
        chunk_items=7,
    )
    check(found, brute_force(queries, items, targets, ITEMS, excluded, bias))
    assert 0 not in found.ids.numpy()


def test_cosine():
    queries, items, targets, _ = example(4, coarse=False)
    unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (queries, items)]
    check(rank_items(queries, items, targets, k=5, similarity="cosine"), brute_force(*unit, targets, 5))


def test_targets_may_be_absent_or_single():
    queries, items, targets, _ = example(1)
    several = rank_items(queries, items, targets, k=4)
    alone = rank_items(queries, items, targets[:, 1], k=4)
    np.testing.assert_array_equal(alone.ranks[:, 0], several.ranks[:, 1])
    without = rank_items(queries, items, k=4)
    assert without.ranks.shape == (USERS, 0)
    np.testing.assert_array_equal(without.ids, several.ids)
    assert rank_items(queries[:0], items, targets[:0], k=4).ids.shape == (0, 4)


def test_a_model_that_knows_nothing_finds_nothing():
    _, items, targets, _ = example(1)
    for scale in (0.0, float("nan")):
        ranks = rank_items(tf.fill([USERS, DIM], scale), items, targets, k=3).ranks.numpy()
        assert (ranks[targets >= 0] >= ITEMS).all()


def test_a_target_that_is_excluded_is_ranked():
    items = tf.constant([[1.0], [2.0], [3.0]])
    found = rank_items(tf.ones([1, 1]), items, [[1]], k=3, excluded=tf.constant([[1, 2]]))
    assert found.ranks.numpy().tolist() == [[1]]
    assert found.ids.numpy().tolist() == [[1, 0, -1]]


def test_compiled_and_with_unknown_shapes():
    queries, items, targets, excluded = example(6, interests=2)
    plain = rank_items(queries, items, targets, k=6, excluded=excluded, chunk_items=5)

    def rank(q, i, t, e):
        return rank_items(q, i, t, k=6, excluded=e, chunk_items=5)

    specs = [
        tf.TensorSpec([None, None, DIM]),
        tf.TensorSpec([None, DIM]),
        tf.TensorSpec([None, None], tf.int64),
        tf.TensorSpec([None, None], tf.int64),
    ]
    args = [tf.constant(x) for x in (queries, items, targets, excluded)]
    for function in (
        tf.function(rank, jit_compile=True, autograph=False),
        tf.function(rank, input_signature=specs, autograph=False),
    ):
        for one, other in zip(plain, function(*args), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "`k`"),
        ({"k": 1, "chunk_items": 0}, "chunk_items"),
        ({"k": 1, "similarity": "dott"}, "did you mean 'dot'"),
    ],
)
def test_arguments_are_checked(options, message):
    queries, items, targets, _ = example(0)
    with pytest.raises(ValueError, match=message):
        rank_items(queries, items, targets, **options)


def test_examples_run():
    assert doctest.testmod(retrieval).failed == 0
