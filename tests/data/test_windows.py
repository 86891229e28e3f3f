"""Checks the permutation that shuffles files and rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from easyssl.data.windows import permutation


@given(st.integers(0, 200), st.lists(st.integers(0, 2**32), min_size=1, max_size=4))
def test_it_is_a_permutation_and_a_function_of_its_key(count, key):
    drawn = permutation(count, *key)
    assert sorted(drawn.tolist()) == list(range(count))
    assert drawn.tolist() == permutation(count, *key).tolist()


def test_it_does_not_change_from_release_to_release():
    assert permutation(8, 2020, 0).tolist() != permutation(8, 2020, 1).tolist()
    assert permutation(8, 2020, 0).tolist() == [4, 0, 1, 6, 7, 3, 2, 5]


def test_places_are_uniform():
    # Each of 10 x 10 cells expects 300 hits; the chi-square of 81 degrees of freedom stays below 130 but once
    # in 2,000 tries, and the keys are fixed.
    hits = np.zeros((10, 10))
    for key in range(3000):
        hits[np.arange(10), permutation(10, key)] += 1
    assert ((hits - 300) ** 2 / 300).sum() < 130
