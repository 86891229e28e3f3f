"""Finding the first tensor that is not finite, after a step went wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.training.labels import place
from easyssl.training.optimizers.rule import UpdateRule
from easyssl.training.pipeline import Batch
from easyssl.training.step import StepResult


def first_bad_tensor(model: keras.Model, rule: UpdateRule, batch: Batch, result: StepResult) -> str:
    """Returns what went wrong first, in the order in which a step computes.

    The step is computed again without graph and update, so that its inner tensors can be looked at. A cause
    that depends on the step's random numbers (dropout, augmentation) may not show up again; then the loss
    that the step itself reported is named.

    Args:
        model: The model, not updated by the failed step.
        rule: The update rule.
        batch: The batch of the failed step.
        result: What the step computed.

    Returns:
        A phrase such as `feature 'price' (a.csv:17)`, `output of block 'bst'`, `loss 'aux_l2_loss'` or
        `gradient of 'backbone/mlp/kernel'`. Gradients may be finite each and too large together; then it is
        their global norm.
    """
    for suspect in _suspects(model, rule, batch, result):
        return suspect
    return "none of the step's tensors when computed again; the cause depends on random numbers"


def _suspects(model: keras.Model, rule: UpdateRule, batch: Batch, result: StepResult) -> Iterator[str]:
    yield from _bad_inputs("feature", batch.features, batch)
    yield from _bad_inputs("label", batch.labels, batch)
    if batch.weights is not None:
        yield from _bad_inputs("sample weight", {"": batch.weights}, batch)
    for variable in model.weights:
        if not _finite(variable):
            yield f"weight '{_plain(variable.name)}'"
    yield from _bad_blocks(model, batch)
    with tf.GradientTape() as tape:
        losses = model.compute_losses(batch.features, batch.labels, batch.weights, training=True)
    for name, value in losses.unweighted.items():
        if not _finite(value) or not _finite(result.unweighted.get(name, 0.0)):
            yield f"loss '{name}'"
    largest, where = -1.0, ""
    for gradient, variable in zip(tape.gradient(losses.total, rule.variables), rule.variables, strict=True):
        values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
        if values is None:
            continue
        if not _finite(values):
            yield f"gradient of '{_plain(variable.name)}'"
        size = float(tf.reduce_max(tf.abs(values)))
        if size > largest:
            largest, where = size, _plain(variable.name)
    if not math.isfinite(result.norm):
        yield f"global norm of the gradients (the largest, {largest:g}, is of '{where}')"


def _bad_inputs(kind: str, tensors: dict[str, tf.Tensor], batch: Batch) -> Iterator[str]:
    for name, tensor in tensors.items():
        if tensor.dtype.is_floating and not _finite(tensor):
            rows = tf.reduce_any(~tf.math.is_finite(tf.reshape(tensor, [tensor.shape[0], -1])), axis=1)
            row = int(tf.argmax(tf.cast(rows, tf.int32)))
            yield f"{kind}{f' {name!r}' if name else ''} ({place(batch.raw, row)})"


def _bad_blocks(model: keras.Model, batch: Batch) -> Iterator[str]:
    backbone, plan = getattr(model, "backbone", None), getattr(model, "plan", None)
    if backbone is None or plan is None:
        return
    names = tuple(block.name for block in plan.main.blocks)
    _, outputs = backbone(batch.features, training=True, return_blocks=names)
    for name in names:
        if not all(_finite(tensor) for tensor in _tensors(outputs.get(name))):
            yield f"output of block '{name}'"


def _tensors(value: Any) -> Iterable[tf.Tensor]:
    return (leaf for leaf in tf.nest.flatten(value) if tf.is_tensor(leaf))


def _finite(value: Any) -> bool:
    tensor = tf.convert_to_tensor(value)
    return not tensor.dtype.is_floating or bool(tf.reduce_all(tf.math.is_finite(tensor)))


def _plain(name: str) -> str:
    return name.split(":")[0]
