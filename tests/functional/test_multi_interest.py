import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.multi_interest import (
    interest_positives,
    label_aware_interest,
    max_scores,
    re_attend,
    read_interest,
    reconstruction_error,
)

LENGTHS = np.array([4, 2, 0, 1, 3])
VALID = np.arange(4) < LENGTHS[:, None]


def f32(x):
    return tf.constant(x, tf.float32)


def softmax_over(scores, valid):
    e = np.where(valid, np.exp(scores - scores.max(axis=-1, keepdims=True)), 0.0)
    return e / np.maximum(e.sum(axis=-1, keepdims=True), 1e-300)


def example(seed):
    """Returns interests, attention logits and items."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(5, 3, 6)), rng.normal(size=(5, 3, 4)), rng.normal(size=(5, 4, 6))


def attend_reference(z, attention, x, target="retrieval", frozen=None):
    retrieval = softmax_over(np.einsum("bkd,bld->bkl", z, x), VALID[:, None])
    losses = []
    for b in np.flatnonzero(LENGTHS):
        for k in range(3):
            n = LENGTHS[b]
            a, r = attention[b, k, :n], retrieval[b, k, :n]
            goal, prediction = (r, a) if target == "retrieval" else (a, r)
            goal = goal if frozen is None else frozen[b, k, :n]
            losses.append(-np.sum(goal * np.log(prediction)))
    return np.mean(losses)


def attend(z, attention, x, **options):
    z, attention, x = (tf.cast(value, tf.float32) for value in (z, attention, x))
    return re_attend(z, attention, x, tf.constant(VALID), **options)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([None, 0.3]))
def test_positives(seed, threshold):
    _, logits, _ = example(seed)
    attention = softmax_over(logits, VALID[:, None])
    got = interest_positives(f32(attention), tf.constant(VALID), threshold).numpy()
    limit = 1.0 / np.maximum(LENGTHS, 1)[:, None, None] if threshold is None else threshold
    np.testing.assert_array_equal(got, VALID[:, None] & (attention > limit))
    if threshold is None:
        assert np.all(got.any(axis=-1)[LENGTHS >= 2]) and not got[LENGTHS < 2].any()


def test_even_attention_has_no_positives():
    for length in range(1, 51):
        attention = tf.nn.softmax(tf.fill([1, 1, length], 0.37))
        assert not np.any(interest_positives(attention, tf.ones([1, length], tf.bool)))


@pytest.mark.parametrize("target", ["retrieval", "attention"])
def test_re_attend_equals_the_definition(target):
    z, logits, x = example(0)
    attention = softmax_over(logits, VALID[:, None])
    got = attend(z, attention, x, target=target)
    np.testing.assert_allclose(got, attend_reference(z, attention, x, target), rtol=1e-5)


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("target", ["retrieval", "attention"])
def test_re_attend_gradients_equal_finite_differences(target, stopped):
    arrays = example(1)
    tensors = [f32(value) for value in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        masked = tf.where(VALID[:, None], tensors[1], -1e30)
        attention = tf.where(VALID[:, None], tf.nn.softmax(masked), 0.0)
        loss = attend(tensors[0], attention, tensors[2], target=target, target_stop_gradient=stopped)
    frozen = None
    if stopped and target == "retrieval":
        frozen = softmax_over(np.einsum("bkd,bld->bkl", arrays[0], arrays[2]), VALID[:, None])
    elif stopped:
        frozen = softmax_over(arrays[1], VALID[:, None])

    def reference(z, logits, x):
        return attend_reference(z, softmax_over(logits, VALID[:, None]), x, target, frozen)

    for i, got in enumerate(tape.gradient(loss, tensors, unconnected_gradients="zero")):
        expected = np.zeros_like(arrays[i])
        for place in np.ndindex(*expected.shape):
            ends = []
            for sign in (1, -1):
                moved = [value.copy() for value in arrays]
                moved[i][place] += sign * 1e-6
                ends.append(reference(*moved))
            expected[place] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_re_attend_is_at_least_the_entropy_and_rests_there(seed):
    z, logits, x = example(seed)
    retrieval = softmax_over(np.einsum("bkd,bld->bkl", z, x), VALID[:, None])
    entropy = attend_reference(z, retrieval, x)
    assert float(attend(z, softmax_over(logits, VALID[:, None]), x)) >= entropy - 1e-5
    same = tf.constant(np.log(np.maximum(retrieval, 1e-30)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(same)
        loss = attend(z, tf.where(VALID[:, None], tf.nn.softmax(same), 0.0), x, target_stop_gradient=True)
    np.testing.assert_allclose(loss, entropy, rtol=1e-4)
    np.testing.assert_allclose(tape.gradient(loss, same), np.zeros_like(logits), atol=1e-6)


def test_re_attend_without_valid_steps():
    z, logits, x = (f32(value) for value in example(2))
    with tf.GradientTape() as tape:
        tape.watch([z, x])
        loss = re_attend(z, 0.0 * logits, x, tf.zeros([5, 4], tf.bool))
    assert float(loss) == 0.0
    for gradient in tape.gradient(loss, [z, x]):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_attention_that_vanishes_stays_finite():
    z, _, x = example(3)
    certain = np.where(VALID[:, None], np.eye(4)[0], 0.0)
    logits = f32(certain)
    for target in ("retrieval", "attention"):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            attention = tf.where(VALID[:, None], tf.nn.softmax(1e3 * logits), 0.0)
            loss = attend(1e3 * z, attention, x, target=target)
        assert np.isfinite(loss) and np.all(np.isfinite(tape.gradient(loss, logits)))


@pytest.mark.parametrize("over", [None, VALID])
def test_reconstruction_error_equals_the_definition(over):
    rng = np.random.default_rng(4)
    rebuilt, items = rng.normal(size=(5, 3, 4, 6)), rng.normal(size=(5, 4, 6))
    positives = (rng.uniform(size=(5, 3, 4)) < 0.4) & VALID[:, None]
    squares = ((rebuilt - items[:, None]) ** 2).sum(axis=-1)
    expected = squares[positives].sum() / 6 / (positives.sum() if over is None else 3 * VALID.sum())
    rebuilt[~positives] = np.inf
    got = reconstruction_error(f32(rebuilt), f32(items), tf.constant(positives), over=over)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    exact = np.broadcast_to(items[:, None], rebuilt.shape)
    assert float(reconstruction_error(f32(exact), f32(items), tf.constant(positives), over=over)) == 0.0
    nothing = tf.zeros([5, 3, 4], tf.bool)
    assert float(reconstruction_error(f32(rebuilt), f32(items), nothing, over=over)) == 0.0


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_readout_is_what_retrieval_scores(seed):
    rng = np.random.default_rng(seed)
    z, items = rng.normal(size=(4, 3, 5)), rng.normal(size=(9, 5))
    scores = np.einsum("bkd,nd->bkn", z, items)
    best = max_scores(f32(z), f32(items)).numpy()
    np.testing.assert_allclose(best, scores.max(axis=1), rtol=1e-4, atol=1e-5)
    targets = np.broadcast_to(items, (4, 9, 5))
    chosen = read_interest(f32(z), f32(targets)).numpy()
    np.testing.assert_allclose((chosen * targets).sum(axis=-1), best, rtol=1e-4, atol=1e-5)
    # The best items of all are among the best ones of each interest.
    merged = [set(np.argsort(-scores[b], axis=-1)[:, :2].ravel()) for b in range(4)]
    assert all(set(np.argsort(-best[b])[:2]) <= merged[b] for b in range(4))


def test_readout_takes_the_first_of_equals_and_moves_only_it():
    z = f32([[[1.0, 2.0], [2.0, 1.0], [2.0, 1.0]]])
    targets = f32([[[1.0, 1.0], [1.0, 0.0]]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        chosen = read_interest(z, targets)
    assert chosen.numpy().tolist() == [[[1.0, 2.0], [2.0, 1.0]]]
    assert tape.gradient(chosen, z).numpy().tolist() == [[[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]]


def label_aware_reference(z, e, power):
    """Returns MIND's readout, one target and interest at a time, with logarithms that do not overflow."""
    mixed = np.zeros_like(e)
    for b, n in np.ndindex(e.shape[:2]):
        scores = z[b] @ e[b, n]
        powers = np.array([np.sign(s) * abs(s) ** power if power else 1.0 for s in scores])
        weights = np.exp(powers - powers.max())
        mixed[b, n] = (weights / weights.sum()) @ z[b]
    return mixed


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.7]))
def test_label_aware_interest(seed, power):
    z, _, e = (
        x / 2 for x in example(seed)
    )  # powers of larger scores differ by more than float32 tells apart
    got = label_aware_interest(f32(z), f32(e), power)
    np.testing.assert_allclose(got, label_aware_reference(z, e, power), rtol=2e-3, atol=2e-4)


