import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.multi_interest import interest_positives
from easyssl.functional.re_contrast import re_contrast

BATCH, INTERESTS, STEPS, DIM = 5, 3, 4, 8  # with 8, two rows are visited at a time if all are
LENGTHS = np.array([4, 2, 0, 1, 3])


def f32(x):
    return tf.constant(x, tf.float32)


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


def example(seed, batch=BATCH, interests=INTERESTS, lengths=LENGTHS):
    """Returns interests, items, positives, valid and ids, with some ids more than once."""
    rng = np.random.default_rng(seed)
    valid = np.arange(STEPS) < lengths[:, None]
    attention = rng.uniform(size=(batch, interests, STEPS)) * valid[:, None]
    attention /= np.maximum(attention.sum(axis=-1, keepdims=True), 1e-9)
    positives = interest_positives(f32(attention), tf.constant(valid)).numpy()
    ids = rng.integers(0, 6, size=(batch, STEPS))
    items = rng.normal(size=(batch, STEPS, DIM))
    return rng.normal(size=(batch, interests, DIM)), items, positives, valid, ids


def reference(z, x, positives, valid, ids=None, tau=0.02, num_rolled=1, similarity="cosine", official=False):
    """Three loops over rows, interests and positives."""
    if similarity == "cosine":
        z, x = unit(z), unit(x)
    batch, interests, steps = positives.shape
    losses = []
    for b in range(batch):
        for k in range(interests):
            own = [j for j in range(steps) if positives[b, k, j]]
            negatives = [z[b, other] for other in range(interests) if other != k]
            for j in range(steps):
                clash = ids is not None and any(ids[b, i] == ids[b, j] for i in own)
                if valid[b, j] and (official or not (positives[b, k, j] or clash)):
                    negatives.append(x[b, j])
            for shift in range(1, min(batch - 1 if num_rolled is None else num_rolled, batch - 1) + 1):
                row = (b - shift) % batch
                seen = set() if ids is None or official else set(ids[b][valid[b]])
                negatives += [
                    x[row, j]
                    for j in range(steps)
                    if valid[row, j] and not (ids is not None and ids[row, j] in seen)
                ]
            for i in own:
                logits = [z[b, k] @ n / tau for n in negatives]
                if not official:
                    logits.append(z[b, k] @ x[b, i] / tau)
                top = max(logits)
                losses.append(np.log(np.sum(np.exp(np.array(logits) - top))) + top - z[b, k] @ x[b, i] / tau)
    return np.sum(losses) / (positives.shape[1] * valid.sum() if official else max(len(losses), 1))


def ours(z, x, positives, valid, ids=None, tau=0.02, **options):
    if ids is not None:
        options["ids"] = tf.constant(ids)
    z, x = (tf.cast(value, tf.float32) for value in (z, x))
    return re_contrast(z, x, tf.constant(positives), tf.constant(valid), temperature=tau, **options)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("official", [True, False])
@pytest.mark.parametrize("num_rolled", [0, 1, 2, 9, None])
def test_it_equals_the_definition(similarity, official, num_rolled):
    *arguments, ids = example(0)
    options = {"similarity": similarity, "official": official, "num_rolled": num_rolled, "tau": 0.3}
    for given_ids in (None, ids):
        expected = reference(*arguments, ids=None if official else given_ids, **options)
        np.testing.assert_allclose(ours(*arguments, ids=given_ids, **options), expected, rtol=2e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([0.02, 1.0]))
def test_invariants(seed, tau):
    z, x, positives, valid, ids = example(seed)
    value = float(ours(z, x, positives, valid, ids, tau=tau, num_rolled=None))
    np.testing.assert_allclose(value, reference(z, x, positives, valid, ids, tau, None), rtol=1e-3, atol=1e-5)
    assert value >= 0
    rng = np.random.default_rng(seed)
    steps, rows, interests = rng.permutation(STEPS), rng.permutation(BATCH), rng.permutation(INTERESTS)
    moved = [
        z[rows][:, interests],
        x[rows][:, steps],
        positives[rows][:, interests][..., steps],
        valid[rows][:, steps],
        ids[rows][:, steps],
    ]
    again = float(ours(*moved, tau=tau, num_rolled=None))
    np.testing.assert_allclose(again, value, rtol=1e-4, atol=1e-5)
    garbage = np.where(valid[..., None], x, 1e3)
    np.testing.assert_allclose(
        ours(z, garbage, positives, valid, ids, tau=tau, num_rolled=None), value, rtol=1e-5
    )


