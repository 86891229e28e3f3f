"""One training step: forward, backward, the check that everything is finite, the update."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.training.loss_scale import LossScale
from easyssl.training.optimizers.rule import Gradient, UpdateRule, scaled
from easyssl.training.pipeline import Batch
from easyssl.training.row_errors import naming_rows

# `features` and `labels` by name, and `weights` if there are any; for one of several devices also a `factor`
# of the loss.
Inputs = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What a step computed.

    Attributes:
        finite: Whether inputs, loss and gradients were finite. If not, nothing was updated.
        overflow: Whether only the scaled float16 gradients overflowed. Nothing was updated then, but the next
            step has a smaller scale.
        norm: Global norm of the gradients before clipping.
        loss: Total loss.
        unweighted: Loss terms by name.
        weighted: The same times their weight.
        metrics: What layers reported, by name.
    """

    finite: bool
    overflow: bool
    norm: float
    loss: float
    unweighted: Mapping[str, float]
    weighted: Mapping[str, float]
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


class TrainStep:
    """Trains a model by one batch at a time.

    Args:
        model: A model with `compute_losses`.
        rule: What happens with the gradients.
        signature: Type and open shape of each feature, so that batches of other sizes and lengths do not
            build new graphs.
        loss_scale: For float16, otherwise None.
        jit_compile: Whether the forward and backward pass are compiled by XLA. The update is not: the rows of
            tables that a batch touches differ in number from batch to batch.
    """

    def __init__(
        self,
        model: keras.Model,
        rule: UpdateRule,
        signature: Mapping[str, tf.TensorSpec],
        loss_scale: LossScale | None = None,
        jit_compile: bool = False,
    ) -> None:
        self.model = model
        self.rule = rule
        self.loss_scale = loss_scale
        self._signature = signature
        self._jit_compile = jit_compile
        self._names: tuple[str, ...] = ()
        self._metric_names: tuple[str, ...] = ()
        self._compiled: Any = None

    def __call__(self, batch: Batch) -> StepResult:
        """Trains by one batch, unless something in it is not finite."""
        if self._compiled is None:
            self._compiled = self.compiled(batch)
        with naming_rows(batch.raw):
            numbers = self._compiled(inputs_of(batch)).numpy().tolist()
        return self._result(numbers)

    def compiled(self, batch: Batch) -> Any:
        """Returns the step as a `tf.function` of `inputs_of(batch)`, for batches of any size.

        Args:
            batch: Any batch; only types and shapes matter.
        """
        # XLA compiles a function of its own; without it one graph is optimised once.
        self._gradients: Callable[[Inputs], Any] = self._loss_and_gradients
        if self._jit_compile:
            self._gradients = graph_function(self._loss_and_gradients, jit_compile=True)
        return graph_function(self._step, open_inputs(batch, self._signature))

    def _result(self, numbers: list[float]) -> StepResult:
        """Gives names to the numbers that a step computed."""
        finite, overflow, norm, loss = numbers[:4]
        terms = numbers[4:]
        count = len(self._names)
        return StepResult(
            finite=bool(finite),
            overflow=bool(overflow),
            norm=norm,
            loss=loss,
            unweighted=dict(zip(self._names, terms[:count], strict=True)),
            weighted=dict(zip(self._names, terms[count : 2 * count], strict=True)),
            metrics=dict(zip(self._metric_names, terms[2 * count :], strict=True)),
        )

    def _step(self, inputs: Any) -> tf.Tensor:
        losses, gradients = self._gradients(inputs)
        if self.loss_scale is not None:
            gradients = [scaled(gradient, 1 / self.loss_scale.factor) for gradient in gradients]
        gradients, norm = self.rule.prepare(gradients)
        loss_finite = tf.math.is_finite(losses["total"])
        for tensor in tf.nest.flatten(inputs):
            if tensor.dtype.is_floating:
                loss_finite &= tf.reduce_all(tf.math.is_finite(tensor))
        finite = loss_finite & tf.math.is_finite(norm)
        tf.cond(finite, lambda: done(self.rule.apply, gradients, norm), lambda: tf.constant(False))
        overflow = tf.constant(False)
        if self.loss_scale is not None:
            overflow = loss_finite & ~finite & (self.loss_scale.factor > 1.0)
            self.loss_scale.update(finite)
        flags = [tf.cast(finite | overflow, tf.float32), tf.cast(overflow, tf.float32)]
        terms = [value for kind in ("unweighted", "weighted", "metrics") for value in losses[kind].values()]
        return tf.stack([*flags, norm, losses["total"], *(tf.cast(term, tf.float32) for term in terms)])

    def _loss_and_gradients(self, inputs: Inputs) -> tuple[dict[str, Any], Sequence[Gradient]]:
        return self._differentiated(inputs, self.rule.variables)

    def _differentiated(
        self, inputs: Inputs, variables: Sequence[tf.Variable]
    ) -> tuple[dict[str, Any], Sequence[Gradient]]:
        with tf.GradientTape() as tape:
            losses = self.model.compute_losses(
                inputs["features"], inputs["labels"], inputs.get("weights"), training=True
            )
            target = losses.total
            if "factor" in inputs:
                target = target * inputs["factor"]
            elif self.loss_scale is not None:
                target = target * self.loss_scale.factor
        self._names, self._metric_names = tuple(losses.unweighted), tuple(losses.metrics)
        found = {
            "total": losses.total,
            "unweighted": {name: losses.unweighted[name] for name in self._names},
            "weighted": {name: losses.weighted[name] for name in self._names},
            "metrics": dict(losses.metrics),
        }
        return found, tape.gradient(target, variables)


def done(act: Any, *arguments: Any) -> tf.Tensor:
    """Acts, and returns True, which a branch of `tf.cond` needs to return."""
    act(*arguments)
    return tf.constant(True)


def graph_function(function: Callable[..., Any], signature: Any = None, **options: Any) -> Any:
    """Returns a `tf.function` without AutoGraph.

    Layers say with TensorFlow operations what depends on tensors. Converting their Python code as well would
    take longer than building the graph.

    Args:
        function: A function of one argument.
        signature: Types and shapes of the argument, None to find them at the first call.
        **options: Further arguments of `tf.function`.
    """
    if signature is not None:
        options["input_signature"] = [signature]
    return tf.function(function, autograph=False, **options)


def inputs_of(batch: Batch) -> Inputs:
    """Returns the tensors of a batch: `features` and `labels` by name, and `weights` if there are any."""
    inputs: Inputs = {"features": batch.features, "labels": batch.labels}
    if batch.weights is not None:
        inputs["weights"] = batch.weights
    return inputs


def open_inputs(batch: Batch, signature: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    """Returns types and shapes of `inputs_of` with the sizes left open that differ between batches.

    Args:
        batch: Any batch.
        signature: Type and open shape of each feature.
    """
    features = {name: tf.TensorSpec(spec.shape, spec.dtype) for name, spec in signature.items()}
    rest = {name: value for name, value in inputs_of(batch).items() if name != "features"}
    opened = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype), rest
    )
    return {"features": features, **opened}


def predict_function(model: keras.Model, signature: Mapping[str, tf.TensorSpec]) -> Any:
    """Returns a compiled function from features to predictions.

    Args:
        model: A model whose call takes features by name.
        signature: Type and open shape of each feature.
    """
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype) for name, spec in signature.items()}
    return graph_function(functools.partial(model, training=False), specs)
