"""The losses of `loss_type`, as functions of labels and what a model predicts.

Each takes `(labels, predicted, weights, num_class)` and returns a float32 scalar; everything is computed in
float32. `predicted` are logits for a classification and values for a regression.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from easyssl.errors import nearest

Loss = Callable[..., tf.Tensor]


def mean_of_nonzero(losses: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Returns `sum(w * l) / count(w != 0)`, the weighted mean that configs of this format mean.

    Doubling all weights doubles the loss, unlike with a division by the sum of weights.

    Args:
        losses: `[batch]`.
        weights: `[batch]`, or `None` for ones.

    Returns:
        float32 scalar; 0 if no weight differs from 0.

    Example:
        >>> float(mean_of_nonzero(tf.constant([1.0, 3.0, 5.0]), tf.constant([2.0, 1.0, 0.0])))
        2.5
    """
    losses = tf.cast(losses, tf.float32)
    weights = tf.ones_like(losses) if weights is None else tf.cast(tf.reshape(weights, [-1]), tf.float32)
    counts = weights != 0.0
    total = tf.reduce_sum(tf.where(counts, losses, 0.0) * weights)
    return total / tf.maximum(tf.reduce_sum(tf.cast(counts, tf.float32)), 1.0)


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
        return mean_of_nonzero(_binary(labels, logits), weights)
    labels = tf.cast(tf.reshape(labels, [-1]), tf.int64)
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return mean_of_nonzero(losses, weights)


def binary_cross_entropy(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, num_class: int = 1
) -> tf.Tensor:
    """Plain mean of the binary cross entropy; sample weights have no effect on it, by definition.

    Args:
        labels: `[batch]`, 0 or 1 or a share.
        logits: `[batch]` or `[batch, 1]`.
        weights: Not used. Defaults to None.
        num_class: Must be 1. Defaults to 1.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For more than one class.
    """
    _require_one_class("BINARY_CROSS_ENTROPY_LOSS", num_class)
    return mean_of_nonzero(_binary(labels, logits), None)


def l2(
    labels: tf.Tensor, values: tf.Tensor, weights: tf.Tensor | None = None, num_class: int = 1
) -> tf.Tensor:
    """Mean squared error of the predicted values.

    Args:
        labels: `[batch]`.
        values: `[batch]` or `[batch, 1]`; for SIGMOID_L2_LOSS they have passed the sigmoid.
        weights: `[batch]`. Defaults to None.
        num_class: Must be 1. Defaults to 1.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For more than one class.
    """
    _require_one_class("L2_LOSS", num_class)
    return mean_of_nonzero(tf.square(_flat(labels) - _flat(values)), weights)


SUPERVISED_LOSSES: dict[str, Loss] = {
    "CLASSIFICATION": classification,
    "SOFTMAX_CROSS_ENTROPY": classification,
    "BINARY_CROSS_ENTROPY_LOSS": binary_cross_entropy,
    "L2_LOSS": l2,
    "SIGMOID_L2_LOSS": l2,
}

UNWEIGHTED_LOSSES = ("BINARY_CROSS_ENTROPY_LOSS",)
"""Those that sample weights have no effect on."""


def supervised_loss(name: str) -> Loss:
    """Returns the function of a `loss_type`.

    Args:
        name: Its name in configs.

    Returns:
        A function of `(labels, predicted, weights=None, num_class=1)`.

    Raises:
        ValueError: For a name that is not here.

    Example:
        >>> supervised_loss("L2_LOSS") is l2
        True
    """
    if name not in SUPERVISED_LOSSES:
        raise ValueError(f"no supervised loss is called '{name}'{nearest(name, SUPERVISED_LOSSES)}")
    return SUPERVISED_LOSSES[name]


def _flat(x: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(x, tf.float32), [-1])


def _binary(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=_flat(labels), logits=_flat(logits))


def _require_one_class(name: str, num_class: int) -> None:
    if num_class != 1:
        raise ValueError(f"{name} needs num_class = 1. Received: num_class={num_class}")
