"""Losses of single rows.

Each takes `(labels, predicted, weights)` and returns a float32 scalar; everything is computed in float32.
`predicted` are logits for a classification and values for a regression.
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.losses.reduction import flat, hardest_mean, mean_of_nonzero, smoothed


def classification(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, num_class: int = 1
) -> tf.Tensor:
    """Cross entropy: binary for one class, softmax over integer labels for several.

    Args:
        labels: `[batch]`; 0 or 1 (or a share) for one class, 0 .. num_class - 1 for several.
        logits: `[batch]` or `[batch, 1]` for one class, `[batch, num_class]` for several.
        weights: `[batch]`. Defaults to None.
        num_class: Number of classes. Defaults to 1.

    Returns:
        float32 scalar.

    Example:
        >>> round(float(classification(tf.constant([1.0]), tf.constant([0.0]))), 6)  # log(2)
        0.693147
    """
    if num_class == 1:
        return mean_of_nonzero(binary(labels, logits), weights)
    labels = tf.cast(tf.reshape(labels, [-1]), tf.int64)
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return mean_of_nonzero(losses, weights)


def binary_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Plain mean of the binary cross entropy; sample weights have no effect on it, by definition.

    Args:
        labels: `[batch]`, 0 or 1 or a share.
        logits: `[batch]` or `[batch, 1]`.
        weights: Not used. Defaults to None.

    Returns:
        float32 scalar.
    """
    return mean_of_nonzero(binary(labels, logits), None)


def l2(labels: tf.Tensor, values: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Mean squared error of the predicted values.

    Args:
        labels: `[batch]`.
        values: `[batch]` or `[batch, 1]`; for SIGMOID_L2_LOSS they have passed the sigmoid.
        weights: `[batch]`. Defaults to None.

    Returns:
        float32 scalar.
    """
    return mean_of_nonzero(tf.square(flat(labels) - flat(values)), weights)


def f1_reweighted(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    f1_beta_square: float = 1.0,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Binary cross entropy whose negatives are weighted towards a high F-beta.

    With `p = sigmoid(z)`, n rows, `n_+` positives and `n_-` negatives in the batch, a positive weighs 1 and
    a negative `sum(p) / (b n_+ + n_- - (n - sum(p)) + 1e-8)`, where b is `f1_beta_square`: 1 for b = 1, and
    less the larger b is, which favours recall. With b below 1 that can grow without bound; it is kept below
    `1 / b`. No gradient flows through these weights. Each device sees its own rows of the batch.

    Args:
        labels: `[batch]`, 0 or 1.
        logits: `[batch]` or `[batch, 1]`.
        weights: `[batch]`, which multiply. Defaults to None.
        f1_beta_square: Square of beta. Defaults to 1.0.
        label_smoothing: Share e of the label that is spread evenly, `y (1 - e) + e / 2`. Defaults to 0.0.

    Returns:
        float32 scalar.

    References:
        Puthiya Parambath et al., "Optimizing F-measures by cost-sensitive classification", NIPS 2014.
    """
    positive = flat(labels) > 0.5
    predicted = tf.reduce_sum(tf.sigmoid(flat(logits)))
    found = tf.reduce_sum(tf.cast(positive, tf.float32))
    # n_- - n = -n_+
    negative = predicted / ((f1_beta_square - 1.0) * found + predicted + 1e-8)
    if f1_beta_square < 1.0:
        limit = 1.0 / f1_beta_square
        negative = tf.where((negative < 0.0) | (negative > limit), limit, negative)
    factors = tf.where(positive, 1.0, tf.stop_gradient(negative))
    return mean_of_nonzero(factors * binary(smoothed(labels, label_smoothing), logits), weights)


def binary_focal(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    ohem_ratio: float = 1.0,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Binary cross entropy that puts weight on rows which are predicted badly.

    `(1 - p_t)^gamma * [alpha or 1 - alpha] * w * bce`, averaged over the rows whose weight is not 0; `p_t` is
    the probability of the row's own class, within `[1e-7, 1 - 1e-7]`. Gradients flow through it.

    Args:
        labels: `[batch]`, 0 or 1.
        logits: `[batch]` or `[batch, 1]`.
        weights: `[batch]`. Defaults to None.
        gamma: How strongly rows that are predicted well lose weight. Defaults to 2.0.
        alpha: Weight of positives; negatives have `1 - alpha`. Defaults to None, which is 1 for all.
        ohem_ratio: Share of the rows, those of the highest losses, that count; the mean is then over the
            positive losses among them. Defaults to 1.0.
        label_smoothing: Share e of the label in the cross entropy that is spread evenly. Defaults to 0.0.

    Returns:
        float32 scalar.

    References:
        Lin et al., "Focal loss for dense object detection", ICCV 2017.
    """
    positive = flat(labels) > 0.5
    logits = flat(logits)
    missed = tf.clip_by_value(tf.sigmoid(tf.where(positive, -logits, logits)), 1e-7, 1.0 - 1e-7)
    losses = missed**gamma * binary(smoothed(labels, label_smoothing), logits)
    weights = tf.ones_like(losses) if weights is None else flat(weights)
    if alpha is not None:
        weights = weights * tf.where(positive, alpha, 1.0 - alpha)
    if ohem_ratio < 1.0:
        counts = weights != 0.0
        return hardest_mean(tf.where(counts, losses, 0.0) * weights, tf.ones_like(counts), ohem_ratio)
    return mean_of_nonzero(losses, weights)


def binary(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the binary cross entropy of each row, `[batch]`."""
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=flat(labels), logits=flat(logits))
