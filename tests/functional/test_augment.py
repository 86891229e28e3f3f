import collections
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from easyssl.functional import augment_sequence
from easyssl.functional.augment_operators import floor_share

MASK = -7.0
rates = st.floats(0.0, 1.0).map(lambda rate: round(rate, 2))
keys = st.tuples(st.integers(0, 2**40), st.integers(0, 2**40))
row_lengths = st.lists(st.integers(0, 9), min_size=1, max_size=8)
fast = settings(deadline=None, max_examples=40)


def rows_of(lengths, size, dim=2):
    """Distinct values, so that every step tells where it came from: step t of row b is 100 b + t + 1."""
    values = 100.0 * np.arange(len(lengths))[:, None] + np.arange(size)[None] + 1
    values *= np.arange(size)[None] < np.array(lengths)[:, None]
    return np.repeat(values[:, :, None], dim, axis=2).astype(np.float32)


def augment(sequence, lengths, key, *, mask=0.0, crop=1.0, reorder=0.0, **kwargs):
    result, new_lengths = augment_sequence(
        tf.constant(sequence),
        tf.constant(lengths),
        tf.fill([sequence.shape[2]], MASK),
        tf.constant(key, tf.int64),
        mask_rate=mask,
        crop_rate=crop,
        reorder_rate=reorder,
        **kwargs,
    )
    assert result.shape == sequence.shape and new_lengths.dtype == tf.int32
    assert np.all(result.numpy() == result.numpy()[:, :, :1])  # all features of a step move together
    return result.numpy()[:, :, 0], new_lengths.numpy()


def is_crop(before, after, length, new_length, rate, min_length=1):
    width = min(max(min_length, math.floor(rate * length)), length)
    windows = [list(before[c : c + width]) for c in range(length - width + 1)]
    return new_length == width and list(after[:width]) in windows and not after[width:].any()


def is_mask(before, after, length, new_length, rate):
    masked = after == MASK
    kept = np.array_equal(after[~masked], before[~masked])
    return new_length == length and masked.sum() == math.floor(rate * length) and kept


def is_reorder(before, after, length, new_length, rate):
    moved = np.flatnonzero(before != after)
    span = moved[-1] - moved[0] + 1 if len(moved) else 0
    same = np.array_equal(np.sort(before[:length]), np.sort(after[:length]))
    padding = np.array_equal(before[length:], after[length:])
    return new_length == length and same and padding and span <= math.floor(rate * length)


@pytest.mark.parametrize(
    ("rate", "length", "expected"), [(0.29, 100, 28), (0.2, 4, 0), (0.2, 5, 1), (1.0, 7, 7)]
)
def test_floor_share_is_taken_in_double_precision(rate, length, expected):
    assert floor_share(tf.constant([length]), rate).numpy().tolist() == [expected]


@fast
@given(row_lengths, rates, keys, st.integers(1, 4))
def test_crop_keeps_a_window(lengths, rate, key, min_length):
    sequence = rows_of(lengths, 9)
    result, new_lengths = augment(sequence, lengths, key, crop=rate, min_crop_len=min_length)
    if rate == 1.0:
        min_length = 9
    for row, length in enumerate(lengths):
        assert is_crop(sequence[row, :, 0], result[row], length, new_lengths[row], rate, min_length)


@fast
@given(row_lengths, rates, keys)
def test_mask_replaces_an_exact_number_of_valid_steps(lengths, rate, key):
    sequence = rows_of(lengths, 9)
    result, new_lengths = augment(sequence, lengths, key, mask=rate)
    for row, length in enumerate(lengths):
        assert is_mask(sequence[row, :, 0], result[row], length, new_lengths[row], rate)
        assert not (result[row, length:] == MASK).any()


@fast
@given(row_lengths, rates, keys)
def test_reorder_permutes_one_window(lengths, rate, key):
    sequence = rows_of(lengths, 9)
    result, new_lengths = augment(sequence, lengths, key, reorder=rate)
    for row, length in enumerate(lengths):
        assert is_reorder(sequence[row, :, 0], result[row], length, new_lengths[row], rate)


@fast
@given(row_lengths, rates, rates, rates, keys, st.integers(0, 5))
def test_every_row_gets_one_operator_whatever_the_padding(lengths, mask, crop, reorder, key, extra):
    options = {"mask": mask, "crop": crop, "reorder": reorder}
    sequence = rows_of(lengths, 9)
    result, new_lengths = augment(sequence, lengths, key, **options)
    for row, length in enumerate(lengths):
        case = sequence[row, :, 0], result[row], length, new_lengths[row]
        identity = np.array_equal(case[0], case[1]) and new_lengths[row] == length
        nothing = length == 0 or (crop == 1.0 and mask == 0.0 and reorder == 0.0)
        changes = (
            (crop < 1 and is_crop(*case, crop))
            or (mask > 0 and is_mask(*case, mask))
            or (reorder > 0 and is_reorder(*case, reorder))
        )
        assert identity if nothing else changes
    padded, padded_lengths = augment(rows_of(lengths, 9 + extra), lengths, key, **options)
    np.testing.assert_array_equal(padded[:, :9], result)
    np.testing.assert_array_equal(padded_lengths, new_lengths)
    assert not padded[:, 9:].any()


