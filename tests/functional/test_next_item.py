"""Losses of next-item models against their definitions in float64."""

import doctest

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional import chunked_softmax, next_item
from easyssl.functional.chunked_softmax import CHUNK_ENTRIES
from easyssl.functional.next_item import (
    binary_cross_entropy,
    full_softmax,
    generalized_binary_cross_entropy,
    positive_power,
    sampled_softmax,
)

TOKENS, ITEMS, DIM, INTERESTS = 7, 11, 4, 3


def f32(x):
    return tf.constant(x, tf.float32)


def example(seed, interests=False):
    rng = np.random.default_rng(seed)
    shape = (TOKENS, INTERESTS, DIM) if interests else (TOKENS, DIM)
    targets = rng.integers(-1, ITEMS, TOKENS)
    weights = rng.integers(0, 3, TOKENS) / 2
    return rng.normal(size=shape), rng.normal(size=(ITEMS, DIM)), targets, weights


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def log_sum_exp(x):
    x = np.asarray(x)
    return x.max() + np.log(np.exp(x - x.max()).sum())


def softplus(x):
    return np.logaddexp(0.0, x)


BIAS = np.linspace(-1.0, 2.0, ITEMS)
LOG_Q = np.log(np.linspace(1.0, 3.0, ITEMS) / np.linspace(1.0, 3.0, ITEMS).sum())
SHARED = np.array([3, 5, 5, -1, 8, 0])
OWN = np.random.default_rng(5).integers(-1, ITEMS, (TOKENS, 3))


def losses_of_a_token(loss, scores, target, own):
    """The definitions, one token at a time."""
    if loss == "full":
        return log_sum_exp(scores) - scores[target]
    if loss == "full with bias":
        return log_sum_exp(scores + BIAS) - scores[target] - BIAS[target]
    negatives = [j for j in (own if "own" in loss else SHARED) if j >= 0 and j != target]
    if "sampled" in loss:
        corrected = scores - (LOG_Q if "log q" in loss else 0.0)
        return log_sum_exp([corrected[j] for j in [target, *negatives]]) - corrected[target]
    negative = sum(softplus(scores[j]) for j in negatives)
    if "binary" in loss:
        return softplus(-scores[target]) + negative
    k = len(own) if "own" in loss else len(SHARED)
    alpha, t = k / (ITEMS - 1), 0.75
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    return (beta * softplus(-scores[target]) + negative) / (k + 1)


def reference(loss, states, items, targets, weights, similarity="dot", tau=1.0):
    x = unit(items) if similarity == "cosine" else items
    total, weight = 0.0, 0.0
    for state, target, own, w in zip(states, targets, OWN[: len(states)], weights, strict=True):
        if target < 0 or w == 0:
            continue
        state = unit(state) if similarity == "cosine" else state
        if state.ndim == 2:
            state = state[np.argmax(state @ x[target])]
        total += w * losses_of_a_token(loss, x @ state / tau, target, own)
        weight += w
    return total / max(weight, 1.0)


LOSSES = {
    "full": lambda s, i, t, **o: full_softmax(s, i, t, **o),
    "full with bias": lambda s, i, t, **o: full_softmax(s, i, t, bias=f32(BIAS), **o),
    "sampled": lambda s, i, t, **o: sampled_softmax(s, i, t, tf.constant(SHARED), **o),
    "sampled with log q": lambda s, i, t, **o: sampled_softmax(
        s, i, t, tf.constant(SHARED), log_probabilities=f32(LOG_Q), **o
    ),
    "binary, shared": lambda s, i, t, **o: binary_cross_entropy(s, i, t, tf.constant(SHARED), **o),
    "binary, own": lambda s, i, t, **o: binary_cross_entropy(s, i, t, tf.constant(OWN), **o),
    "generalized, shared": lambda s, i, t, **o: generalized_binary_cross_entropy(
        s, i, t, tf.constant(SHARED), **o
    ),
    "generalized, own": lambda s, i, t, **o: generalized_binary_cross_entropy(s, i, t, tf.constant(OWN), **o),
}


def value_and_gradients(loss, states, items, targets, **options):
    states, items = f32(states), f32(items)
    with tf.GradientTape() as tape:
        tape.watch([states, items])
        value = LOSSES[loss](states, items, tf.constant(targets), **options)
    gradients = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(value, [states, items])]
    return value.numpy(), gradients


def finite_differences(function, array, step=1e-6):
    found = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        kept = array[place]
        array[place] = kept + step
        above = function()
        array[place] = kept - step
        below = function()
        array[place] = kept
        found[place] = (above - below) / (2 * step)
    return found


