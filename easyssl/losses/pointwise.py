"""Losses of single rows.

Each takes `(labels, predicted, weights)` and returns a float32 scalar; everything is computed in float32.
`predicted` are logits for a classification and values for a regression.
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.losses.reduction import flat, mean_of_nonzero


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


def binary(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the binary cross entropy of each row, `[batch]`."""
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=flat(labels), logits=flat(logits))
