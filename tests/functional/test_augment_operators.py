"""The operators beyond crop, mask and reorder, told by what they leave of rows of distinct steps."""

import collections
import itertools
import math

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from easyssl.functional import augment_sequence
from easyssl.functional.augment_operators import steps_of_others

SIZE = 9
PAD = -1
rates = st.floats(0.01, 1.0).map(lambda rate: round(rate, 2))
keys = st.tuples(st.integers(0, 2**40), st.integers(0, 2**40))
row_lengths = st.lists(st.integers(0, SIZE), min_size=2, max_size=6)
fast = settings(deadline=None, max_examples=25)
OFF = {"mask_rate": 0.0, "crop_rate": 1.0, "reorder_rate": 0.0}


def rows_of(lengths, size=SIZE):
    """Ids that tell where they came from: step t of row b is 100 b + t + 1."""
    ids = 100 * np.arange(len(lengths))[:, None] + np.arange(size)[None] + 1
    return np.where(np.arange(size)[None] < np.array(lengths)[:, None], ids, PAD)


def augment(ids, lengths, key, **options):
    result, new_lengths = augment_sequence(
        tf.constant(ids),
        tf.constant(lengths, tf.int32),
        -7,
        tf.constant(key, tf.int64),
        **{**OFF, "pad_value": PAD, **options},
    )
    assert result.shape == ids.shape and new_lengths.dtype == tf.int32
    result, new_lengths = result.numpy(), new_lengths.numpy()
    for row, length in enumerate(new_lengths):
        assert (result[row, length:] == PAD).all() and (result[row, :length] != PAD).all()
    return [row[:length].tolist() for row, length in zip(result, new_lengths, strict=True)]


def steps_of(ids, lengths):
    return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]


def is_crop_remove(before, after, rate, min_length):
    width = min(math.floor(rate * len(before)), max(len(before) - min_length, 0))
    return any(before[:c] + before[c + width :] == after for c in range(len(before) - width + 1))


def is_item_drop(before, after):
    return after[:1] == before[:1] and [x for x in before if x in set(after)] == after


def is_substitute(before, after, rate, others):
    new = [b for a, b in zip(before, after, strict=True) if a != b]
    return len(new) == math.floor(rate * len(before)) and set(new) <= others


def is_insert(before, after, rate, others, size):
    count = math.floor(rate * len(before))
    new = [x for x in after if x in others]
    old = [x for x in after if x not in others]
    whole = len(after) == min(len(before) + count, size)
    if len(before) + count <= size:
        return whole and len(new) == count and old == before
    return whole and len(new) <= count and old == before[len(before) - len(old) :]


def others_of(steps, row):
    """Returns what may come into a row: the steps of the other rows, or else its own."""
    return {x for other, given in enumerate(steps) if other != row for x in given}


@fast
@given(row_lengths, rates, keys, st.integers(1, 4))
def test_crop_remove_takes_out_one_window(lengths, rate, key, least):
    ids = rows_of(lengths)
    result = augment(ids, lengths, key, crop_remove_rate=rate, min_crop_len=least)
    for before, after in zip(steps_of(ids, lengths), result, strict=True):
        assert is_crop_remove(before, after, rate, least)


@fast
@given(row_lengths, rates, keys)
def test_item_drop_keeps_the_first_and_the_order(lengths, rate, key):
    ids = rows_of(lengths)
    result = augment(ids, lengths, key, item_drop_rate=rate)
    for before, after in zip(steps_of(ids, lengths), result, strict=True):
        assert is_item_drop(before, after)
        assert rate < 1 or after == before[:1]


@fast
@given(row_lengths, rates, keys)
def test_substitute_takes_steps_of_other_rows(lengths, rate, key):
    lengths = [*lengths, 1, 1]  # so that every row has another one to take from
    ids = rows_of(lengths)
    steps = steps_of(ids, lengths)
    for row, after in enumerate(augment(ids, lengths, key, substitute_rate=rate)):
        assert is_substitute(steps[row], after, rate, others_of(steps, row))


@fast
@given(row_lengths, rates, keys, st.sampled_from([SIZE, 2 * SIZE]))
def test_insert_adds_steps_of_other_rows_and_keeps_the_end(lengths, rate, key, size):
    lengths = [*lengths, 1, 1]
    ids = rows_of(lengths, size)
    steps = steps_of(ids, lengths)
    for row, after in enumerate(augment(ids, lengths, key, insert_rate=rate)):
        assert is_insert(steps[row], after, rate, others_of(steps, row), size)


