import math

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.cloze import cloze_positions


def key(counter):
    return tf.constant([7, counter], tf.int64)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=6, max_size=6),
    st.floats(0.01, 1.0),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 99),
)
def test_how_many_steps_are_chosen(lengths, mask_rate, last_only_rate, counter):
    chosen = cloze_positions(tf.constant(lengths), 9, key(counter), mask_rate, last_only_rate).numpy()
    for row, n in zip(chosen, lengths, strict=True):
        assert not row[n:].any()
        several = min(max(1, math.floor(mask_rate * n)), n)
        only_last = row.sum() == min(n, 1) and (n == 0 or row[n - 1])
        assert only_last if last_only_rate == 1 else row.sum() == several or (last_only_rate and only_last)


def test_every_choice_is_equally_likely():
    draws = cloze_positions(tf.fill([6000], 4), 5, key(1), 0.5, 0.0).numpy()
    codes, counts = np.unique(draws @ (2 ** np.arange(5)), return_counts=True)
    assert len(codes) == 6 and np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000))


def test_the_share_of_rows_with_only_the_last_step():
    draws = cloze_positions(tf.fill([4000], 10), 10, key(2), 0.5, 0.25).numpy()
    alone = draws.sum(axis=1) == 1
    assert np.all(draws[alone, 9]) and abs(alone.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_more_padding_draws_the_same():
    lengths = tf.constant([4, 0, 7, 1])
    short, long = (cloze_positions(lengths, size, key(3), 0.4, 0.3).numpy() for size in (7, 12))
    np.testing.assert_array_equal(long[:, :7], short)


def test_xla_draws_the_same():
    lengths = tf.constant([4, 0, 7, 1])
    compiled = tf.function(cloze_positions, jit_compile=True, autograph=False)
    np.testing.assert_array_equal(
        compiled(lengths, 7, key(4), 0.4, 0.3), cloze_positions(lengths, 7, key(4), 0.4, 0.3)
    )
