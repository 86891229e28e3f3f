"""F1-reweighted, focal, lognormal and distillation losses against their formulas in float64."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import lognorm

from easyssl.losses import DISTILLATION_LOSSES, ziln_predictions
from easyssl.losses.order import order_calibration
from easyssl.losses.pointwise import binary_focal, f1_reweighted
from easyssl.losses.reduction import hardest_mean
from easyssl.losses.weighting import normal_shares, share_of
from easyssl.losses.ziln import ziln

RNG = np.random.default_rng(5)
N = 10
Z = RNG.normal(size=N) * 2
Y = (np.arange(N) % 3 == 0).astype(float)
W = np.where(np.arange(N) % 4 == 0, 0.0, RNG.uniform(0.2, 3.0, size=N))


def f32(x):
    return tf.constant(x, tf.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bce(y, z):
    return -y * np.log(sigmoid(z)) - (1 - y) * np.log(1 - sigmoid(z))


@pytest.mark.parametrize(("square", "smoothing"), [(1.0, 0.0), (2.25, 0.1), (0.9, 0.0)])
def test_f1_reweighted(square, smoothing):
    p, positive = sigmoid(Z), Y == 1
    negative = p.sum() / (square * positive.sum() + (~positive).sum() - (N - p.sum()) + 1e-8)
    assert square >= 1 or 0 < negative < 1 / square
    losses = np.where(positive, 1, negative) * bce(Y * (1 - smoothing) + smoothing / 2, Z)
    got = f1_reweighted(f32(Y), f32(Z), f32(W), f1_beta_square=square, label_smoothing=smoothing)
    np.testing.assert_allclose(got, np.sum(W * losses) / np.count_nonzero(W), rtol=1e-5)


def test_f1_reweighted_stays_bounded_where_its_weight_would_not():
    z = tf.fill([4], -8.0)  # nothing is predicted, and three rows are positive
    loss = f1_reweighted(f32([1, 1, 1, 0]), z, f1_beta_square=0.5)
    np.testing.assert_allclose(loss, (3 * bce(1, -8.0) + 2 * bce(0, -8.0)) / 4, rtol=1e-5)


@pytest.mark.parametrize(
    ("gamma", "alpha", "ratio", "smoothing"),
    [(2.0, None, 1.0, 0.0), (1.5, 0.3, 1.0, 0.2), (2.0, 0.3, 0.5, 0.0)],
)
def test_binary_focal(gamma, alpha, ratio, smoothing):
    right = np.where(Y == 1, sigmoid(Z), 1 - sigmoid(Z))
    weights = W * (1 if alpha is None else np.where(Y == 1, alpha, 1 - alpha))
    values = weights * (1 - right) ** gamma * bce(Y * (1 - smoothing) + smoothing / 2, Z)
    expected = values.sum() / np.count_nonzero(weights)
    if ratio < 1:
        kept = np.sort(values)[::-1][: int(np.rint(N * ratio))]
        expected = kept[kept > 0].mean()
    got = binary_focal(
        f32(Y), f32(Z), f32(W), gamma=gamma, alpha=alpha, ohem_ratio=ratio, label_smoothing=smoothing
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.5, 0.95])
def test_hardest_mean_is_that_of_sorted_values(ratio):
    values = np.array([0.0, 2.0, 2.0, 2.0, 5.0, 1e-40, 3e38, 0.25, 2.0, 7.0], np.float32)
    values[5] = 1e-30
    counts = np.arange(10) != 6
    kept = np.sort(values[counts])[::-1][: int(np.rint(9 * ratio))]
    expected = kept[kept > 0].mean() if (kept > 0).any() else 0.0
    np.testing.assert_allclose(hardest_mean(f32(values), tf.constant(counts), ratio), expected, rtol=1e-5)


AMOUNTS = np.where(RNG.uniform(size=N) < 0.5, 0.0, np.exp(RNG.normal(size=N) * 2 + 1))
OUTPUTS = RNG.normal(size=(N, 3)) * 2


def test_ziln():
    a, mu, s = OUTPUTS.T
    sigma = np.clip(np.log1p(np.exp(s)), np.sqrt(1e-7), 1.5)
    positive = AMOUNTS > 0
    density = lognorm.logpdf(AMOUNTS[positive], sigma[positive], scale=np.exp(mu[positive]))
    expected = (
        2.0 * np.mean(bce(positive.astype(float), a))
        - 0.5 * density.sum() / positive.sum()
        + 0.1 * np.mean(mu**2)
        + 0.2 * np.mean(s**2)
    )
    got = ziln(
        f32(AMOUNTS),
        f32(OUTPUTS),
        mu_regularization=0.1,
        sigma_regularization=0.2,
        max_sigma=1.5,
        classification_weight=2.0,
        regression_weight=0.5,
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5)

    log_amount = np.log(sigmoid(a)) + mu + sigma**2 / 2
    predicted = ziln_predictions(f32(OUTPUTS), max_sigma=1.5, max_log_clip_value=2.0)
    np.testing.assert_allclose(predicted["y"], np.exp(np.minimum(log_amount, 2.0)), rtol=1e-4)
    np.testing.assert_allclose(predicted["probs"], sigmoid(a), rtol=1e-5)
    logs = ziln_predictions(f32(OUTPUTS), max_sigma=1.5, max_log_clip_value=2.0, return_log_pred_value=True)
    np.testing.assert_allclose(logs["y"], log_amount, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("amounts", [[0.0, 0.0], [1e-30, 1e30], []])
def test_ziln_of_extreme_rows_is_finite(amounts):
    z = tf.constant(np.full([len(amounts), 3], 6e4), tf.float16) * tf.constant([1.0, -1.0, -1.0], tf.float16)
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = ziln(f32(amounts), z, mu_regularization=0.0, sigma_regularization=0.0, regression_weight=1e-12)
    assert np.isfinite(loss) and loss.dtype == tf.float32
    assert np.isfinite(tape.gradient(loss, z)).all()


def distilled(kind, labels, predicted, weights=None, **parameters):
    return DISTILLATION_LOSSES[kind].function(f32(labels), f32(predicted), weights, **parameters)


def test_distillation_of_yes_and_no():
    teacher, both = RNG.normal(size=N), {"temperature": 2.0}
    t, p = sigmoid(teacher / 2), sigmoid(Z / 2)
    cross = np.mean(-t * np.log(p) - (1 - t) * np.log(1 - p))
    entropy = np.mean(-t * np.log(t) - (1 - t) * np.log(1 - t))
    for kind, expected in (
        ("BINARY_CROSS_ENTROPY_LOSS", cross),
        ("CROSS_ENTROPY_LOSS", cross),
        ("KL_DIVERGENCE_LOSS", cross - entropy),
    ):
        np.testing.assert_allclose(distilled(kind, teacher, Z, **both), expected, rtol=1e-5)
        of_probabilities = distilled(
            kind, sigmoid(teacher), sigmoid(Z), **both, pred_is_logits=False, label_is_logits=False
        )
        np.testing.assert_allclose(of_probabilities, expected, rtol=1e-4)
    np.testing.assert_allclose(distilled("L2_LOSS", teacher, Z), np.mean((teacher - Z) ** 2), rtol=1e-5)


def test_distillation_of_classes():
    teacher, logits = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 4))
    t, p = (np.exp(x / 3) / np.exp(x / 3).sum(1, keepdims=True) for x in (teacher, logits))
    np.testing.assert_allclose(
        distilled("KL_DIVERGENCE_LOSS", teacher, logits, f32(W), temperature=3.0),
        np.sum(W * np.sum(t * np.log(t / p), axis=1)) / np.count_nonzero(W),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        distilled("CROSS_ENTROPY_LOSS", teacher, logits, temperature=3.0),
        np.mean(-t * np.log(p) - (1 - t) * np.log(1 - p)),
        rtol=1e-4,
    )


def test_order_calibration():
    p, clicks, views = RNG.uniform(size=(3, N))
    expected = sum(np.sum(W * np.maximum(0, p - q)) / np.count_nonzero(W) for q in (clicks, views))
    got = order_calibration(None, f32(p), f32(W), [f32(clicks), f32(views)])
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_drawn_shares():
    keys = [tf.constant([9, i], tf.int64) for i in range(60)]
    drawn = {
        name: np.array([share_of(f"random_{name}", key).numpy() for key in keys])
        for name in ("uniform", "normal", "bernoulli")
    }
    assert set(drawn["bernoulli"]) == {0.0, 0.5, 1.0}
    for values in drawn.values():
        assert len(set(values)) > 2 and 0.35 < values.mean() < 0.65
        assert values.min() >= 0 and values.max() <= 1
    np.testing.assert_allclose(sum(normal_shares(keys[0], 3)), 1.0, rtol=1e-6)
    assert share_of("random_normal", None) == 0.5
    assert [share.numpy() for share in normal_shares(None, 4)] == [0.25] * 4
