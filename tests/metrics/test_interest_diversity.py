"""Diversity of interests against loops, and where evaluation reports it."""

import doctest
import math

import numpy as np
import pytest

from easyssl.metrics import interest_diversity
from easyssl.metrics.interest_diversity import InterestDiversity, effective_number, mean_cosine
from easyssl.metrics.item_ranking import ItemRanking

USERS, INTERESTS, DIM, ITEMS = 7, 3, 4, 11


def random_users(seed=3):
    rng = np.random.default_rng(seed)
    interests = rng.normal(size=(USERS, INTERESTS, DIM)).astype(np.float32)
    interests[1, 2] = 0.0  # one pair is left
    interests[2, 1:] = 0.0  # none is
    interests[3] = interests[3, :1]  # all alike
    items = rng.normal(size=(ITEMS, DIM)).astype(np.float32)
    lists = np.array([rng.permutation(ITEMS)[:6] for _ in range(USERS)])
    lists[4, 2:], lists[5] = -1, -1  # short, empty
    return interests, items, lists


def by_loops(interests, items, lists, k):
    cosines, used = [], []
    for user, listed in zip(interests.astype(np.float64), lists, strict=True):
        known = [z / math.sqrt(z @ z) for z in user if z @ z > 0]
        pairs = [known[i] @ known[j] for i in range(len(known)) for j in range(i)]
        if pairs:
            cosines.append(sum(pairs) / len(pairs))
        finders = [
            max(range(len(user)), key=lambda i: user[i] @ items[item]) for item in listed[:k] if item >= 0
        ]
        if finders:
            shares = [finders.count(i) / len(finders) for i in set(finders)]
            used.append(math.prod(share**-share for share in shares))
    return sum(cosines) / len(cosines), sum(used) / len(used)


def test_both_are_those_of_loops():
    interests, items, lists = random_users()
    metrics = InterestDiversity([2, 6, 50])
    metrics.update(interests, items, {"kept": lists, "excluded": lists[:, ::-1]})
    found = metrics.result()
    names = [f"interests_used@{k}_{ending}" for ending in ("kept", "excluded") for k in (2, 6, 50)]
    assert list(found) == ["interest_cosine", *names]
    for k in (2, 6, 50):
        for ending, listed in (("kept", lists), ("excluded", lists[:, ::-1])):
            cosine, used = by_loops(interests, items, listed, k)
            assert found["interest_cosine"] == pytest.approx(cosine, abs=1e-12)
            assert found[f"interests_used@{k}_{ending}"] == pytest.approx(used, abs=1e-12)


@pytest.mark.parametrize("batch", [1, 3])
def test_no_size_of_batch_changes_anything(batch):
    interests, items, lists = random_users()
    one, other = InterestDiversity([3]), InterestDiversity([3])
    one.update(interests, items, {"kept": lists})
    for a in range(0, USERS, batch):
        other.update(interests[a : a + batch], items, {"kept": lists[a : a + batch]})
    assert one.result() == other.result()


def test_ends_of_the_scales():
    assert mean_cosine(np.ones([1, 4, 2])) == pytest.approx(1)
    assert mean_cosine(np.eye(4)[None]) == pytest.approx(0)
    # No K vectors can have a smaller mean cosine than -1 / (K - 1).
    assert mean_cosine(np.eye(3)[None] - 1 / 3) == pytest.approx(-1 / 2)
    assert effective_number(np.array([[5, 5, 5, 5], [9, 0, 0, 0]])) == pytest.approx([4, 1])
    empty = InterestDiversity([1])
    assert empty.result() == {}
    empty.update(np.zeros([2, 3, 4]), np.ones([5, 4]), {"kept": np.full([2, 1], -1)})
    assert empty.result() == {}


def test_a_bias_of_items_changes_nothing():
    interests, items, lists = random_users()
    plain, biased = InterestDiversity([3]), InterestDiversity([3])
    plain.update(interests, items, {"kept": lists})
    biased.update(interests, np.concatenate([items, np.full([ITEMS, 1], 9.0)], axis=1), {"kept": lists})
    assert plain.result() == biased.result()


def test_a_ranking_reports_them_of_users_with_several_interests():
    interests, items, lists = random_users()
    rows = {
        "ranks_kept": np.ones([USERS, 1], np.int32),
        "targets": np.zeros([USERS, 1], np.int32),
        "lists_kept": lists,
        "items": items,
        "history_lengths": np.ones(USERS, np.int32),
    }
    metric = ItemRanking(["kept"], [2])
    metric.update(np.ones(USERS), rows)
    assert not [name for name in metric.results() if "interest" in name]
    metric.reset()
    metric.update(np.ones(USERS), {**rows, "interests": interests})
    cosine, used = by_loops(interests, items, lists, 2)
    assert metric.results()["interest_cosine"] == pytest.approx(cosine)
    assert metric.results()["interests_used@2_kept"] == pytest.approx(used)
    metric.reset()
    assert not [name for name in metric.results() if "interest" in name]


def test_ks_are_checked():
    with pytest.raises(ValueError, match="at least 1"):
        InterestDiversity([0])


def test_examples():
    assert doctest.testmod(interest_diversity).failed == 0