def test_operators_are_equally_likely_and_rows_independent():
    batch = 6000
    sequence = rows_of([9], 9).repeat(batch, axis=0)
    result, lengths = augment(sequence, [9] * batch, (1, 1), mask=0.5, crop=0.5, reorder=1.0)
    cropped = lengths < 9
    masked = (result == MASK).any(axis=1)
    counts = [cropped.sum(), masked.sum(), batch - (cropped | masked).sum()]
    assert not (cropped & masked).any()
    assert stats.chisquare(counts).pvalue > 1e-3
    neighbours = np.histogram2d(cropped[:-1], cropped[1:], bins=2)[0]
    assert stats.chi2_contingency(neighbours).pvalue > 1e-3


@pytest.mark.parametrize(("length", "rate"), [(10, 0.3), (5, 0.2), (7, 0.95)])
def test_all_crop_windows_are_equally_likely(length, rate):
    batch = 10_000
    sequence = rows_of([length], length).repeat(batch, axis=0)
    result, _ = augment(sequence, [length] * batch, (2, 3), crop=rate)
    starts = collections.Counter(result[:, 0].astype(int) - 1)
    windows = length - max(1, math.floor(rate * length)) + 1
    assert set(starts) == set(range(windows))  # the last item is in reach
    assert stats.chisquare(list(starts.values())).pvalue > 1e-3


def test_all_masked_positions_are_equally_likely():
    batch = 10_000
    result, _ = augment(rows_of([5], 5).repeat(batch, axis=0), [5] * batch, (3, 3), mask=0.4)
    chosen = collections.Counter(map(tuple, result == MASK))
    assert len(chosen) == math.comb(5, 2)
    assert stats.chisquare(list(chosen.values())).pvalue > 1e-3


def test_all_permutations_of_all_windows_are_equally_likely():
    batch, items = 10_000, (1, 2, 3, 4, 5)
    result, _ = augment(rows_of([5], 5).repeat(batch, axis=0), [5] * batch, (3, 4), reorder=0.6)
    expected = collections.Counter(
        items[:start] + window + items[start + 3 :]
        for start in range(3)
        for window in itertools.permutations(items[start : start + 3])
    )
    seen = collections.Counter(tuple(row) for row in result.astype(int).tolist())
    assert seen.keys() == expected.keys()
    shares = [batch * expected[order] / expected.total() for order in expected]
    assert stats.chisquare([seen[order] for order in expected], shares).pvalue > 1e-3


def test_same_key_same_result_other_key_other_result():
    sequence, lengths = rows_of([9] * 4, 9), [9] * 4
    options = {"mask": 0.5, "crop": 0.5, "reorder": 0.5}
    first, _ = augment(sequence, lengths, (1, 1), **options)
    np.testing.assert_array_equal(first, augment(sequence, lengths, (1, 1), **options)[0])
    assert not np.array_equal(first, augment(sequence, lengths, (1, 2), **options)[0])
    assert not np.array_equal(first, augment(sequence, lengths, (2, 1), **options)[0])


def test_lengths_beyond_the_tensor_are_cut():
    sequence = rows_of([4], 4)
    _, lengths = augment(sequence, [9], (1, 1), mask=0.5)
    assert lengths.tolist() == [4]


def test_gradients_reach_the_kept_steps_and_the_mask_vector_only():
    lengths = tf.constant([4, 0])
    sequence, vector = tf.ones([2, 6, 3]), tf.ones([3])

    def loss(rate, crop):
        with tf.GradientTape() as tape:
            tape.watch([sequence, vector])
            result, new_lengths = augment_sequence(
                sequence,
                lengths,
                vector,
                tf.constant([1, 1]),
                mask_rate=rate,
                crop_rate=crop,
                reorder_rate=0.0,
            )
            valid = tf.sequence_mask(new_lengths, 6, tf.float32)[:, :, None]
            total = tf.reduce_sum(result * valid)
        return tape.gradient(total, [sequence, vector])

    steps, masks = loss(0.5, 1.0)
    assert steps.numpy().sum() == 2 * 3 and masks.numpy().tolist() == [2.0] * 3
    assert not steps.numpy()[:, 4:].any() and not steps.numpy()[1].any()
    steps, _ = loss(0.0, 0.5)
    assert steps.numpy().sum() == 2 * 3 and not steps.numpy()[:, 4:].any()


def test_xla_and_dynamic_shapes_give_the_same():
    sequence, lengths = rows_of([9, 0, 1, 5], 9), [9, 0, 1, 5]

    def run(x, n):
        return augment_sequence(
            x, n, tf.fill([2], MASK), tf.constant([1, 9]), mask_rate=0.5, crop_rate=0.5, reorder_rate=0.5
        )

    eager = run(tf.constant(sequence), tf.constant(lengths))
    spec = [tf.TensorSpec([None, None, 2]), tf.TensorSpec([None], tf.int32)]
    for compiled in (
        tf.function(run, jit_compile=True, autograph=False),
        tf.function(run, input_signature=spec, autograph=False),
    ):
        for got, want in zip(compiled(tf.constant(sequence), tf.constant(lengths)), eager, strict=True):
            np.testing.assert_array_equal(got, want)