@pytest.mark.parametrize("official", [True, False])
@pytest.mark.parametrize("num_rolled", [1, 3, None])
def test_gradients_equal_finite_differences(official, num_rolled):
    z, x, *rest, ids = example(1)
    options = {"tau": 0.5, "official": official, "num_rolled": num_rolled}
    ids = None if official else ids
    tensors = [f32(z), f32(x)]

    @tf.function(autograph=False)
    def run(z, x):
        with tf.GradientTape() as tape:
            tape.watch([z, x])
            loss = ours(z, x, *rest, ids=ids, **options)
        return tape.gradient(loss, [z, x])

    for got, index in zip(run(*tensors), (0, 1), strict=True):
        expected = np.zeros_like((z, x)[index])
        for place in np.ndindex(*expected.shape):
            ends = []
            for sign in (1, -1):
                moved = [z.copy(), x.copy()]
                moved[index][place] += sign * 1e-6
                ends.append(reference(*moved, *rest, ids=ids, **options))
            expected[place] = (ends[0] - ends[1]) / 2e-6
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("official", [True, False])
def test_padding_changes_nothing(official):
    z, x, positives, valid, ids = example(4)
    steps = [0, 1, 2, 3, 3, 3, 3]
    wide = [x[:, steps], positives[:, :, steps], valid[:, steps], ids[:, steps]]
    for mask in wide[1:3]:
        mask[..., 4:] = False
    for num_rolled in (1, None):
        options = {"official": official, "num_rolled": num_rolled, "tau": 0.3}
        expected = ours(z, x, positives, valid, ids, **options)
        np.testing.assert_allclose(ours(z, *wide, **options), expected, rtol=1e-5)


def test_nothing_to_compare():
    one = example(0, batch=1, interests=1, lengths=np.array([4]))
    z, x, positives, valid, ids = one
    for changed in (np.zeros_like(positives), np.ones_like(positives)):
        tensors = [f32(z), f32(x)]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = ours(*tensors, changed, valid, ids, num_rolled=None)
        assert float(loss) == 0.0
        for gradient in tape.gradient(loss, tensors):
            np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_a_batch_of_one_has_no_rolled_negatives():
    arguments = example(2, batch=1, lengths=np.array([3]))
    assert float(ours(*arguments)) == float(ours(*arguments, num_rolled=0)) > 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_half_precision_stays_finite(dtype, similarity):
    z, x, positives, valid, _ = example(3)
    tensors = [tf.cast(1e3 * unit(z), dtype), tf.cast(1e3 * unit(x), dtype)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = re_contrast(*tensors, tf.constant(positives), tf.constant(valid), similarity=similarity)
    assert loss.dtype == tf.float32 and np.isfinite(loss)
    for gradient in tape.gradient(loss, tensors):
        assert gradient.dtype == dtype
        if similarity == "cosine":  # the gradient of products of 1e6 / 0.02 does not fit into float16
            assert np.all(np.isfinite(tf.cast(gradient, tf.float32)))


@pytest.mark.parametrize("num_rolled", [2, None])
def test_xla_gives_the_same_value_and_gradient(num_rolled):
    z, x, positives, valid, ids = example(4)

    def both(z, x):
        with tf.GradientTape() as tape:
            tape.watch([z, x])
            loss = ours(z, x, positives, valid, ids, num_rolled=num_rolled)
        return [loss, *tape.gradient(loss, [z, x])]

    eager = both(f32(z), f32(x))
    for got, expected in zip(
        tf.function(both, jit_compile=True, autograph=False)(f32(z), f32(x)), eager, strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_bad_arguments_name_what_came():
    with pytest.raises(ValueError, match="temperature=0"):
        ours(*example(0), tau=0)
    with pytest.raises(ValueError, match="unknown similarity"):
        ours(*example(0), similarity="cos")
