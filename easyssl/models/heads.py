"""What a ranking model predicts and is trained on, by loss type (config-format: model_config.loss_type)."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from easyssl.losses import supervised_loss
from easyssl.metrics.from_config import VALUE_LOSSES

# Loss type -> key of the loss in logs and metrics.
LOSS_NAMES = {
    "CLASSIFICATION": "cross_entropy_loss",
    "BINARY_CROSS_ENTROPY_LOSS": "cross_entropy_loss",
    "SOFTMAX_CROSS_ENTROPY": "cross_entropy_loss",
    "L2_LOSS": "l2_loss",
    "SIGMOID_L2_LOSS": "sigmoid_l2_loss",
}


def predictions(output: tf.Tensor, loss_type: str, num_class: int) -> dict[str, tf.Tensor]:
    """Turns the model's last tensor into named predictions.

    Args:
        output: `[batch, num_class]`.
        loss_type: A key of `LOSS_NAMES`.
        num_class: Number of outputs; 1 for binary classification and regression.

    Returns:
        Float32 tensors (`y` of a classifier is int64):

        - binary: `logits` and `probs` `[batch]`;
        - several classes: `logits` and `probs` `[batch, num_class]`, `y` `[batch]` (the best class),
          `logits_1` and `probs_1` (class 1), `logits_y` and `probs_y` (the best class) `[batch]`;
        - regression: `y` `[batch]`, through a sigmoid for SIGMOID_L2_LOSS.

    Example:
        >>> sorted(predictions(tf.zeros([2, 1]), "CLASSIFICATION", 1))
        ['logits', 'probs']
    """
    output = tf.cast(output, tf.float32)
    if loss_type in VALUE_LOSSES:
        y = tf.squeeze(output, axis=-1) if num_class == 1 else output
        return {"y": tf.sigmoid(y) if loss_type == "SIGMOID_L2_LOSS" else y}
    if num_class == 1:
        logits = tf.squeeze(output, axis=-1)
        return {"logits": logits, "probs": tf.sigmoid(logits)}
    probs = tf.nn.softmax(output)
    return {
        "logits": output,
        "probs": probs,
        "y": tf.argmax(output, axis=-1),
        "logits_1": output[:, 1],
        "probs_1": probs[:, 1],
        "logits_y": tf.reduce_max(output, axis=-1),
        "probs_y": tf.reduce_max(probs, axis=-1),
    }


def loss(
    loss_type: str,
    label: tf.Tensor,
    predicted: Mapping[str, tf.Tensor],
    sample_weight: tf.Tensor | None,
    num_class: int,
) -> tf.Tensor:
    """Computes a loss from named predictions.

    Args:
        loss_type: A key of `LOSS_NAMES`.
        label: `[batch]`.
        predicted: The result of `predictions`.
        sample_weight: `[batch]`, or None for ones.
        num_class: Number of outputs.

    Returns:
        float32 scalar.
    """
    key = "y" if loss_type in VALUE_LOSSES else "logits"
    return supervised_loss(loss_type)(label, predicted[key], sample_weight, num_class)
