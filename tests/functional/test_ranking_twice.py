"""Ranking with and without excluded items against `rank_items`, which does it all in float64."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional import ranking_twice
from easyssl.functional.ranking_twice import rank_twice
from easyssl.functional.retrieval import rank_items

USERS, ITEMS, DIM = 6, 300, 4


def example(seed, grid):
    """Vectors on a coarse grid give many ties."""
    rng = np.random.default_rng(seed)
    draw = (lambda s: rng.integers(-3, 4, s) / 2) if grid else (lambda s: rng.normal(size=s))
    return (
        tf.constant(draw((USERS, DIM)), tf.float32),
        tf.constant(draw((ITEMS, DIM)), tf.float32),
        tf.constant(rng.integers(-1, ITEMS, (USERS, 2)), tf.int32),
        tf.constant(rng.integers(-1, ITEMS, (USERS, 7)), tf.int32),
    )


def check(queries, items, targets, excluded, k=5, compute=rank_twice, **options):
    for found, out in zip(
        compute(queries, items, targets, k=k, excluded=excluded, **options), (None, excluded), strict=True
    ):
        expected = rank_items(queries, items, targets, k=k, excluded=out)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31), st.booleans(), st.sampled_from([90, 8192]), st.sampled_from([1, 20]))
def test_both_rankings_are_those_in_float64(seed, grid, chunk, k):
    queries, items, targets, excluded = example(seed, grid)
    # Targets and doubled items among what is excluded.
    excluded = tf.concat([excluded, excluded[:, :2], targets], axis=1)
    check(queries, items, targets, excluded, k, chunk_items=chunk)


def task_of(queries, items, targets, excluded, k=5):
    return ranking_twice._Task(queries, items, targets, k, excluded)


def test_float32_is_enough_without_ties_and_near_ones_are_decided():
    queries, items, targets, excluded = example(0, False)
    noise = np.random.default_rng(1).normal(size=(ITEMS // 2, DIM)) * 1e-7
    items = tf.concat([items[: ITEMS // 2], items[: ITEMS // 2] + tf.constant(noise, tf.float32)], axis=0)
    _, sure = ranking_twice._by_float32(task_of(queries, items, targets, excluded), 8192)
    assert bool(sure)
    check(queries, items, targets, excluded)


@pytest.mark.parametrize("kind", ["equal", "zero", "huge", "nan", "infinite bias"])
def test_where_float32_is_not_enough(kind):
    queries, items, targets, excluded = example(0, False)
    if kind == "equal":
        items = tf.tile(items[:1], [ITEMS, 1])
    elif kind == "zero":
        queries *= 0.0
    elif kind == "huge":
        items *= 1e38
    elif kind == "nan":
        items = tf.concat([items[1:], [[float("nan")] * DIM]], axis=0)
    else:
        items = tf.concat([items, tf.where(tf.range(ITEMS)[:, None] < 150, 0.0, float("-inf"))], axis=1)
        queries = tf.concat([queries, tf.ones([USERS, 1])], axis=1)
    _, sure = ranking_twice._by_float32(task_of(queries, items, targets, excluded), 8192)
    assert not bool(sure)
    check(queries, items, targets, excluded)


def test_compiled_with_unknown_shapes_and_nothing_excluded():
    signature = [tf.TensorSpec([None, DIM]), tf.TensorSpec([None, DIM])]
    signature += [tf.TensorSpec([None, None], tf.int32)] * 2

    @tf.function(input_signature=signature, autograph=False)
    def compiled(queries, items, targets, excluded):
        return rank_twice(queries, items, targets, k=5, excluded=excluded, chunk_items=100)

    queries, items, targets, excluded = example(3, False)

    def compute(queries, items, targets, k, excluded):
        return compiled(queries, items, targets, excluded)

    check(queries, items, targets, excluded, compute=compute)
    check(queries, items, targets, excluded[:, :0], compute=compute)
    check(queries, items[:3], tf.minimum(targets, 2), excluded, compute=compute)


def test_more_is_excluded_than_is_looked_at():
    queries, items, targets, _ = example(4, False)
    excluded = tf.tile(tf.range(100, 180)[None], [USERS, 8])
    check(queries, items, targets, excluded)


def test_several_interests():
    queries, items, targets, excluded = example(5, False)
    check(tf.stack([queries, -queries], axis=1), items, targets, excluded)
