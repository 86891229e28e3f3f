"""Windows against a loop over tokens in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.packing import join_row, packing_of, packing_of_mask
from easyssl.functional.windows import windows_of, with_before
from easyssl.layers.self_attention import MultiHeadSelfAttention

pytestmark = pytest.mark.both_keras

SIZE = 7
ROWS = st.lists(st.lists(st.booleans(), min_size=SIZE, max_size=SIZE), min_size=1, max_size=6)


def check(windows, packing):
    """Every token is in one slot, and sees the tokens of its row up to itself."""
    laid, before = windows.packing, int(windows.before)
    where, places, mask = laid.coordinates.numpy(), laid.places.numpy(), laid.mask.numpy()
    tokens = np.where(mask, places, -1)
    assert len(np.unique(where, axis=0)) == len(where) == mask.sum()
    np.testing.assert_array_equal(tokens[tuple(where.T)], np.arange(len(where)))
    numbers = tf.constant(tokens[None, :, :, None] + 1.0, tf.float32)
    keys = with_before(numbers, windows.before).numpy()[0, :, :, 0].astype(int) - 1
    assert keys.shape[1] == before + mask.shape[1]
    rows, steps = packing.coordinates.numpy().T
    for token, (chunk, slot) in enumerate(where):
        seen = keys[chunk][windows.excluded.numpy()[chunk, slot] == 0]
        expected = np.flatnonzero((rows == rows[token]) & (steps <= steps[token]))
        np.testing.assert_array_equal(np.sort(seen), expected)


@settings(max_examples=25, deadline=None)
@given(ROWS)
def test_a_token_sees_its_row_up_to_itself(mask):
    packing = packing_of_mask(tf.constant(mask))
    check(windows_of(packing), packing)


@pytest.mark.parametrize("lengths", [[7, 1, 1, 0, 1, 1, 2, 1], [7, 6, 7, 7], [0, 0], [1, 1, 1]])
def test_the_cheaper_form_is_taken(lengths):
    packing = packing_of(tf.constant(lengths), SIZE)
    windows = windows_of(packing)
    check(windows, packing)
    chunks, width, seen = windows.excluded.shape
    lanes = packing.lanes.packing.mask.shape
    assert chunks * width * seen <= lanes[0] * lanes[1] ** 2
    longest = max(1, max(lengths))
    assert width == longest or (width, seen) == (-(-(longest - 1) // 2), width + longest - 1)


@pytest.mark.parametrize("first", [True, False])
def test_tokens_that_do_not_come_row_by_row(first):
    lengths = [5, 0, 1, 1]
    _, packing = join_row(
        tf.zeros([4, 2]), tf.zeros([7, 2]), packing_of(tf.constant(lengths), 5), first=first
    )
    check(windows_of(packing), packing)


@pytest.mark.parametrize("before", [0, 1, 3, 4])
def test_the_slots_before_a_chunk_and_their_gradient(before):
    values = tf.random.stateless_normal([2, 4, 2, 3], [0, 1])
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = with_before(values, tf.constant(before))
    upstream = tf.random.stateless_normal(found.shape, [0, 2])
    flat = np.concatenate([np.zeros([2, before, 3]), values.numpy().reshape(2, 8, 3)], axis=1)
    gradient = np.zeros_like(flat)
    for chunk in range(4):
        seen = slice(2 * chunk, 2 * chunk + before + 2)
        np.testing.assert_array_equal(found[:, chunk], flat[:, seen])
        gradient[:, seen] += upstream.numpy()[:, chunk]
    expected = gradient[:, before:].reshape(values.shape)
    np.testing.assert_allclose(tape.gradient(found, values, upstream), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lengths", [[7, 1, 2, 0, 1, 3, 1, 1], [7, 6, 7, 6, 7, 7, 5, 7]])
def test_attention_of_tokens_equals_that_of_padded_rows(lengths):
    layer = MultiHeadSelfAttention(num_heads=2, causal=True, initializer_range=1.0)
    steps = tf.random.stateless_normal([8, SIZE, 4], [0, 3])
    packing = packing_of(tf.constant(lengths), SIZE)
    layer.build((None, None, 4))

    def gradients(compute):
        with tf.GradientTape() as tape:
            tape.watch(steps)
            found = compute()
            value = tf.reduce_sum(tf.sin(found))
        return found, tape.gradient(value, [steps, *layer.trainable_variables])

    tokens, ours = gradients(lambda: layer(tf.gather_nd(steps, packing.coordinates), packing=packing))
    padded, theirs = gradients(lambda: tf.gather_nd(layer(steps, mask=packing.mask), packing.coordinates))
    np.testing.assert_allclose(tokens, padded, rtol=1e-4, atol=1e-5)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
