"""Draws of items: their distribution, and what they stay clear of."""

import doctest

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional import negatives
from easyssl.functional.negatives import (
    draw_items,
    draw_unseen,
    item_distribution,
    log_uniform,
)

SHARES = st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any)


def key(number):
    return tf.constant([number, 1], tf.int64)


@settings(deadline=None, max_examples=50)
@given(SHARES)
def test_an_alias_table_holds_the_distribution(shares):
    table = item_distribution(shares)
    found = np.zeros(len(shares))
    for item, (keep, other) in enumerate(zip(table.keep.astype(np.float64), table.other, strict=True)):
        found[item] += keep / len(shares)
        found[other] += (1 - keep) / len(shares)
    expected = np.array(shares) / sum(shares)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    positive = expected > 0
    np.testing.assert_allclose(
        table.log_probabilities[positive], np.log(expected[positive]), rtol=1e-5, atol=1e-7
    )
    assert np.isfinite(table.log_probabilities).all()


def test_draws_follow_the_distribution():
    shares = np.array([5.0, 0.0, 1.0, 3.0, 1.0])
    for table, expected in ((item_distribution(shares), shares / 10), (None, np.full(5, 0.2))):
        items = draw_items(key(3), [200, 100], 5, table).numpy()
        assert items.shape == (200, 100) and items.dtype == np.int32
        found = np.bincount(items.ravel(), minlength=5) / 20_000
        # Four standard deviations.
        assert (abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / 20_000)).all()


def test_draws_reach_every_item_of_a_large_catalogue_alike():
    """24 random bits would give some of 10 million items twice the share of others."""
    count = 10_000_000
    items = draw_items(key(5), [300_000], count).numpy()
    halves = items % 2
    assert items.min() >= 0 and items.max() < count
    assert abs(halves.mean() - 0.5) < 4 * 0.5 / np.sqrt(300_000)
    odd_places = (items % 5 == 3).mean()
    assert abs(odd_places - 0.2) < 4 * 0.4 / np.sqrt(300_000)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_log_uniform_falls_with_rank(counts):
    shares = log_uniform(counts)
    assert shares.sum() == pytest.approx(1.0)
    assert (shares[np.argmax(counts)] >= shares).all()
    for a in range(len(counts)):
        for b in range(a):
            assert (shares[a] > shares[b]) == (counts[a] > counts[b])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 9))
def test_unseen_items_only(seed, num_items):
    rng = np.random.default_rng(seed)
    seen = rng.integers(-2, num_items + 3, (6, 5))
    drawn = draw_unseen(key(seed), tf.constant(seen), 40, num_items).numpy()
    for own, items in zip(seen, drawn, strict=True):
        free = set(range(num_items)) - set(own.tolist())
        assert set(items.tolist()) <= (free or {-1})


def test_unseen_items_are_equally_likely():
    seen = tf.constant([[4, 1, 1, -1, 0]])
    drawn = draw_unseen(key(8), tf.repeat(seen, 200, axis=0), 100, 8).numpy()
    found = np.bincount(drawn.ravel(), minlength=8) / 20_000
    np.testing.assert_allclose(found, [0, 0, 0.2, 0.2, 0, 0.2, 0.2, 0.2], atol=4 * 0.4 / np.sqrt(20_000))


def test_draws_compiled_with_xla_are_the_same():
    seen, table = tf.constant([[1, 2, 2], [0, -1, 5]]), item_distribution([1, 2, 3, 0, 5, 6])

    def draw():
        return draw_unseen(key(1), seen, 7, 6), draw_items(key(1), [9], 6, table), draw_items(key(2), [9], 6)

    for one, other in zip(draw(), tf.function(draw, jit_compile=True, autograph=False)(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shares", [[], [0.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [[1.0]]])
def test_probabilities_are_checked(shares):
    with pytest.raises(ValueError, match="probabilities must be"):
        item_distribution(shares)


def test_examples_run():
    assert doctest.testmod(negatives).failed == 0
