"""Packing against loops over rows in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.heads import pack_heads, unpack_heads
from easyssl.functional.packing import (
    add_by_step,
    dense_packing,
    join_row,
    pack,
    packing_of,
    packing_of_mask,
    unpack,
)
from easyssl.functional.xla import in_xla

SIZE = 5
CASES = [[5, 2, 0, 3], [0, 0, 1], [0, 0, 0], [5], [1, 1], [0, 5, 0]]
KINDS = ["packed", "dense"]


def rng():
    return np.random.default_rng(0)


def steps_of(lengths):
    """The tokens in order, as (row, step)."""
    return [(b, t) for b, n in enumerate(lengths) for t in range(n)]


def packing_for(lengths, kind):
    if kind == "dense":
        return dense_packing(tf.sequence_mask(lengths, SIZE))
    return packing_of(tf.constant(lengths), SIZE)


def tokens_of(sequence, packing, lengths):
    """What a packing makes of a sequence, by NumPy; tokens that no step stands for are those of padding."""
    if packing.dense:
        return sequence.reshape(-1, *sequence.shape[2:])
    found = [sequence[b, t] for b, t in steps_of(lengths)] or [sequence[0, 0]]
    return np.array(found)


def valid(lengths):
    return np.arange(SIZE) < np.array(lengths)[:, None]


def gradient_of(function, x, weights):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.add_n(
            [tf.reduce_sum(a * b) for a, b in zip(tf.nest.flatten(function(x)), weights, strict=True)]
        )
    return tape.gradient(loss, x).numpy()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=SIZE, max_size=SIZE), min_size=1, max_size=4))
def test_steps_of_any_mask(rows):
    mask = np.array(rows)
    packing = packing_of_mask(tf.constant(mask))
    np.testing.assert_array_equal(packing.coordinates, np.argwhere(mask) if mask.any() else [[0, 0]])
    x = rng().normal(size=(*mask.shape, 3))
    back = unpack(pack(tf.constant(x), packing), packing).numpy()
    np.testing.assert_array_equal(back[mask], x[mask])
    weights = rng().normal(size=x.shape)
    gradient = gradient_of(
        lambda s: pack(s, packing) * weights[tuple(packing.coordinates.numpy().T)], x, [1.0]
    )
    np.testing.assert_array_equal(gradient, weights * mask[..., None])


@pytest.mark.parametrize("lengths", CASES)
def test_a_mask_of_lengths_packs_as_the_lengths_do(lengths):
    told, masked = packing_of(tf.constant(lengths), SIZE), packing_of_mask(tf.constant(valid(lengths)))
    np.testing.assert_array_equal(masked.coordinates, told.coordinates)
    np.testing.assert_array_equal(masked.places.numpy()[valid(lengths)], told.places.numpy()[valid(lengths)])


@pytest.mark.parametrize("lengths", CASES)
def test_coordinates_and_places(lengths):
    packing = packing_of(tf.constant(lengths), SIZE)
    expected = steps_of(lengths) or [(0, 0)]
    np.testing.assert_array_equal(packing.coordinates, expected)
    np.testing.assert_array_equal(packing.mask, valid(lengths))
    places = packing.places.numpy()
    assert places.shape == (len(lengths), SIZE) and places.min() >= 0 and places.max() < len(expected)
    for number, (b, t) in enumerate(steps_of(lengths)):
        assert places[b, t] == number
    assert not packing.dense


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", CASES)
def test_pack_and_unpack(lengths, kind):
    packing, mask = packing_for(lengths, kind), valid(lengths)[:, :, None]
    sequence = rng().normal(size=(len(lengths), SIZE, 3)).astype("float32")
    tokens = pack(tf.constant(sequence), packing).numpy()
    np.testing.assert_array_equal(tokens, tokens_of(sequence, packing, lengths))
    again = unpack(tf.constant(tokens), packing).numpy()
    np.testing.assert_array_equal(np.where(mask, again, 0), np.where(mask, sequence, 0))
    if not packing.dense:
        np.testing.assert_array_equal(np.where(mask, 0, again), 0)
    # Where no row has a step, there is one token that stands for none.
    expected = tokens if packing.dense or any(lengths) else np.zeros_like(tokens)
    np.testing.assert_array_equal(pack(tf.constant(again), packing), expected)


def test_pack_from_a_later_step():
    packing = packing_of(tf.constant([2, 0, 1]), 2)
    sequence = rng().normal(size=(3, SIZE, 2)).astype("float32")
    first, places = tf.constant([3, 0, 2]), ([0, 0, 2], [3, 4, 2])
    np.testing.assert_array_equal(pack(tf.constant(sequence), packing, first), sequence[places])
    weights = rng().normal(size=(3, 2)).astype("float32")
    expected = np.zeros_like(sequence)
    expected[places] = weights
    got = gradient_of(lambda x: pack(x, packing, first), sequence, [weights])
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", CASES)
def test_gradients_of_pack_and_unpack(lengths, kind):
    packing, mask = packing_for(lengths, kind), valid(lengths)[:, :, None]
    sequence = rng().normal(size=(len(lengths), SIZE, 3)).astype("float32")
    tokens = tokens_of(sequence, packing, lengths)
    weights = rng().normal(size=tokens.shape).astype("float32")
    # Of what is read, namely valid steps: weights of other tokens are 0.
    weights *= tokens_of(np.broadcast_to(mask, sequence.shape), packing, lengths)
    expected = np.zeros_like(sequence)
    for number, (b, t) in enumerate(steps_of(lengths)):
        expected[b, t] = weights[b * SIZE + t if packing.dense else number]
    np.testing.assert_array_equal(gradient_of(lambda x: pack(x, packing), sequence, [weights]), expected)

    upstream = np.where(mask, rng().normal(size=sequence.shape), 0).astype("float32")
    got = gradient_of(lambda x: unpack(x, packing), tokens, [upstream])
    np.testing.assert_array_equal(got, tokens_of(upstream, packing, lengths))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", CASES)
def test_heads(lengths, kind):
    packing, mask = packing_for(lengths, kind), valid(lengths)[None, :, :, None]
    parts, heads, size = 3, 2, 4
    sequence = rng().normal(size=(len(lengths), SIZE, parts * heads * size)).astype("float32")
    tokens = tokens_of(sequence, packing, lengths)
    pieces = unpack_heads(tf.constant(tokens), packing, parts, heads)
    split = sequence.reshape(len(lengths), SIZE, parts, heads, size).transpose(2, 3, 0, 1, 4)
    assert len(pieces) == parts
    for piece, expected in zip(pieces, split, strict=True):
        assert piece.shape == (heads, len(lengths), SIZE, size)
        np.testing.assert_array_equal(np.where(mask, piece, 0), np.where(mask, expected, 0))

    joined = pack_heads(tf.constant(split[0].copy()), packing).numpy()
    np.testing.assert_array_equal(joined, tokens[:, : heads * size])
    again = unpack_heads(tf.constant(joined), packing, 1, heads)[0].numpy()
    np.testing.assert_array_equal(np.where(mask, again, 0), np.where(mask, split[0], 0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", CASES)
def test_gradients_of_heads(lengths, kind):
    packing, mask = packing_for(lengths, kind), valid(lengths)
    parts, heads, size, batch = 2, 3, 2, len(lengths)
    tokens = tokens_of(
        rng().normal(size=(batch, SIZE, parts * heads * size)).astype("float32"), packing, lengths
    )
    upstream = rng().normal(size=(parts, heads, batch, SIZE, size)).astype("float32")
    upstream = np.where(mask[None, None, :, :, None], upstream, 0).astype("float32")
    got = gradient_of(lambda x: unpack_heads(x, packing, parts, heads), tokens, list(upstream))
    joined = upstream.transpose(2, 3, 0, 1, 4).reshape(batch, SIZE, -1)
    np.testing.assert_array_equal(got, tokens_of(joined, packing, lengths))

    sequences = rng().normal(size=(heads, batch, SIZE, size)).astype("float32")
    by_step = np.where(mask[:, :, None], rng().normal(size=(batch, SIZE, heads * size)), 0).astype("float32")
    weights = tokens_of(by_step, packing, lengths)
    got = gradient_of(lambda x: pack_heads(x, packing), sequences, [weights])
    np.testing.assert_array_equal(got, by_step.reshape(batch, SIZE, heads, size).transpose(2, 0, 1, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", CASES)
def test_add_by_step(lengths, kind):
    packing = packing_for(lengths, kind)
    sequence = rng().normal(size=(len(lengths), SIZE, 3)).astype("float32")
    table = rng().normal(size=(SIZE, 3)).astype("float32")
    tokens = tokens_of(sequence, packing, lengths)
    got = add_by_step(tf.constant(tokens), tf.constant(table), packing)
    np.testing.assert_allclose(got, tokens_of(sequence + table, packing, lengths), rtol=1e-6)

    upstream = np.where(valid(lengths)[:, :, None], rng().normal(size=sequence.shape), 0).astype("float32")
    weights = tokens_of(upstream, packing, lengths)
    got = gradient_of(lambda x: add_by_step(tf.constant(tokens), x, packing), table, [weights])
    np.testing.assert_allclose(got, upstream.sum(axis=0), rtol=1e-5, atol=1e-6)
    got = gradient_of(lambda x: add_by_step(x, tf.constant(table), packing), tokens, [weights])
    np.testing.assert_array_equal(got, weights)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("lengths", CASES)
def test_join_row(lengths, first, kind):
    packing = packing_for(lengths, kind)
    sequence = rng().normal(size=(len(lengths), SIZE, 3)).astype("float32")
    vector = rng().normal(size=(len(lengths), 3)).astype("float32")
    tokens = tokens_of(sequence, packing, lengths)
    together, longer = join_row(tf.constant(vector), tf.constant(tokens), packing, first=first)
    pieces, masks = [vector[:, None], sequence], [np.ones((len(lengths), 1), bool), valid(lengths)]
    expected, mask = (np.concatenate(x if first else x[::-1], axis=1) for x in (pieces, masks))
    np.testing.assert_array_equal(longer.mask, mask)
    np.testing.assert_array_equal(
        np.where(mask[:, :, None], unpack(together, longer), 0), np.where(mask[:, :, None], expected, 0)
    )
    np.testing.assert_array_equal(
        unpack(pack(unpack(together, longer), longer), longer), unpack(together, longer)
    )
    upstream = np.where(mask[:, :, None], rng().normal(size=expected.shape), 0).astype("float32")

    def joined(x):
        both, where = join_row(x, tf.constant(tokens), packing, first=first)
        return unpack(both, where)

    np.testing.assert_array_equal(gradient_of(joined, vector, [upstream]), upstream[:, 0 if first else -1])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, SIZE), min_size=1, max_size=6))
def test_a_sum_over_tokens_is_the_sum_over_valid_steps(lengths):
    packing = packing_of(tf.constant(lengths), SIZE)
    sequence = rng().normal(size=(len(lengths), SIZE, 2)).astype("float32")
    squares = unpack(tf.square(pack(tf.constant(sequence), packing)), packing).numpy()
    mask = valid(lengths)[:, :, None]
    np.testing.assert_array_equal(np.where(mask, squares, 0), np.where(mask, np.square(sequence), 0))


@pytest.mark.parametrize("lengths", [[5, 2, 0, 3], [0, 0, 0, 0]])
def test_xla_gives_the_same(lengths):
    sequence = rng().normal(size=(4, SIZE, 6)).astype("float32")
    table, vector = (rng().normal(size=(n, 6)).astype("float32") for n in (SIZE, 4))
    weights = np.where(valid(lengths)[:, :, None], rng().normal(size=(4, SIZE, 6)), 0).astype("float32")

    def everything(x, lengths, table, vector):
        seen_dense = in_xla()
        with tf.GradientTape() as tape:
            tape.watch([x, table, vector])
            packing = packing_of(lengths, tf.shape(x)[1])
            assert packing.dense == seen_dense
            tokens = add_by_step(pack(x, packing), table, packing)
            query, key, value = unpack_heads(tokens, packing, 3, 1)
            tokens = tf.concat([tokens, pack_heads(query * key + value, packing)], axis=1)
            both, longer = join_row(tf.pad(vector, [[0, 0], [0, 2]]), tokens, packing, first=True)
            steps = tf.where(longer.mask[:, :, None], unpack(both, longer), 0.0)
            loss = tf.reduce_sum(steps[:, 1:, :6] * weights) + tf.reduce_sum(tf.square(steps))
        return [steps, *tape.gradient(loss, [x, table, vector])]

    inputs = (sequence, tf.constant(lengths), table, vector)
    inputs = tuple(map(tf.constant, inputs))
    eager = everything(*inputs)
    for got, want in zip(
        tf.function(everything, jit_compile=True, autograph=False)(*inputs), eager, strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
