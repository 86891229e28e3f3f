import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from easyssl.layers import ValueDropout
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

LENGTHS = np.array([5, 0, 1, 3], "int32")
VALID = np.arange(5) < LENGTHS[:, None]
IDS = np.where(VALID, 10 * np.arange(4)[:, None] + np.arange(5) + 1, -1)
X = (np.repeat(IDS[:, :, None], 3, axis=2) * VALID[:, :, None]).astype("float32")
GAPS = np.array([[1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0]], bool)


def test_gate_of_embeddings_and_lengths():
    run_layer_test(
        ValueDropout,
        {"rate": 0.5, "seed": 1},
        (X, LENGTHS),
        expected_output_shape=[X.shape, LENGTHS.shape],
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=1,
        is_random=True,
    )


def test_gate_of_embeddings_and_mask():
    run_layer_test(
        ValueDropout,
        {"rate": 0.5, "when_empty": "keep_one", "seed": 1},
        (X, GAPS),
        expected_output_shape=[X.shape, GAPS.shape],
        expected_num_trainable_weights=0,
        is_random=True,
    )


def test_gate_of_ids():
    run_layer_test(
        ValueDropout,
        {"rate": 0.5, "default_id": 99, "seed": 1},
        IDS,
        expected_output_shape=IDS.shape,
        expected_num_trainable_weights=0,
        is_random=True,
    )


def test_evaluation_returns_the_input():
    layer = ValueDropout(0.9)
    for inputs in ([X, LENGTHS], [X, GAPS]):
        for got, given_ in zip(layer(inputs, training=False), inputs, strict=True):
            np.testing.assert_array_equal(got, given_)
    np.testing.assert_array_equal(ValueDropout(0.9, default_id=1)(IDS), IDS)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=5),
    st.floats(0, 0.99),
    st.sampled_from(["default", "keep_one", "nothing"]),
    st.integers(0, 2**40),
)
def test_a_bag_is_what_is_left_of_it(lengths, rate, when_empty, seed):
    options = {"when_empty": when_empty, "default_id": 999, "seed": seed}
    ids = np.where(np.arange(5) < np.array(lengths)[:, None], np.arange(5) + 1, -1)
    masked = ValueDropout(rate, **options)(tf.constant(ids), training=True).numpy()
    moved, counts = ValueDropout(rate, **options)([tf.constant(ids), tf.constant(lengths)], training=True)
    for row, length in enumerate(lengths):
        before, after = ids[row, :length].tolist(), masked[row][masked[row] >= 0].tolist()
        assert moved[row, : counts[row]].numpy().tolist() == after
        assert (moved[row, counts[row] :].numpy() == -1).all()
        if after == [999]:
            assert when_empty == "default" and length
            continue
        assert after == [x for x in before if x in after]
        assert after or not before or when_empty == "nothing"


def test_values_are_dropped_independently_with_the_rate():
    batch, rate = 6000, 0.3
    ids = tf.constant(np.tile([[1, 2, 3]], (batch, 1)))
    kept = ValueDropout(rate, when_empty="nothing", seed=2)(ids, training=True).numpy() > 0
    seen = collections.Counter(map(tuple, kept.tolist()))
    masks = list(itertools.product((False, True), repeat=3))
    expected = [batch * (1 - rate) ** sum(m) * rate ** (3 - sum(m)) for m in masks]
    assert stats.chisquare([seen[m] for m in masks], expected).pvalue > 1e-3


def test_the_value_that_is_kept_is_any_of_them():
    ids = tf.constant(np.tile([[1, 2, 3, -1]], (6000, 1)))
    result = ValueDropout(0.999, when_empty="keep_one", seed=2)(ids, training=True).numpy()
    alone = result[(result > 0).sum(axis=1) == 1].max(axis=1)
    assert len(alone) > 5900 and stats.chisquare(np.bincount(alone)[1:]).pvalue > 1e-3


def test_a_bag_that_loses_all_pools_to_the_default():
    layer = ValueDropout(0.99, seed=1)
    layer([X, LENGTHS])
    layer.default_embedding.assign([7.0, 8.0, 9.0])
    for present in (LENGTHS, GAPS):
        values, left = layer([X, present], training=True)
        weights = tf.sequence_mask(left, 5, tf.float32) if left.shape.rank == 1 else tf.cast(left, tf.float32)
        pooled = tf.math.divide_no_nan(
            tf.reduce_sum(values * weights[:, :, None], axis=1), tf.reduce_sum(weights, axis=1, keepdims=True)
        ).numpy()
        defaults = (pooled == [7.0, 8.0, 9.0]).all(axis=1)
        assert defaults.any() and not defaults[1] and not pooled[1].any()
        assert (weights.numpy().sum(axis=1)[defaults] == 1).all()


def test_a_mask_with_gaps_stays_in_its_places():
    values, mask = ValueDropout(0.5, when_empty="nothing", seed=1)([X, GAPS], training=True)
    mask = mask.numpy()
    assert not (mask & ~GAPS).any()
    np.testing.assert_array_equal(values, X * mask[:, :, None])


def test_more_padding_changes_nothing():
    for when_empty in ("default", "keep_one", "nothing"):
        options = {"rate": 0.6, "when_empty": when_empty, "seed": 5}
        values, lengths = ValueDropout(**options)([X, LENGTHS], training=True)
        wide = np.pad(X, ((0, 0), (0, 3), (0, 0)))
        more, more_lengths = ValueDropout(**options)([wide, LENGTHS], training=True)
        np.testing.assert_array_equal(more[:, :5], values)
        np.testing.assert_array_equal(more_lengths, lengths)


def test_gradients_reach_what_stays():
    layer = ValueDropout(0.5, when_empty="nothing", seed=1)
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        values, mask = layer([x, tf.constant(VALID)], training=True)
        total = tf.reduce_sum(values)
    np.testing.assert_array_equal(tape.gradient(total, x), np.repeat(mask.numpy()[:, :, None], 3, axis=2))


def test_further_inputs_are_ignored():
    values, lengths = ValueDropout(0.5, seed=1)([X, LENGTHS, np.ones([4, 2], "float32")], training=True)
    assert values.shape == X.shape and lengths.shape == LENGTHS.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rate": 1.0}, "rate"), ({"rate": -0.1}, "rate"), ({"rate": 0.1, "when_empty": "x"}, "when_empty")],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ValueDropout(**options)


def test_inputs_that_do_not_suit_are_refused():
    with pytest.raises(ValueError, match="with a mask"):
        ValueDropout(0.5)(X)
    with pytest.raises(ValueError, match="needs `default_id`"):
        ValueDropout(0.5)(IDS)
