import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional.routing import even_logits, number_of_interests, route, squash
from easyssl.layers import DynamicRouting
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6, 5)).astype("float32")
USER = RNG.normal(size=(4, 3)).astype("float32")
LENGTHS = np.array([6, 4, 1, 0], "int32")
PER_STEP = {"maps": "per_step", "max_seq_len": 6, "initial_logits": "zeros"}


def squashed(v):
    square = np.sum(v * v)
    return np.zeros_like(v) if square == 0 else square / (1 + square) * v / np.sqrt(square)


def routed(votes, lengths, logits, iterations, counts=None):
    """One row and one step at a time; votes `[batch, seq_len, num_interests, dim]`."""
    batch, _, interests, dim = votes.shape
    result = np.zeros((batch, interests, dim))
    for row in range(batch):
        n, k = lengths[row], interests if counts is None else counts[row]
        b = logits[row, :, :k].astype(np.float64).copy()
        for _ in range(iterations):
            z = np.zeros((interests, dim))
            for i in range(n):
                w = np.exp(b[i]) / np.exp(b[i]).sum()
                z[:k] += w[:, None] * votes[row, i, :k]
            z = np.array([squashed(v) for v in z])
            for i in range(n):
                b[i] += np.sum(votes[row, i, :k] * z[:k], axis=1)
        z[k:] = z[0]
        result[row] = z
    return result


@pytest.mark.parametrize(
    ("options", "inputs", "trainable", "state"),
    [
        ({"num_interests": 3, "dynamic_interests": True}, [X, LENGTHS], 1, 1),
        ({"num_interests": 3, **PER_STEP}, [X, LENGTHS], 1, 0),
        ({"num_interests": 3, "hidden_units": [8, 5], "user_input": True}, [X, LENGTHS, USER], 5, 1),
    ],
)
def test_gate(options, inputs, trainable, state):
    layer = run_layer_test(
        DynamicRouting,
        options,
        inputs,
        expected_output_shape=(4, 3, 5),
        expected_num_trainable_weights=trainable,
        expected_num_non_trainable_weights=state,
        is_random=bool(state),
    )
    np.testing.assert_array_equal(layer(inputs)[3], 0.0)


@pytest.mark.parametrize("dynamic", [False, True])
def test_mind(dynamic):
    layer = DynamicRouting(4, dynamic_interests=dynamic, logits_stddev=2.0, output_size=3)
    got = layer([X, LENGTHS])
    kernel = layer.kernel.numpy().astype(np.float64)
    votes = np.repeat((X.astype(np.float64) @ kernel)[:, :, None], 4, axis=2)
    logits = np.repeat(2.0 * even_logits(6, 4).numpy()[None], 4, axis=0)
    counts = [max(1, min(4, int(np.log2(max(n, 1))))) for n in LENGTHS] if dynamic else None
    np.testing.assert_allclose(got, routed(votes, LENGTHS, logits, 3, counts), rtol=1e-4, atol=1e-5)


def test_comirec_and_the_steps_that_are_kept():
    layer = DynamicRouting(3, num_iterations=2, maps="per_step", max_seq_len=4, initial_logits="zeros")
    got = layer([X, LENGTHS])
    kernel = layer.kernel.numpy().astype(np.float64)
    kept = X.copy()
    kept[0] = np.roll(X[0], -2, axis=0)
    votes = np.einsum("bld,ldkh->blkh", kept[:, :4].astype(np.float64), kernel)
    expected = routed(votes, np.minimum(LENGTHS, 4), np.zeros((4, 4, 3)), 2)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer([X[:, :4], np.minimum(LENGTHS, 4)])[1:], got[1:], atol=1e-6)


def test_padding_may_hold_anything_and_does_not_matter():
    layer = DynamicRouting(3)
    padded = np.concatenate([X, np.full_like(X[:, :2], np.nan)], axis=1)
    padded[1, 4:] = np.nan
    with tf.GradientTape() as tape:
        got = layer([padded[:3], LENGTHS[:3]])
        loss = tf.reduce_sum(got**2)
    np.testing.assert_allclose(got, layer([X, LENGTHS])[:3], atol=1e-6)
    assert np.all(np.isfinite(tape.gradient(loss, layer.trainable_weights)[0]))


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_gradient_equals_finite_differences(stop_gradient):
    logits = RNG.normal(size=(1, 3, 2))
    votes = RNG.normal(size=(1, 3, 4))
    with tf.GradientTape() as tape:
        x = tf.constant(votes, tf.float32)
        tape.watch(x)
        z = route(x, tf.ones([1, 3], tf.bool), tf.constant(logits), stop_gradient=stop_gradient)
        loss = tf.reduce_sum(z**3)
    got = tape.gradient(loss, x).numpy()
    twice = np.repeat(votes[:, :, None], 2, axis=2)
    final = logits.copy()
    if stop_gradient:  # the logits of the last iteration are constants
        for iteration in (1, 2):
            z = routed(twice, [3], logits, iteration)
            final = final + np.einsum("blkd,bkd->blk", twice, z)

    def value(v):
        v = np.repeat(v[:, :, None], 2, axis=2)
        return np.sum((routed(v, [3], final, 1) if stop_gradient else routed(v, [3], logits, 3)) ** 3)

    for place in np.ndindex(votes.shape):
        step = np.zeros_like(votes)
        step[place] = 1e-5
        difference = (value(votes + step) - value(votes - step)) / 2e-5
        assert got[place] == pytest.approx(difference, rel=2e-3, abs=2e-5)


def test_large_votes_in_half_precision_stay_finite():
    layer = DynamicRouting(3, dtype="mixed_float16")
    x = tf.constant(1e3 * X, tf.float16)
    with tf.GradientTape() as tape:
        z = layer([x, LENGTHS], training=True)
        loss = tf.reduce_sum(tf.cast(z, tf.float32))
    assert np.all(np.linalg.norm(z.numpy().astype(float), axis=2) < 1.01)
    assert np.all(np.isfinite(tape.gradient(loss, layer.trainable_weights)[0]))
    assert np.all(np.isfinite(squash(tf.zeros([2, 3]))))


def test_even_logits_do_not_depend_on_how_many_and_differ():
    logits = even_logits(200, 4).numpy()
    np.testing.assert_array_equal(even_logits(7, 4), logits[:7])
    assert np.all(np.isfinite(logits)) and len(np.unique(logits)) == logits.size
    assert number_of_interests(tf.constant([2**29, 2**31 - 1]), 40).numpy().tolist() == [29, 30]


def test_nothing_is_reported_and_draws_repeat_with_the_seed():
    with collect_losses() as collected:
        first = [DynamicRouting(2, seed=3)([X, LENGTHS], training=True) for _ in range(1)]
    assert not collected.terms
    layer = DynamicRouting(2, seed=3)
    second = layer([X, LENGTHS], training=True)
    assert first[0].shape == second.shape and int(layer.random_state[1]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": "shraed"}, "did you mean 'shared'"),
        ({"maps": "per_step"}, "`max_seq_len` is for maps='per_step'"),
        ({"initial_logits": "zeros"}, "all interests are equal"),
        ({"user_input": True}, "`user_input` needs `hidden_units`"),
        ({"num_iterations": 0}, "`num_iterations` must be a positive integer"),
        ({"logits_stddev": 0.0}, "`logits_stddev` must be positive"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        DynamicRouting(3, **options)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="takes a sequence"):
        DynamicRouting(3)([X, X])
    with pytest.raises(ValueError, match="as its third input"):
        DynamicRouting(3, hidden_units=[4], user_input=True)([X, LENGTHS])
