"""Losses that pull a prediction towards that of a teacher, which a label column holds.

Predictions and labels are logits or probabilities; `[batch]` for yes and no, `[batch, num_class]` for several
classes. Probabilities become logits, between those of 1e-7 and 1 - 1e-7, and the temperature divides both.
Each loss is averaged over the rows whose weight is not 0.
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.losses.reduction import mean_of_nonzero

_SMALL = 1e-7


def distilled_binary_cross_entropy(
    labels: tf.Tensor,
    predicted: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    pred_is_logits: bool = True,
    label_is_logits: bool = True,
    temperature: float = 1.0,
) -> tf.Tensor:
    """Binary cross entropy of `sigmoid(z / temperature)` against `sigmoid(label / temperature)`.

    Args:
        labels: What the teacher predicted.
        predicted: What the model predicts.
        weights: `[batch]`. Defaults to None.
        pred_is_logits: Whether the prediction is a logit. Defaults to True.
        label_is_logits: Whether the label is a logit. Defaults to True.
        temperature: Divides both logits. Defaults to 1.0.

    Returns:
        float32 scalar.
    """
    teacher, student = _both(labels, predicted, pred_is_logits, label_is_logits, temperature)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.sigmoid(teacher), logits=student)
    return mean_of_nonzero(_per_row(losses), weights)


def distilled_cross_entropy(
    labels: tf.Tensor,
    predicted: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    pred_is_logits: bool = True,
    label_is_logits: bool = True,
    temperature: float = 1.0,
) -> tf.Tensor:
    """`-t log p - (1 - t) log(1 - p)` of the probabilities of teacher and model, for each class.

    Probabilities are a sigmoid, or with several classes a softmax, of the logits over the temperature.

    Args:
        labels: What the teacher predicted.
        predicted: What the model predicts.
        weights: `[batch]`. Defaults to None.
        pred_is_logits: Whether the prediction is a logit. Defaults to True.
        label_is_logits: Whether the label is a logit. Defaults to True.
        temperature: Divides both logits. Defaults to 1.0.

    Returns:
        float32 scalar.
    """
    teacher, student = _both(labels, predicted, pred_is_logits, label_is_logits, temperature)
    (t, _, _), (_, log_p, log_not_p) = _probabilities(teacher), _probabilities(student)
    return mean_of_nonzero(_per_row(-t * log_p - (1.0 - t) * log_not_p), weights)


def distilled_kl_divergence(
    labels: tf.Tensor,
    predicted: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    pred_is_logits: bool = True,
    label_is_logits: bool = True,
    temperature: float = 1.0,
) -> tf.Tensor:
    """Divergence from the teacher's distribution t to the model's p, `sum_c t_c log(t_c / p_c)`.

    With one output the classes are yes and no.

    Args:
        labels: What the teacher predicted.
        predicted: What the model predicts.
        weights: `[batch]`. Defaults to None.
        pred_is_logits: Whether the prediction is a logit. Defaults to True.
        label_is_logits: Whether the label is a logit. Defaults to True.
        temperature: Divides both logits. Defaults to 1.0.

    Returns:
        float32 scalar, not negative.
    """
    teacher, student = _both(labels, predicted, pred_is_logits, label_is_logits, temperature)
    t, log_t, log_not_t = _probabilities(teacher)
    _, log_p, log_not_p = _probabilities(student)
    losses = t * (log_t - log_p)
    if _wide(student):
        return mean_of_nonzero(tf.reduce_sum(losses, axis=-1), weights)
    return mean_of_nonzero(_per_row(losses + (1.0 - t) * (log_not_t - log_not_p)), weights)


def distilled_l2(labels: tf.Tensor, predicted: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Squared error of what the model predicts against what the teacher predicted, as they are.

    Args:
        labels: What the teacher predicted.
        predicted: What the model predicts.
        weights: `[batch]`. Defaults to None.

    Returns:
        float32 scalar.
    """
    teacher, student = tf.cast(labels, tf.float32), tf.cast(predicted, tf.float32)
    return mean_of_nonzero(_per_row(tf.square(tf.reshape(teacher, tf.shape(student)) - student)), weights)


def _both(
    labels: tf.Tensor,
    predicted: tf.Tensor,
    pred_is_logits: bool,
    label_is_logits: bool,
    temperature: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the logits of teacher and model over the temperature, of one shape."""
    student = _logits(predicted, pred_is_logits)
    teacher = tf.stop_gradient(_logits(tf.reshape(labels, tf.shape(predicted)), label_is_logits))
    return teacher / temperature, student / temperature


def _logits(values: tf.Tensor, is_logits: bool) -> tf.Tensor:
    values = tf.cast(values, tf.float32)
    if is_logits:
        return values
    values = tf.clip_by_value(values, _SMALL, 1.0 - _SMALL)
    if _wide(values):
        return tf.math.log(values)
    return tf.math.log(values) - tf.math.log1p(-values)


def _probabilities(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns p, log p and log(1 - p)."""
    if _wide(logits):
        p = tf.nn.softmax(logits)
        return p, tf.nn.log_softmax(logits), tf.math.log1p(-tf.minimum(p, 1.0 - _SMALL))
    return tf.sigmoid(logits), tf.math.log_sigmoid(logits), tf.math.log_sigmoid(-logits)


def _wide(values: tf.Tensor) -> bool:
    return values.shape.rank == 2 and values.shape[-1] != 1


def _per_row(losses: tf.Tensor) -> tf.Tensor:
    """Averages over classes, if there are any: `[batch]`."""
    return tf.reduce_mean(losses, axis=-1) if losses.shape.rank == 2 else losses
