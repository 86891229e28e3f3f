"""Losses of pairs against loops over pairs in float64."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.losses import pairwise

RNG = np.random.default_rng(7)
BATCH = 14
Z = RNG.normal(size=BATCH) * 2
Y = RNG.integers(0, 3, size=BATCH).astype(float)
W = np.where(np.arange(BATCH) % 5 == 0, 0.0, RNG.uniform(0.2, 3.0, size=BATCH))
SESSIONS = RNG.integers(0, 4, size=BATCH) * 100 - 100


def softplus(x):
    return np.logaddexp(0.0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def pairs_of(y, sessions):
    return [
        (i, j)
        for i in range(len(y))
        for j in range(len(y))
        if y[i] > y[j] and (sessions is None or sessions[i] == sessions[j])
    ]


def expected(pair_loss, z, y, w, sessions, below=None, ratio=1.0):
    values = []
    for i, j in pairs_of(y, sessions):
        if w[i] != 0 and (below is None or z[i] - z[j] < below):
            values.append(w[i] * pair_loss(i, j))
    values = np.sort(values)[::-1]
    if ratio < 1:
        values = values[: int(np.rint(len(values) * ratio))]
        values = values[values > 0]
    return np.mean(values) if len(values) else 0.0


def logistic(i, j, m=0.0, t=1.0):
    return softplus(m - (Z[i] - Z[j]) / t)


def focal(i, j, gamma=2.0, alpha=1.0, t=1.0):
    d = (Z[i] - Z[j]) / t
    return (1 - sigmoid(d)) ** gamma * alpha * softplus(-d)


def exponential(i, j, t):
    d, m = sigmoid(Z[i] / t) - sigmoid(Z[j] / t), sigmoid(Y[i] / t) - sigmoid(Y[j] / t)
    return max(0.0, np.exp(m - d) - 1)


CASES = {
    "pairwise": (pairwise.pairwise, {}, logistic, {}),
    "margin": (
        pairwise.pairwise,
        {"margin": 0.5, "temperature": 2.0},
        lambda i, j: logistic(i, j, 0.5, 2.0),
        {},
    ),
    "logistic": (
        pairwise.pairwise_logistic,
        {"hinge_margin": 0.7, "temperature": 0.5},
        lambda i, j: logistic(i, j, 0.7, 0.5),
        {},
    ),
    "label margin": (
        pairwise.pairwise_logistic,
        {"use_label_margin": True, "hinge_margin": 9.0, "temperature": 2.0, "ohem_ratio": 0.4},
        lambda i, j: logistic(i, j, (Y[i] - Y[j]) / 2.0, 2.0),
        {"ratio": 0.4},
    ),
    "focal": (pairwise.pairwise_focal, {}, focal, {}),
    "focal below a margin": (
        pairwise.pairwise_focal,
        {"gamma": 1.5, "alpha": 0.3, "hinge_margin": 1.0},
        lambda i, j: focal(i, j, 1.5, 0.3),
        {"below": 1.0},
    ),
    "hard focal": (pairwise.pairwise_focal, {"ohem_ratio": 0.3}, focal, {"ratio": 0.3}),
    "hinge": (
        pairwise.pairwise_hinge,
        {"temperature": 2.0},
        lambda i, j: max(0.0, (Y[i] - Y[j] - Z[i] + Z[j]) / 2.0),
        {},
    ),
    "hinge of a margin": (
        pairwise.pairwise_hinge,
        {"use_label_margin": False, "margin": 2.0, "label_is_logits": False, "ohem_ratio": 0.9},
        lambda i, j: max(0.0, 2.0 - Z[i] + Z[j]),
        {"ratio": 0.9},
    ),
    "exponential hinge": (
        pairwise.pairwise_hinge,
        {"use_exponent": True, "temperature": 2.0},
        lambda i, j: exponential(i, j, 2.0),
        {},
    ),
}


def f32(x):
    return None if x is None else tf.constant(x, tf.float32)


@pytest.mark.parametrize("case", CASES)
def test_values(case):
    function, parameters, pair_loss, rules = CASES[case]
    for weights, sessions in ((None, None), (W, None), (W, SESSIONS)):
        got = function(
            tf.constant(Y),
            f32(Z[:, None]),
            f32(weights),
            sessions if sessions is None else tf.constant(sessions),
            **parameters,
        )
        w = np.ones(BATCH) if weights is None else weights
        np.testing.assert_allclose(got, expected(pair_loss, Z, Y, w, sessions, **rules), rtol=2e-5)
        assert got.dtype == tf.float32


@pytest.mark.parametrize("case", CASES)
def test_gradients_follow_the_oracle(case):
    function, parameters, pair_loss, rules = CASES[case]
    z = tf.constant(Z, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = function(f32(Y), z, f32(W), tf.constant(SESSIONS), **parameters)
    gradient = tape.gradient(loss, z).numpy()
    numeric, step = np.zeros(BATCH), 1e-5
    for k in range(BATCH):
        around = []
        for sign in (1, -1):
            Z[k] += sign * step
            around.append(expected(pair_loss, Z, Y, W, SESSIONS, **rules))
            Z[k] -= sign * step
        numeric[k] = (around[0] - around[1]) / (2 * step)
    np.testing.assert_allclose(gradient, numeric, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_chunks_and_xla_change_nothing(jit_compile):
    def run(z, entries):
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = 3.0 * pairwise._mean(
                lambda d, m: tf.nn.softplus(m - d),
                z,
                f32(Y),
                f32(W),
                tf.constant(SESSIONS),
                chunk_entries=entries,
            )
        return loss, tape.gradient(loss, z)

    whole = run(f32(Z), 10**6)
    in_chunks = tf.function(lambda z: run(z, 3 * BATCH), jit_compile=jit_compile, autograph=False)(f32(Z))
    for got, value in zip(in_chunks, whole, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-7)


FUNCTIONS = (
    pairwise.pairwise,
    pairwise.pairwise_logistic,
    pairwise.pairwise_focal,
    pairwise.pairwise_hinge,
)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("labels", "weights", "sessions"),
    [
        ([], None, None),
        ([1.0], None, None),
        ([1.0, 1.0], None, None),
        ([1.0, 0.0], None, [1, 2]),
        ([1.0, 0.0], [0.0, 1.0], None),
    ],
)
@pytest.mark.parametrize("parameters", [{}, {"ohem_ratio": 0.5}])
def test_no_pair_gives_exactly_0(function, labels, weights, sessions, parameters):
    if parameters and function is pairwise.pairwise:
        return
    z = tf.ones([len(labels)])
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = function(
            f32(labels), z, f32(weights), None if sessions is None else tf.constant(sessions), **parameters
        )
    assert loss.numpy() == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, z), np.zeros(len(labels)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_extreme_half_precision_scores_stay_finite(function):
    z = tf.constant([-6e4, 6e4, 0.0], tf.float16)
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = function(f32([1, 0, 2]), z, temperature=0.02)
    assert loss.dtype == tf.float32 and np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, z)).all()


@settings(max_examples=12, deadline=None)
@given(
    order=st.permutations(range(6)),
    shift=st.floats(-5, 5),
    labels=st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=6, max_size=6),
)
def test_order_of_rows_and_a_shift_of_all_scores_do_not_matter(order, shift, labels):
    order = np.array(order)
    y, z, s = np.array(labels), Z[:6], SESSIONS[:6]
    first = pairwise.pairwise(f32(y), f32(z), sessions=tf.constant(s))
    moved = pairwise.pairwise(f32(y[order]), f32(z[order] + shift), sessions=tf.constant(s[order] * 2 + 1))
    np.testing.assert_allclose(moved, first, rtol=1e-4, atol=1e-6)
    assert first >= 0
