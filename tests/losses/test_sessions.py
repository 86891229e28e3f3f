"""Listwise losses and JRC against loops over sessions in float64, written from dense definitions."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.losses.jrc import jrc
from easyssl.losses.listwise import listwise_distill, listwise_rank

RNG = np.random.default_rng(3)
BATCH = 12
Z = RNG.normal(size=BATCH) * 2
TWO = RNG.normal(size=(BATCH, 2)) * 2
CLICKS = RNG.integers(0, 2, size=BATCH).astype(float)
GRADES = RNG.normal(size=BATCH)
RANKS = RNG.integers(0, 900, size=BATCH).astype(float)
W = RNG.uniform(0.2, 3.0, size=BATCH)
SESSIONS = np.array([5, -3, 5, 9, 9, -3, 5, 9, 9, 5, 70, 9])
EACH = [np.flatnonzero(SESSIONS == s) for s in np.unique(SESSIONS)]


def f32(x):
    return tf.constant(x, tf.float32)


def log_softmax(x, axis=-1):
    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))


def rank_oracle(targets_of, scores):
    return np.mean([-np.sum(targets_of(rows) * log_softmax(scores[rows])) for rows in EACH])


def distill_targets(rows, c=512.0):
    gains = np.log(1 + c) - np.log(np.clip(RANKS[rows], 1, c))
    return gains / gains.sum()


def inverse_ranks(rows):
    gains = 1 / np.clip(RANKS[rows], 1, 512)
    return gains / gains.sum()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_listwise(jit_compile):
    @tf.function(jit_compile=jit_compile, autograph=False)
    def run():
        s = tf.constant(SESSIONS)
        return (
            listwise_rank(f32(CLICKS), f32(Z), sessions=s),
            listwise_rank(f32(GRADES), f32(Z[:, None]), None, s, temperature=0.5, label_is_logits=True),
            listwise_rank(
                f32(CLICKS), f32(Z), None, s, f32(-2.0), f32(1.0), temperature=4.0, scale_logits=True
            ),
            listwise_distill(f32(RANKS), f32(Z), None, s, temperature=2.0),
            listwise_distill(f32(RANKS), f32(Z), None, s, label_clip_max_value=20.0),
            listwise_rank(f32(CLICKS), f32(Z), None, s, transform_fn=lambda y: 2 * y),
            listwise_distill(f32(RANKS), f32(Z), None, s, transform_fn=lambda r: 1 / r),
        )

    expected = (
        rank_oracle(lambda rows: CLICKS[rows], Z),
        rank_oracle(lambda rows: np.exp(log_softmax(GRADES[rows] / 0.5)), Z / 0.5),
        rank_oracle(lambda rows: CLICKS[rows], (2.0 * Z + 1.0) / 4.0),
        rank_oracle(distill_targets, Z / 2.0),
        rank_oracle(lambda rows: distill_targets(rows, 20.0), Z),
        rank_oracle(lambda rows: 2 * CLICKS[rows], Z),
        rank_oracle(inverse_ranks, Z),
    )
    np.testing.assert_allclose([value.numpy() for value in run()], expected, rtol=1e-5)


def jrc_oracle(alpha, same_label_loss, weights):
    """From `[batch, batch]` matrices: column j holds the logits of all rows, without other sessions."""
    own = np.stack([1 - CLICKS, CLICKS], axis=1)
    cross = np.mean(weights * -np.sum(own * log_softmax(TWO), axis=1))
    mask = SESSIONS[:, None] == SESSIONS[None, :]
    ranking = np.zeros(BATCH)
    for c in (0, 1):
        matrix = np.where(mask, TWO[:, c][:, None], -1e9)
        if same_label_loss:
            ranking += -np.sum(own[:, c][:, None] * mask * log_softmax(matrix, axis=0), axis=0) / mask.sum(0)
        else:
            matrix = np.where((own[:, c] == 1)[:, None] & ~np.eye(BATCH, dtype=bool), -1e9, matrix)
            ranking += -own[:, c] * np.diag(log_softmax(matrix, axis=0))
    return alpha * cross + (1 - alpha) * ranking.mean()


@pytest.mark.parametrize("same_label_loss", [True, False])
@pytest.mark.parametrize("alpha", [0.5, 0.0, 1.0])
def test_jrc(same_label_loss, alpha):
    got = jrc(
        f32(CLICKS), f32(TWO), f32(W), tf.constant(SESSIONS), alpha=alpha, same_label_loss=same_label_loss
    )
    np.testing.assert_allclose(got, jrc_oracle(alpha, same_label_loss, W), rtol=1e-5)


def test_jrc_with_learned_weights_is_their_formula():
    s, t = 0.3, -0.8
    parts = [jrc(f32(CLICKS), f32(TWO), None, tf.constant(SESSIONS), alpha=a).numpy() for a in (1.0, 0.0)]
    got = jrc(
        f32(CLICKS), f32(TWO), None, tf.constant(SESSIONS), f32([s, t]), loss_weight_strategy="uncertainty"
    )
    np.testing.assert_allclose(got, np.exp(-s) * parts[0] + s / 2 + np.exp(-t) * parts[1] + t / 2, rtol=1e-5)


LOSSES = {
    "rank": lambda y, z, s: listwise_rank(y, z[:, 1], None, s),
    "rank of logits": lambda y, z, s: listwise_rank(1e3 * y, z[:, 1], None, s, label_is_logits=True),
    "distill": lambda y, z, s: listwise_distill(y, z[:, 1], None, s, temperature=0.02),
    "jrc": lambda y, z, s: jrc(y, z, None, s),
    "jrc between labels": lambda y, z, s: jrc(y, z, None, s, same_label_loss=False),
}


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_and_absent_rows_stay_finite(name):
    for logits, sessions in (([[-6e4, 6e4], [6e4, -6e4], [0, 0]], [1, 1, 2]), (np.zeros([0, 2]), [])):
        z = tf.constant(logits, tf.float16)
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = LOSSES[name](f32([1.0, 0.0, 1.0][: len(sessions)]), z, tf.constant(sessions, tf.int64))
        assert loss.dtype == tf.float32 and np.isfinite(loss)
        assert np.isfinite(tape.gradient(loss, z)).all()
    assert loss.numpy() == 0.0


@pytest.mark.parametrize("name", LOSSES)
def test_sessions_do_not_mix(name):
    """What the loss of one session's rows changes by does not depend on the other sessions' scores."""
    y, z, s = f32(CLICKS), tf.Variable(f32(TWO)), tf.constant(SESSIONS)
    gradients = []
    for noise in (0.0, 3.0):
        z.assign(np.where((SESSIONS == 9)[:, None], TWO, TWO + noise * RNG.normal(size=TWO.shape)))
        with tf.GradientTape() as tape:
            loss = LOSSES[name](y, z, s)
        gradients.append(tf.convert_to_tensor(tape.gradient(loss, z)).numpy()[SESSIONS == 9])
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
