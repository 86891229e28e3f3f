"""Lanes against a loop over rows in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.lanes import lanes_of, seat_rows, unseat_rows
from easyssl.functional.masking import EXCLUDED
from easyssl.functional.packing import join_row, packing_of

SIZE = 6


def check(lanes, packing, lengths):
    """Every token is in the lane of its row once, rows in one piece and in order."""
    where, places = lanes.packing.coordinates.numpy(), lanes.packing.places.numpy()
    owner, rows = lanes.owner.numpy(), lanes.rows.numpy()
    coordinates = packing.coordinates.numpy()
    assert len(np.unique(where, axis=0)) == len(where)
    for token, (lane, slot) in enumerate(where):
        assert places[lane, slot] == token and owner[lane, slot] == coordinates[token, 0]
    assert (owner >= 0).sum() == len(where)
    np.testing.assert_array_equal(lanes.packing.mask, owner >= 0)
    for row, length in enumerate(lengths):
        own = np.flatnonzero(coordinates[:, 0] == row)
        own = own[np.argsort(coordinates[own, 1])]
        assert len(own) == max(length, len(own)) and len(set(where[own, 0])) <= 1
        np.testing.assert_array_equal(np.diff(where[own, 1]), 1)
        assert rows.reshape(-1)[lanes.seats[row]] == row
    assert sorted(rows[rows >= 0]) == list(range(len(lengths)))
    same = owner[:, :, None] == owner[:, None, :]
    np.testing.assert_array_equal(lanes.excluded, np.where(same, 0, np.float32(EXCLUDED)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, SIZE), min_size=1, max_size=7))
def test_lanes_hold_every_row_in_one_piece(lengths):
    packing = packing_of(tf.constant(lengths), SIZE)
    lanes = lanes_of(packing)
    check(lanes, packing, lengths)
    count, width = lanes.owner.shape
    assert count * width**2 == min(work_of(lengths, pairs) for pairs in range(len(lengths) // 2 + 1))


def work_of(lengths, pairs):
    """What attention costs if so many pairs of the shortest rows share a lane."""
    others = sorted(lengths)[: 2 * pairs]
    shared = [a + b for a, b in zip(others, others[::-1], strict=True)]
    return (len(lengths) - pairs) * max([1, *lengths, *shared]) ** 2


def test_long_rows_have_lanes_of_their_own():
    lengths = [6] * 8 + [3] * 8
    lanes = lanes_of(packing_of(tf.constant(lengths), SIZE))
    assert lanes.owner.shape == (12, 6)
    check(lanes, packing_of(tf.constant(lengths), SIZE), lengths)


@pytest.mark.parametrize("first", [True, False])
def test_lanes_of_joined_rows(first):
    lengths = [3, 0, 6, 1, 2]
    packing = packing_of(tf.constant(lengths), SIZE)
    tokens = tf.zeros([sum(lengths), 2])
    _, packing = join_row(tf.zeros([len(lengths), 2]), tokens, packing, first=first)
    check(lanes_of(packing), packing, [length + 1 for length in lengths])


@pytest.mark.parametrize("lengths", [[5, 1, 3, 2, 0], [4, 4, 4]])
def test_rows_take_their_seats_and_come_back(lengths):
    lanes = lanes_of(packing_of(tf.constant(lengths), SIZE))
    values = tf.random.stateless_normal([len(lengths), 2, 3], [0, 1])
    upstream = tf.random.stateless_normal([*lanes.rows.shape, 2, 3], [0, 2])
    with tf.GradientTape() as tape:
        tape.watch(values)
        seated = seat_rows(values, lanes)
    rows = lanes.rows.numpy()
    np.testing.assert_array_equal(seated.numpy()[rows >= 0], values.numpy()[rows[rows >= 0]])
    expected = np.zeros(values.shape, np.float32)
    expected[rows[rows >= 0]] = upstream.numpy()[rows >= 0]
    np.testing.assert_array_equal(tape.gradient(seated, values, upstream), expected)

    with tf.GradientTape() as tape:
        tape.watch(seated)
        again = unseat_rows(seated, lanes)
    np.testing.assert_array_equal(again, values)
    expected = np.where((rows >= 0)[:, :, None, None], values.numpy()[np.maximum(rows, 0)], 0)
    np.testing.assert_array_equal(tape.gradient(again, seated, values), expected)
