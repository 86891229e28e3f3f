"""Joint ranking and calibration."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from easyssl.functional.sessions import session_index, session_logsumexp
from easyssl.losses.pointwise import classification
from easyssl.losses.reduction import flat
from easyssl.losses.weighting import uncertain


def jrc(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    sessions: tf.Tensor | None = None,
    log_variances: tf.Tensor | None = None,
    *,
    alpha: float | tf.Tensor = 0.5,
    same_label_loss: bool = True,
    loss_weight_strategy: Literal[
        "fixed", "random_uniform", "random_normal", "random_bernoulli", "uncertainty"
    ] = "fixed",
) -> tf.Tensor:
    """`alpha * CE + (1 - alpha) * GE`: a calibrated probability whose logits rank within sessions.

    CE is the softmax cross entropy of the two classes. GE asks, among the rows of a session, which ones have
    a label: with `l_c` the logits of class c,

    `GE = mean_i(log(sum_j exp(l_c(j))) - l_c(i))` with `c = y_i` and j over the rows of i's session;

    without `same_label_loss`, j is only i itself and the rows of the other label. Weights of rows act on CE
    only. On several devices a session consists of the rows that one device has of it.

    Args:
        labels: `[batch]`, 0 or 1.
        logits: `[batch, 2]`.
        weights: `[batch]`. Defaults to None.
        sessions: int `[batch]`; rows of equal numbers are a session. Defaults to None, which is one session.
        log_variances: Learned `[2]`, for the strategy uncertainty. Defaults to None, which is zeros.
        alpha: Share of CE. Defaults to 0.5.
        same_label_loss: Whether rows of one label compete with each other. Defaults to True.
        loss_weight_strategy: `fixed`; one of `random_uniform`, `random_normal` and `random_bernoulli`, where
            the caller draws alpha in each step (`easyssl.losses.weighting.share_of`); or `uncertainty`:
            `exp(-s) CE + s / 2 + exp(-t) GE + t / 2` with learned s and t. Defaults to "fixed".

    Returns:
        float32 scalar.

    References:
        Sheng et al., "Joint optimization of ranking and calibration with contextualized hybrid model", KDD
        2023.
    """
    logits = tf.cast(logits, tf.float32)
    positive = flat(labels) > 0.5
    cross_entropy = classification(tf.cast(positive, tf.int64), logits, weights, 2)
    index, _ = session_index(tf.zeros_like(positive, tf.int32) if sessions is None else sessions)
    losses = tf.zeros_like(logits[:, 0])
    for c, own in ((0, ~positive), (1, positive)):
        scores = logits[:, c]
        if same_label_loss:
            apart = session_logsumexp(scores, index) - scores
        else:
            apart = tf.nn.softplus(session_logsumexp(scores, index, ~own) - scores)
        losses = tf.where(own, apart, losses)
    rows = tf.maximum(tf.cast(tf.shape(losses)[0], tf.float32), 1.0)
    ranking = tf.reduce_sum(losses) / rows
    if loss_weight_strategy == "uncertainty":
        s, t = tf.unstack(tf.zeros([2]) if log_variances is None else log_variances)
        return uncertain(cross_entropy, s) + uncertain(ranking, t)
    return alpha * cross_entropy + (1.0 - alpha) * ranking