@pytest.mark.parametrize("loss", LOSSES)
@settings(deadline=None, max_examples=10)
@given(
    st.integers(0, 2**31),
    st.booleans(),
    st.sampled_from([0.07, 0.5, 1.0]),
    st.sampled_from(["dot", "cosine"]),
)
def test_losses_equal_their_definition(loss, seed, interests, tau, similarity):
    states, items, targets, weights = example(seed, interests)
    options = {"similarity": similarity, "temperature": tau}
    got = LOSSES[loss](f32(states), f32(items), tf.constant(targets), weights=f32(weights), **options)
    expected = reference(loss, states, items, targets, weights, similarity, tau)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("similarity", "interests"), [("dot", False), ("cosine", False), ("cosine", True)])
def test_gradients_equal_finite_differences_of_the_definition(loss, similarity, interests):
    states, items, targets, weights = example(3, interests)
    _, found = value_and_gradients(
        loss, states, items, targets, weights=f32(weights), similarity=similarity, temperature=0.5
    )

    def value():
        return reference(loss, states, items, targets, weights, similarity, 0.5)

    for array, gradient in zip((states, items), found, strict=True):
        np.testing.assert_allclose(gradient, finite_differences(value, array), atol=2e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 100), st.booleans())
def test_chunks_change_nothing(seed, chunk_entries, cosine):
    states, items, targets, weights = example(seed)
    options = {"weights": f32(weights), "similarity": "cosine" if cosine else "dot", "bias": f32(BIAS)}
    whole, gradients = value_and_gradients("full", states, items, targets, **options)
    parts, found = value_and_gradients("full", states, items, targets, chunk_entries=chunk_entries, **options)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    for gradient, expected in zip(found, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("interests", [False, True])
def test_without_a_token_that_counts_everything_is_0(loss, interests):
    states, items, targets, _ = example(0, interests)
    for given_targets, weights in ((np.full(TOKENS, -1), np.ones(TOKENS)), (targets, np.zeros(TOKENS))):
        states[0] = np.nan
        value, gradients = value_and_gradients(loss, states, items, given_targets, weights=f32(weights))
        assert value == 0.0
        for gradient in gradients:
            np.testing.assert_array_equal(gradient, 0.0)
    if "own" not in loss:
        assert LOSSES[loss](f32(states[:0]), f32(items), tf.constant(targets[:0])).numpy() == 0.0


@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_one_item_leaves_nothing_to_learn(loss):
    states, items, _, _ = example(0)
    function = full_softmax if loss == "full" else sampled_softmax
    more = () if loss == "full" else (tf.constant([0, 0]),)
    states, items = f32(states), f32(items[:1])
    with tf.GradientTape() as tape:
        tape.watch([states, items])
        value = function(states, items, tf.zeros([TOKENS], tf.int32), *more)
    assert value.numpy() == 0.0
    for gradient in tape.gradient(value, [states, items]):
        np.testing.assert_array_equal(tf.convert_to_tensor(gradient), 0.0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_huge_vectors_stay_finite(loss, dtype):
    states, items, targets, _ = example(1)
    states = tf.cast(1e3 * unit(states), dtype)
    items = tf.cast(1e3 * unit(items), dtype)
    with tf.GradientTape() as tape:
        tape.watch([states, items])
        value = LOSSES[loss](states, items, tf.constant(targets), temperature=0.02)
    assert value.dtype == tf.float32
    assert np.isfinite(value) and value >= 0.0
    if dtype != "float16":  # whose range 1e3 / 0.02 is beyond
        for gradient in tape.gradient(value, [states, items]):
            assert np.isfinite(tf.cast(tf.convert_to_tensor(gradient), tf.float32)).all()


def test_an_item_can_be_taken_out():
    states, items, targets, _ = example(2)
    targets = np.maximum(targets, 1)
    bias = np.where(np.arange(ITEMS) == 0, -1e30, 0.0)
    value, (by_state, by_item) = value_and_gradients("full", states, items, targets, bias=f32(bias))
    rest, (same, others) = value_and_gradients("full", states, items[1:], targets - 1)
    np.testing.assert_allclose(value, rest, rtol=1e-6)
    np.testing.assert_allclose(by_state, same, atol=1e-6)
    np.testing.assert_allclose(by_item[1:], others, atol=1e-6)
    np.testing.assert_array_equal(by_item[0], 0.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_compiled_with_xla(loss):
    states, items, targets, weights = example(4)

    @tf.function(jit_compile=True, autograph=False)
    def step(states, items, targets, weights):
        with tf.GradientTape() as tape:
            tape.watch([states, items])
            options = {"chunk_entries": 3 * ITEMS} if "full" in loss else {}
            value = LOSSES[loss](states, items, targets, weights=weights, **options)
        return value, [tf.convert_to_tensor(g) for g in tape.gradient(value, [states, items])]

    value, gradients = step(f32(states), f32(items), tf.constant(targets), f32(weights))
    expected, same = value_and_gradients(loss, states, items, targets, weights=f32(weights))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for gradient, other in zip(gradients, same, strict=True):
        np.testing.assert_allclose(gradient, other, atol=1e-6)


def test_shapes_need_not_be_known_beforehand():
    states, items, targets, _ = example(4)
    shapes = [tf.TensorSpec([None, DIM]), tf.TensorSpec([None, DIM]), tf.TensorSpec([None], tf.int64)]
    loss = tf.function(
        lambda s, i, t: full_softmax(s, i, t, chunk_entries=2 * ITEMS),
        input_signature=shapes,
        autograph=False,
    )
    ones = np.ones(TOKENS)
    for n in (TOKENS, 3, 0):
        got = loss(f32(states[:n]), f32(items), tf.constant(targets[:n]))
        np.testing.assert_allclose(
            got, reference("full", states[:n], items, targets[:n], ones[:n]) if n else 0.0, rtol=1e-5
        )


def test_no_matrix_of_all_logits():
    tokens, items, entries = 400, 300, 3000

    def gradients(states, table, targets):
        with tf.GradientTape() as tape:
            tape.watch([states, table])
            value = full_softmax(states, table, targets, chunk_entries=entries)
        return tape.gradient(value, [states, table])

    specs = [tf.TensorSpec([tokens, 2]), tf.TensorSpec([items, 2]), tf.TensorSpec([tokens], tf.int32)]
    graph = tf.function(gradients, autograph=False).get_concrete_function(*specs).graph
    graphs = [graph, *(function.graph for function in graph._functions.values())]
    outputs = [out.shape for g in graphs for op in g.get_operations() for out in op.outputs]
    assert len(graphs) > 1 and all(shape.is_fully_defined() for shape in outputs if shape.rank)
    assert max(shape.num_elements() for shape in outputs if shape.rank) <= entries < tokens * items


def test_generalized_binary_cross_entropy_between_its_limits():
    assert positive_power(256, 3415, 0.0) == 1.0
    assert positive_power(256, 3415, 1.0) == pytest.approx(256 / 3415)
    states, items, targets, _ = example(6)
    args = f32(states), f32(items), tf.constant(targets), tf.constant(OWN)
    plain = binary_cross_entropy(*args).numpy()
    got = generalized_binary_cross_entropy(*args, calibration=0.0).numpy()
    assert got == pytest.approx(plain / 4, rel=1e-6)
    more = generalized_binary_cross_entropy(*args, calibration=1.0, num_negative_items=3).numpy()
    assert more == pytest.approx(plain / 4, rel=1e-6)  # all of the three items are drawn


def test_all_items_as_negatives_make_the_sampled_loss_the_full_one():
    states, items, targets, weights = example(7)
    args, options = (f32(states), f32(items), tf.constant(targets)), {"weights": f32(weights)}
    for log_q in (None, tf.fill([ITEMS], -3.0)):
        got = sampled_softmax(*args, tf.range(ITEMS), log_probabilities=log_q, **options)
        np.testing.assert_allclose(got, full_softmax(*args, **options), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda *a: full_softmax(*a, temperature=0.0), "temperature"),
        (lambda *a: full_softmax(*a, similarity="cosin"), "did you mean 'cosine'"),
        (lambda *a: full_softmax(*a, chunk_entries=0), "chunk_entries"),
        (lambda *a: generalized_binary_cross_entropy(*a, tf.constant([1]), calibration=1.5), "calibration"),
        (lambda *a: generalized_binary_cross_entropy(*a, tf.constant([1]), num_negative_items=0), "items"),
    ],
)
def test_arguments_are_checked(call, message):
    states, items, targets, _ = example(0)
    with pytest.raises(ValueError, match=message):
        call(f32(states), f32(items), tf.constant(targets))


def test_examples_run():
    for module in (next_item, chunked_softmax):
        assert doctest.testmod(module).failed == 0
    assert CHUNK_ENTRIES == 6291456  # as docstrings say
