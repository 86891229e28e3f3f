import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.layers import MeanPooling
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
LENGTHS = np.array([6, 3, 0, 1], "int32")
SEQUENCE = RNG.normal(size=(4, 6, 3)).astype("float32")


def reference(sequence, lengths):
    rows = zip(sequence.astype(np.float64), lengths, strict=True)
    return np.stack([row[:n].mean(axis=0) if n else np.zeros(row.shape[1]) for row, n in rows])


def test_gate():
    run_layer_test(
        MeanPooling,
        {},
        [SEQUENCE, LENGTHS],
        expected_output_shape=(4, 3),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=4, max_size=4), st.integers(0, 2**16))
def test_values(lengths, seed):
    sequence = np.random.default_rng(seed).normal(size=SEQUENCE.shape).astype("float32")
    np.testing.assert_allclose(
        MeanPooling()([sequence, np.array(lengths)]), reference(sequence, lengths), atol=1e-6
    )


def test_padding_may_be_anything_and_the_order_does_not_matter():
    valid = np.arange(6)[:, None] < LENGTHS[:, None, None]
    sequence = tf.constant(np.where(valid, SEQUENCE, np.nan))
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        pooled = MeanPooling()([sequence, LENGTHS])
        loss = tf.reduce_sum(pooled)
    np.testing.assert_allclose(pooled, reference(SEQUENCE, LENGTHS), atol=1e-6)
    gradient = np.broadcast_to(valid / np.maximum(LENGTHS, 1)[:, None, None], SEQUENCE.shape)
    np.testing.assert_allclose(tape.gradient(loss, sequence), gradient, atol=1e-6)
    backwards = np.stack(
        [np.concatenate([x[:n][::-1], x[n:]]) for x, n in zip(SEQUENCE, LENGTHS, strict=True)]
    )
    np.testing.assert_allclose(MeanPooling()([backwards, LENGTHS]), pooled, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_mean_of_many_steps_in_half_precision(policy):
    layer = MeanPooling(dtype=policy)
    pooled = layer([np.full((1, 1000, 1), 300.0, "float32"), np.array([1000])])
    assert pooled.dtype == layer.compute_dtype and float(pooled[0, 0]) == 300.0


def test_lengths_beyond_the_sequence_and_other_inputs():
    np.testing.assert_allclose(
        MeanPooling()([SEQUENCE, np.array([9, 3, -1, 1])]), reference(SEQUENCE, [6, 3, 0, 1]), atol=1e-6
    )
    with pytest.raises(
        ValueError, match=r"MeanPooling 'pool' takes a sequence \[batch, seq_len, dim\] and lengths"
    ):
        MeanPooling(name="pool")(SEQUENCE)
