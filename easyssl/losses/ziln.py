"""Zero-inflated lognormal: amounts that are mostly 0, and heavy-tailed where they are not."""

from __future__ import annotations

import math

import tensorflow as tf

from easyssl.losses.pointwise import binary
from easyssl.losses.reduction import flat

_MIN_SIGMA = math.sqrt(1e-7)


def ziln(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    mu_regularization: float = 0.01,
    sigma_regularization: float = 0.01,
    max_log_clip_value: float = 20.0,
    max_sigma: float = 5.0,
    return_log_pred_value: bool = False,
    classification_weight: float = 1.0,
    regression_weight: float = 1.0,
) -> tf.Tensor:
    """Negative log-likelihood of amounts, from three outputs `(a, mu, s)` a row.

    An amount y is positive with probability `sigmoid(a)`, and then lognormal with `mu` and
    `sigma = clip(softplus(s), sqrt(1e-7), max_sigma)`:

    `classification_weight * mean(bce(a, [y > 0]))
    - regression_weight * sum_{y > 0} log LogNormal(y; mu, sigma) / (n_+ + 1e-8)
    + mu_regularization * mean(mu^2) + sigma_regularization * mean(s^2)`

    with `n_+` the number of positive amounts. Weights of rows have no effect.

    Args:
        labels: `[batch]`, at least 0.
        logits: `[batch, 3]`.
        weights: Not used. Defaults to None.
        mu_regularization: Penalty on `mu^2`. Defaults to 0.01.
        sigma_regularization: Penalty on `s^2`. Defaults to 0.01.
        max_log_clip_value: Acts on predictions, see `ziln_predictions`. Defaults to 20.0.
        max_sigma: Largest sigma. Defaults to 5.0.
        return_log_pred_value: Acts on predictions. Defaults to False.
        classification_weight: Weight of the first term. Defaults to 1.0.
        regression_weight: Weight of the second term. Defaults to 1.0.

    Returns:
        float32 scalar.

    References:
        Wang et al., "A deep probabilistic model for customer lifetime value prediction", arXiv:1912.07753.
    """
    amounts = flat(labels)
    logits = tf.cast(logits, tf.float32)
    mu, s = logits[:, 1], logits[:, 2]
    positive = amounts > 0.0
    present = tf.cast(positive, tf.float32)
    sigma = _sigma(s, max_sigma)
    log_amounts = tf.math.log(tf.where(positive, amounts, 1.0))
    deviations = (log_amounts - mu) / sigma
    surprise = log_amounts + tf.math.log(sigma) + 0.5 * math.log(2.0 * math.pi) + 0.5 * deviations**2
    value = tf.reduce_sum(tf.where(positive, surprise, 0.0)) / (tf.reduce_sum(present) + 1e-8)
    rows = tf.maximum(tf.cast(tf.shape(amounts)[0], tf.float32), 1.0)
    each = classification_weight * binary(present, logits[:, 0])
    each += mu_regularization * mu**2 + sigma_regularization * s**2
    return tf.reduce_sum(each) / rows + regression_weight * value


def ziln_predictions(
    logits: tf.Tensor,
    *,
    max_log_clip_value: float = 20.0,
    max_sigma: float = 5.0,
    return_log_pred_value: bool = False,
) -> dict[str, tf.Tensor]:
    """Returns what the three outputs of `ziln` predict.

    Args:
        logits: `[batch, 3]`.
        max_log_clip_value: Largest logarithm of the predicted amount. Defaults to 20.0.
        max_sigma: Largest sigma. Defaults to 5.0.
        return_log_pred_value: Whether `y` is the logarithm, which is not clipped. Defaults to False.

    Returns:
        float32: `logits` `[batch, 3]`; `probs` `[batch]`, of a positive amount; `y` `[batch]`, the expected
        amount `exp(log sigmoid(a) + mu + sigma^2 / 2)`.
    """
    logits = tf.cast(logits, tf.float32)
    log_prob = tf.math.log_sigmoid(logits[:, 0])
    log_amount = log_prob + logits[:, 1] + 0.5 * _sigma(logits[:, 2], max_sigma) ** 2
    amount = tf.exp(tf.clip_by_value(log_amount, -100.0, max_log_clip_value))
    return {
        "logits": logits,
        "probs": tf.sigmoid(logits[:, 0]),
        "y": log_amount if return_log_pred_value else amount,
    }


def _sigma(s: tf.Tensor, largest: float) -> tf.Tensor:
    return tf.clip_by_value(tf.nn.softplus(s), _MIN_SIGMA, largest)
