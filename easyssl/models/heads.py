"""What a model predicts from its last tensor, and a loss from named predictions, by loss type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from easyssl.losses import DISTILLATION_LOSSES, RANKING, SUPERVISED_LOSSES, ziln_predictions
from easyssl.metrics.from_config import VALUE_LOSSES
from easyssl.models.tasks import Task
from easyssl.models.terms import LossTerm

_OF_ZILN = ("max_log_clip_value", "max_sigma", "return_log_pred_value")


def predictions(output: tf.Tensor, task: Task) -> dict[str, tf.Tensor]:
    """Turns the model's last tensor into named predictions.

    Args:
        output: `[batch, num_class]`.
        task: What is predicted; the names get its suffix.

    Returns:
        Float32 tensors (`y` of a classifier is int64):

        - binary, and losses of pairs and sessions: `logits` and `probs` `[batch]`;
        - several classes: `logits` and `probs` `[batch, num_class]`, `y` `[batch]` (the best class),
          `logits_1` and `probs_1` (class 1), `logits_y` and `probs_y` (the best class) `[batch]`;
        - regression: `y` `[batch]`, through a sigmoid for SIGMOID_L2_LOSS; with a loss of pairs or sessions
          on the same output also `logits` and `probs`;
        - JRC_LOSS: `logits` `[batch, 2]`, `pos_logits` and `probs` `[batch]`, both of class 1;
        - ZILN_LOSS: `logits` `[batch, 3]`, `probs` and `y` `[batch]`, see `losses.ziln_predictions`.

    Example:
        >>> task = Task("clk", 1, (LossTerm("CLASSIFICATION", 1.0, "cross_entropy_loss"),), suffix="_ctr")
        >>> sorted(predictions(tf.zeros([2, 1]), task))
        ['logits_ctr', 'probs_ctr']
    """
    output = tf.cast(output, tf.float32)
    return {name + task.suffix: value for name, value in _named(output, task).items()}


def _named(output: tf.Tensor, task: Task) -> dict[str, tf.Tensor]:
    kinds = [term.loss_type for term in task.losses]
    if "ZILN_LOSS" in kinds:
        parameters = task.losses[kinds.index("ZILN_LOSS")].parameters
        return ziln_predictions(output, **{k: v for k, v in parameters.items() if k in _OF_ZILN})
    if "JRC_LOSS" in kinds:
        probs = tf.nn.softmax(output)[:, 1]
        return {"logits": output, "pos_logits": output[:, 1], "probs": probs}
    found = {}
    values = [kind for kind in kinds if kind in VALUE_LOSSES]
    if values:
        y = tf.squeeze(output, axis=-1) if task.num_class == 1 else output
        found["y"] = tf.sigmoid(y) if values[0] == "SIGMOID_L2_LOSS" else y
        if not RANKING & set(kinds):
            return found
    if task.num_class == 1:
        logits = tf.squeeze(output, axis=-1)
        return {"logits": logits, "probs": tf.sigmoid(logits), **found}
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
    term: LossTerm,
    labels: Mapping[str, tf.Tensor],
    predicted: Mapping[str, tf.Tensor],
    sample_weight: tf.Tensor | None = None,
    **learned: Any,
) -> tf.Tensor:
    """Computes the unweighted loss of a term.

    Args:
        term: The term.
        labels: Labels and loss columns by key, `[batch]`.
        predicted: Predictions by name.
        sample_weight: `[batch]`. Defaults to None, which means ones.
        **learned: What the loss learns or draws, see `easyssl.models.objective.Objective`.

    Returns:
        float32 scalar.
    """
    kind = (DISTILLATION_LOSSES if term.distills else SUPERVISED_LOSSES)[term.loss_type]
    arguments = {**term.parameters, **learned}
    if term.session is not None:
        arguments["sessions"] = labels[term.session.key]
    if term.others:
        arguments["others"] = [predicted[name] for name in term.others]
    if kind.num_class[1] is None:
        arguments["num_class"] = term.num_class
    weights = term.row_weights(labels, sample_weight)
    return kind.function(labels[term.label], predicted[term.prediction], weights, **arguments)
