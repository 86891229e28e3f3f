import collections
import itertools

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from easyssl.functional.feature_masking import (
    correlated_masks,
    default_num_masked,
    draw_correlated_mask,
    draw_random_mask,
)


def test_the_default_hides_some_and_shows_some():
    for fields in range(2, 30):
        assert default_num_masked(fields, False) == fields // 2
        assert default_num_masked(fields, True) == min(fields // 2 + 1, fields - 1)


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 7), st.data())
def test_a_group_is_the_seed_and_its_nearest_fields(fields, data):
    numbers = st.lists(st.integers(0, 4), min_size=fields * fields, max_size=fields * fields)
    information = np.reshape(data.draw(numbers), [fields, fields]).astype(float)
    count = data.draw(st.integers(1, fields - 1))
    masks = correlated_masks(information, count)
    for seed in range(fields):
        others = [field for field in range(fields) if field != seed]
        ranked = sorted(others, key=lambda field: (-information[seed, field], field))
        assert set(np.flatnonzero(masks[seed])) == {seed, *ranked[: count - 1]}


def test_random_masks_are_equally_likely():
    numbers = np.random.default_rng(0).random((4000, 5), "float32")
    draw = tf.function(
        lambda rows: tf.vectorized_map(lambda row: draw_random_mask(row, 2), rows), autograph=False
    )
    masks = draw(tf.constant(numbers))
    seen = collections.Counter(tuple(np.flatnonzero(mask)) for mask in masks.numpy())
    assert seen.keys() == set(itertools.combinations(range(5), 2))
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_every_field_is_a_seed_and_no_draw_is_beyond_the_last():
    masks = tf.constant(np.eye(3, dtype=bool))
    draws = [0.0, 0.34, 0.67, np.float32(1 - 2**-24)]
    seeds = [int(tf.argmax(tf.cast(draw_correlated_mask(tf.constant(x), masks), tf.int32))) for x in draws]
    assert seeds == [0, 1, 2, 2]