@fast
@given(row_lengths, rates, keys, st.integers(0, 4))
def test_every_row_gets_one_operator_whatever_the_padding(lengths, rate, key, extra):
    lengths, size = [*lengths, 1, 1], 2 * SIZE
    options = {f"{name}_rate": rate for name in ("crop_remove", "item_drop", "insert", "substitute")}
    ids = rows_of(lengths, size)
    steps = steps_of(ids, lengths)
    result = augment(ids, lengths, key, **options)
    for row, after in enumerate(result):
        before, others = steps[row], others_of(steps, row)
        assert (
            is_crop_remove(before, after, rate, 1)
            or is_item_drop(before, after)
            or is_insert(before, after, rate, others, size)
            or (len(before) == len(after) and is_substitute(before, after, rate, others))
        )
    assert augment(rows_of(lengths, size + extra), lengths, key, **options) == result


ALL = {"mask_rate": 0.4, "crop_rate": 0.5, "reorder_rate": 0.5, "crop_remove_rate": 0.3}
ALL |= {"item_drop_rate": 0.3, "insert_rate": 0.4, "substitute_rate": 0.4}


def test_operators_are_equally_likely():
    batch = 7000
    ids = rows_of([SIZE] * batch, 2 * SIZE)
    rates = ALL | {"crop_rate": 0.2, "crop_remove_rate": 0.5, "item_drop_rate": 1.0, "reorder_rate": 1.0}
    kinds = collections.Counter()
    for row, after in enumerate(augment(ids, [SIZE] * batch, (4, 4), **rates)):
        if len(after) == SIZE:
            new = [x for x in after if x > 0 and (x - 1) // 100 != row]
            kinds["mask" if -7 in after else "substitute" if new else "reorder"] += 1
        elif len(after) == 1:
            kinds["crop or drop"] += 1  # a crop to one item, or all but the first dropped
        else:
            kinds[len(after)] += 1
    kinds["crop or drop"] /= 2
    assert len(kinds) == 6
    counts = [*kinds.values(), kinds["crop or drop"]]
    assert stats.chisquare(counts, [batch / 7] * 7).pvalue > 1e-3


def test_all_places_of_an_insertion_are_equally_likely():
    batch = 6000
    result = augment(rows_of([4] * batch, 6), [4] * batch, (3, 1), insert_rate=0.5)
    places = collections.Counter(
        tuple((x - 1) // 100 != row for x in after) for row, after in enumerate(result)
    )
    assert len(places) == math.comb(6, 2)
    assert stats.chisquare(list(places.values())).pvalue > 1e-3


def test_all_windows_that_are_taken_out_are_equally_likely():
    batch = 5000
    result = augment(rows_of([7] * batch, 7), [7] * batch, (3, 2), crop_remove_rate=0.5)
    rest = collections.Counter(tuple(x % 100 for x in after) for after in result)
    assert len(rest) == 5
    assert stats.chisquare(list(rest.values())).pvalue > 1e-3


def test_each_step_is_dropped_with_the_rate():
    batch, rate = 4000, 0.3
    result = augment(rows_of([5] * batch, 5), [5] * batch, (3, 3), item_drop_rate=rate)
    kept = collections.Counter(tuple(x % 100 for x in after) for after in result)
    expected = {
        (1, *rest): batch * (1 - rate) ** len(rest) * rate ** (4 - len(rest))
        for count in range(5)
        for rest in itertools.combinations((2, 3, 4, 5), count)
    }
    assert stats.chisquare([kept[k] for k in expected], list(expected.values())).pvalue > 1e-3


def test_other_rows_are_equally_likely_and_so_are_their_steps():
    lengths, draws = tf.constant([3, 0, 2, 4]), 6000
    numbers = np.random.default_rng(0).random((2, 4, draws), "float32")
    rows, steps = steps_of_others(lengths, *map(tf.constant, numbers))
    for row, others in ((0, (2, 3)), (2, (0, 3)), (3, (0, 2))):
        seen = collections.Counter(zip(rows[row].numpy(), steps[row].numpy(), strict=True))
        expected = {(o, s): draws / 2 / int(lengths[o]) for o in others for s in range(lengths[o])}
        assert seen.keys() == expected.keys()
        assert stats.chisquare([seen[k] for k in expected], list(expected.values())).pvalue > 1e-3


def test_a_row_without_others_takes_its_own_steps():
    for lengths in ([5], [0, 5, 0]):
        ids = rows_of(lengths, 8)
        own = set(ids[lengths.index(5), :5].tolist())
        (inserted,) = filter(None, augment(ids, lengths, (1, 1), insert_rate=0.5))
        assert len(inserted) == 7 and set(inserted) == own
        (replaced,) = filter(None, augment(ids, lengths, (1, 2), substitute_rate=1.0))
        assert set(replaced) <= own
    assert augment(rows_of([0, 0]), [0, 0], (1, 1), insert_rate=1.0, substitute_rate=1.0) == [[], []]


@fast
@given(row_lengths, rates, keys)
def test_word_drop_gives_steps_their_alternatives(lengths, rate, key):
    ids = rows_of(lengths)
    result = augment(ids, lengths, key, word_drop_rate=rate, alternative=tf.constant(ids + 50))
    for before, after in zip(steps_of(ids, lengths), result, strict=True):
        assert all(b in (a, a + 50) for a, b in zip(before, after, strict=True))
        assert rate < 1 or after == [x + 50 for x in before]


def test_each_step_is_swapped_with_the_rate():
    ids = rows_of([4] * 3000, 4)
    result = augment(ids, [4] * 3000, (5, 1), word_drop_rate=0.3, alternative=tf.constant(ids + 50))
    swapped = np.array(result) - ids == 50
    assert stats.binomtest(int(swapped.sum()), swapped.size, 0.3).pvalue > 1e-3
    assert stats.chisquare(swapped.sum(axis=0)).pvalue > 1e-3


SIMILAR = np.array([[-1, -1], [11, 21], [12, 22], [13, -1], [14, 24], [15, 25]])


@fast
@given(row_lengths, rates, keys)
def test_similar_items_stand_for_their_items(lengths, rate, key):
    ids = np.where(rows_of(lengths) == PAD, PAD, rows_of(lengths) % 100)
    table = tf.constant(SIMILAR)

    def similar(item):
        found = SIMILAR[item] if item < len(SIMILAR) else [-1]
        return {item if other < 0 else int(other) for other in found}

    replaced = augment(ids, lengths, key, substitute_rate=rate, similar_items=table)
    for before, after in zip(steps_of(ids, lengths), replaced, strict=True):
        assert all(a == b or b in similar(a) for a, b in zip(before, after, strict=True))
        most = math.floor(rate * len(before))
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= most
    wide = np.pad(ids, ((0, 0), (0, SIZE)), constant_values=PAD)
    for before, after in zip(
        steps_of(ids, lengths),
        augment(wide, lengths, key, insert_rate=rate, similar_items=table),
        strict=True,
    ):
        assert len(after) == len(before) + math.floor(rate * len(before))
        assert explains(before, after, similar)


def explains(before, after, similar):
    """Tells whether `after` is `before` with each new item in front of one that it is similar to."""
    reached = {0}  # how many old items may have been used up
    for x in after:
        new = {i for i in reached if x in similar(before[min(i, len(before) - 1)])}
        reached = new | {i + 1 for i in reached if i < len(before) and before[i] == x}
    return len(before) in reached


def test_ids_features_and_vectors_of_a_step_move_together():
    lengths = [9, 0, 1, 5, 7, 3]
    ids = rows_of(lengths, 12)
    vectors = np.repeat(np.where(ids == PAD, 0, ids)[:, :, None], 3, axis=2).astype("float32")
    for counter in range(8):
        (first, times, last), new_lengths = augment_sequence(
            [tf.constant(ids), tf.constant(ids * 2.0), tf.constant(vectors)],
            tf.constant(lengths),
            [-7, -14.0, tf.fill([3], -7.0)],
            tf.constant([1, counter]),
            **ALL,
            pad_value=[PAD, -2.0, 0],
        )
        first, last = first.numpy(), last.numpy()
        np.testing.assert_array_equal(times, first * 2.0)
        valid = np.arange(12) < new_lengths.numpy()[:, None]
        np.testing.assert_array_equal(last, np.where(valid, first, 0)[:, :, None].repeat(3, axis=2))


def test_xla_and_dynamic_shapes_give_the_same():
    lengths = [9, 0, 1, 5]
    ids = tf.constant(rows_of(lengths))

    def run(x, n):
        return augment_sequence(x, n, -7, tf.constant([1, 9]), **ALL, pad_value=PAD)

    eager = run(ids, tf.constant(lengths))
    spec = [tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None], tf.int32)]
    for compiled in (
        tf.function(run, jit_compile=True, autograph=False),
        tf.function(run, input_signature=spec, autograph=False),
    ):
        for got, want in zip(compiled(ids, tf.constant(lengths)), eager, strict=True):
            np.testing.assert_array_equal(got, want)


def test_gradients_reach_steps_where_they_went_and_no_padding():
    lengths = tf.constant([4, 2, 0])
    sequence = tf.ones([3, 6, 2])
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        result, new_lengths = augment_sequence(
            sequence, lengths, tf.zeros([2]), tf.constant([1, 1]), **OFF, substitute_rate=0.5, insert_rate=0.5
        )
        total = tf.reduce_sum(result * tf.sequence_mask(new_lengths, 6, tf.float32)[:, :, None])
    gradient = tape.gradient(total, sequence).numpy()
    assert gradient.sum() == 2 * new_lengths.numpy().sum()
    assert not gradient[0, 4:].any() and not gradient[1, 2:].any() and not gradient[2].any()
