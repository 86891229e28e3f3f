import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.sequences import append_step, last_steps, read_out

RNG = np.random.default_rng(0)
SEQUENCE = RNG.normal(size=(4, 6, 3)).astype("float32")
lengths_of_rows = st.lists(st.integers(0, 6), min_size=4, max_size=4)


def steps_of(sequence, lengths, limit):
    return [row[max(n - limit, 0) : n] for row, n in zip(sequence, lengths, strict=True)]


@settings(max_examples=25, deadline=None)
@given(lengths_of_rows, st.integers(1, 8))
def test_last_steps(lengths, limit):
    for sequence in (SEQUENCE, SEQUENCE[:, :, 0], SEQUENCE[:, :, 0] > 0):
        got, kept = last_steps(tf.constant(sequence), tf.constant(lengths), limit)
        assert got.shape == (4, min(6, limit), *sequence.shape[2:])
        for row, n, expected in zip(
            got.numpy(), kept.numpy(), steps_of(sequence, lengths, limit), strict=True
        ):
            np.testing.assert_array_equal(row[:n], expected)


@settings(max_examples=15, deadline=None)
@given(lengths_of_rows, st.integers(1, 8))
def test_last_steps_gradient(lengths, limit):
    upstream = RNG.normal(size=(4, min(6, limit), 3)).astype("float32")
    sequence = tf.constant(SEQUENCE)
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        got, kept = last_steps(sequence, tf.constant(lengths), limit)
        valid = tf.sequence_mask(kept, upstream.shape[1])[:, :, None]
        loss = tf.reduce_sum(tf.where(valid, got, 0.0) * upstream)
    expected = np.zeros_like(SEQUENCE)
    for b, n in enumerate(lengths):
        first = max(n - limit, 0)
        expected[b, first:n] = upstream[b, : n - first]
    np.testing.assert_array_equal(tape.gradient(loss, sequence), expected)


@pytest.mark.parametrize("limit", [2, 6, 9])
def test_last_steps_of_unknown_length_and_under_xla(limit):
    lengths = tf.constant([6, 2, 0, 3])

    def kept(x, n):
        with tf.GradientTape() as tape:
            tape.watch(x)
            got, count = last_steps(x, n, limit)
            loss = tf.reduce_sum(tf.square(got))
        return got, count, tape.gradient(loss, x)

    spec = [tf.TensorSpec([None, None, 3]), tf.TensorSpec([None], tf.int32)]
    for jit_compile in (False, True):
        graph = tf.function(kept, input_signature=spec, jit_compile=jit_compile, autograph=False)
        for got, want in zip(graph(SEQUENCE, lengths), kept(tf.constant(SEQUENCE), lengths), strict=True):
            np.testing.assert_array_equal(got, want)


@settings(max_examples=15, deadline=None)
@given(lengths_of_rows)
def test_append_step(lengths):
    step = RNG.normal(size=3).astype("float32")
    got = append_step(tf.constant(SEQUENCE), tf.constant(lengths), tf.constant(step)).numpy()
    assert got.shape == (4, 7, 3)
    for row, n, before in zip(got, lengths, SEQUENCE, strict=True):
        np.testing.assert_array_equal(row[:n], before[:n])
        np.testing.assert_array_equal(row[n], step)


@settings(max_examples=15, deadline=None)
@given(lengths_of_rows)
def test_read_out(lengths):
    steps = np.where(np.arange(6)[:, None] < np.array(lengths)[:, None, None], SEQUENCE, np.nan)
    read = {
        o: read_out(tf.constant(steps), tf.constant(lengths), o).numpy() for o in ("last", "mean", "sequence")
    }
    for b, n in enumerate(lengths):
        row = SEQUENCE[b, :n].astype(np.float64)
        np.testing.assert_array_equal(read["last"][b], row[-1] if n else np.zeros(3))
        np.testing.assert_allclose(read["mean"][b], row.mean(axis=0) if n else np.zeros(3), atol=1e-6)
        np.testing.assert_array_equal(read["sequence"][b], np.concatenate([row, np.zeros((6 - n, 3))]))


@pytest.mark.parametrize("output", ["last", "mean", "sequence"])
def test_read_out_gradient_of_padding_is_zero(output):
    steps, lengths = tf.constant(np.full((2, 3, 2), np.nan, "float32")), tf.constant([0, 0])
    with tf.GradientTape() as tape:
        tape.watch(steps)
        loss = tf.reduce_sum(read_out(steps, lengths, output))
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, steps), np.zeros((2, 3, 2)))