def test_label_aware_interest_has_the_paper_s_limits():
    z = np.array([[[3.0, 0.0], [0.0, 2.0], [-4.0, 0.0]]])
    e = np.array([[[1.0, 1.0], [-1.0, 0.0], [0.0, 1.0]]])
    hard = read_interest(f32(z), f32(e))
    for power in (10.0, 1000.0):
        np.testing.assert_allclose(label_aware_interest(f32(z), f32(e), power), hard, atol=1e-5)
    even = np.broadcast_to(z.mean(axis=1, keepdims=True), z.shape)
    np.testing.assert_allclose(label_aware_interest(f32(z), f32(e), 0.0), even, rtol=1e-5)
    small = label_aware_interest(f32(z / 100), f32(e), 50.0)  # as the formula has it: 0.03^50 is nearly 0
    np.testing.assert_allclose(small, even / 100, rtol=1e-5)


def test_the_gradient_of_label_aware_interest():
    z, _, e = example(3)
    aim = np.random.default_rng(4).normal(size=e.shape)
    for power in (1.0, 2.0):
        with tf.GradientTape() as tape:
            given_z, given_e = f32(z), f32(e)
            tape.watch([given_z, given_e])
            value = tf.reduce_sum(f32(aim) * label_aware_interest(given_z, given_e, power))
        gradients = tape.gradient(value, [given_z, given_e])
        for which, gradient in enumerate(gradients):
            for index in ((0, 0, 0), (2, 1, 3), (4, 2, 5)):
                step = np.zeros_like((z, e)[which])
                step[index] = 1e-5
                high, low = (
                    np.sum(aim * label_aware_reference(z + sign * (1 - which) * step, e, power))
                    if which == 0
                    else np.sum(aim * label_aware_reference(z, e + sign * step, power))
                    for sign in (1, -1)
                )
                assert float(gradient[index]) == pytest.approx((high - low) / 2e-5, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0, 7.0, 1e6])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e3, 1e15])
def test_label_aware_interest_is_finite(power, size):
    z, e = f32(size * np.sign(example(0)[0])), f32(np.sign(example(1)[2]))
    with tf.GradientTape() as tape:
        tape.watch([z, e])
        mixed = label_aware_interest(z, e, power)
        value = tf.reduce_sum(mixed)
    assert np.all(np.isfinite(mixed))
    assert all(np.all(np.isfinite(g)) for g in tape.gradient(value, [z, e]))
