"""Losses of models with intents: interests of a sequence, and clusters of sequences.

Everything is computed in float32 for any input dtype.
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.masking import EXCLUDED, weighted_mean


def predict_intents(
    predicted: tf.Tensor,
    future: tf.Tensor,
    *,
    temperature: float | None = None,
    kept_share: float = 1.0,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """Finds each intent of a row's future among all intents of all futures, by that of its past.

    With intents a_uk of the past of row u and b_uk of its future, the likelihood of a pair is
    `p_uk = exp(a_uk . b_uk / t) / sum_vl exp(a_uk . b_vl / t)`, the sum being over all rows and intents. The
    loss is the mean of `-log p_uk` over the `ceil(kept_share * pairs)` pairs of the largest likelihood: a
    future need not have all intents of the past. Holds `[rows * num_intents, rows * num_intents]` numbers.

    Args:
        predicted: Intents of the past, `[batch, num_intents, dim]`.
        future: Intents of the future, `[batch, num_intents, dim]`.
        temperature: The positive number t. Defaults to None, which is `sqrt(dim)`.
        kept_share: Share of the pairs that count, in (0, 1]. Of equal pairs all count. Defaults to 1.0.
        weights: `[batch]`; a row of weight 0 counts nowhere. Defaults to None.

    Returns:
        float32 scalar, exactly 0 where one intent of one row is all there is.

    Raises:
        ValueError: For a number out of range.

    Example:
        >>> intents = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
        >>> round(float(predict_intents(intents, intents, temperature=1.0)), 6)  # log(e + 1) - 1
        0.313262

    References:
        Ma et al., "Disentangled self-supervision in sequential recommenders", KDD 2020.
    """
    check_intents(temperature, kept_share)
    shape = tf.shape(predicted)
    dim, pairs = predicted.shape[-1], shape[0] * shape[1]
    weights = tf.ones([shape[0]]) if weights is None else tf.cast(weights, tf.float32)
    usable = tf.repeat(weights > 0.0, shape[1])
    # What does not count is 0, whatever is there.
    left, right = (
        tf.where(usable[:, None], tf.cast(tf.reshape(x, [pairs, dim]), tf.float32), 0.0)
        for x in (predicted, future)
    )
    left /= temperature or float(dim) ** 0.5
    scores = tf.where(usable[None, :], tf.matmul(left, right, transpose_b=True), EXCLUDED)
    losses = tf.reduce_logsumexp(scores, axis=1) - tf.reduce_sum(left * right, axis=1)
    confidence = tf.where(usable, -tf.stop_gradient(losses), EXCLUDED)
    count = tf.reduce_sum(tf.cast(usable, tf.float32))
    place = tf.maximum(tf.cast(tf.math.ceil(kept_share * count), tf.int32) - 1, 0)
    threshold = tf.sort(confidence, direction="DESCENDING")[place]
    kept = tf.cast(usable & (confidence >= threshold), tf.float32)
    return weighted_mean(losses, kept * tf.repeat(weights, shape[1]))


def check_intents(temperature: float | None, kept_share: float) -> None:
    """Raises `ValueError` unless the numbers of `predict_intents` are usable.

    Args:
        temperature: A positive number or None.
        kept_share: A number in (0, 1].

    Raises:
        ValueError: With what was received.
    """
    if temperature is not None and not temperature > 0:
        raise ValueError(f"`temperature` must be positive. Received: temperature={temperature}")
    if not 0 < kept_share <= 1:
        raise ValueError(f"`kept_share` must be in (0, 1]. Received: kept_share={kept_share}")
