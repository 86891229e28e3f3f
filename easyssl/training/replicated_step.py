"""A training step that several devices do together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import TrainingError
from easyssl.training.devices import Devices, Replicas
from easyssl.training.loss_scale import LossScale
from easyssl.training.optimizers.build import update_rule_from_config
from easyssl.training.optimizers.rule import Gradient, UpdateRule, scaled
from easyssl.training.pipeline import Batch
from easyssl.training.row_errors import naming_rows
from easyssl.training.step import Inputs, StepResult, TrainStep, done, graph_function, open_inputs


class ReplicatedStep(TrainStep):
    """Trains a model whose copies each work on some rows of the batch.

    Each device computes the gradients of its rows' loss times the part that its rows are of the step's. Their
    sum is the gradient of the whole batch's loss wherever that is a mean over rows; a loss that compares the
    rows of a batch with each other sees the rows of its own device. The sum of sparse gradients stays sparse.
    Every device then does the same update on its own copy of the weights.

    Args:
        model: A model with `compute_losses`, made in the scope of the devices.
        rules: What happens with the gradients, for the copies on each device.
        signature: Type and open shape of each feature.
        devices: The devices.
        loss_scale: For float16, otherwise None.
        jit_compile: Whether the forward and backward passes are compiled by XLA.
    """

    def __init__(
        self,
        model: keras.Model,
        rules: Sequence[UpdateRule],
        signature: Mapping[str, tf.TensorSpec],
        devices: Replicas,
        loss_scale: LossScale | None = None,
        jit_compile: bool = False,
    ) -> None:
        super().__init__(model, rules[0], signature, loss_scale, jit_compile)
        self.rules = list(rules)
        self.devices = devices
        copies = {id(copy): variable for variable in model.weights for copy in devices.copies(variable)}
        self._variables = [copies[id(variable)] for variable in self.rule.variables]

    def __call__(self, batch: Batch) -> StepResult:
        """Trains by one batch, unless something in it is not finite."""
        if self._compiled is None:
            self._compiled = self.compiled(batch)
        try:
            with naming_rows(batch.raw):
                numbers = self._compiled(replica_inputs(batch)).numpy().tolist()
        except RuntimeError as error:
            if not self._jit_compile or "merge_call" not in str(error):
                raise
            raise TrainingError(
                "a layer of this model works across devices, which XLA cannot; set train_config.jit_compile "
                "to false, or train on one device"
            ) from None
        return self._result(numbers)

    def compiled(self, batch: Batch) -> Any:
        """Returns the step as a `tf.function` of `replica_inputs(batch)`, for batches of any size."""
        self._gradients = self._loss_and_gradients
        if self._jit_compile:  # only then: what replicas tell each other cannot leave another function
            self._gradients = graph_function(self._loss_and_gradients, jit_compile=True)
        inputs = {**open_inputs(batch, self._signature), "factor": tf.TensorSpec([], tf.float32)}
        return graph_function(self._step, [inputs] * len(self.devices.names))

    def _step(self, inputs: Any) -> tf.Tensor:
        with self.devices.scope():
            numbers, gradients = self.devices.strategy.run(self._replica, args=(list(inputs),))
            numbers = self.devices.strategy.reduce("SUM", numbers, axis=None)
        gradients = self._summed(gradients)
        prepared = []
        for device, rule, own in zip(self.devices.names, self.rules, gradients, strict=True):
            with tf.device(device):
                prepared.append(rule.prepare(own))
        # Devices may round their norms differently. Clipping by different norms would drive the copies apart.
        with self.devices.scope():
            norms = self.devices.strategy.run(lambda: prepared[self.devices.local_replica()][1])
            norm = self.devices.strategy.reduce("MEAN", norms, axis=None)
        bad_inputs, total = numbers[0], numbers[1]
        loss_finite = tf.math.is_finite(total) & (bad_inputs == 0.0)
        finite = loss_finite & tf.math.is_finite(norm)
        tf.cond(finite, lambda: done(self._apply, prepared, norm), lambda: tf.constant(False))
        overflow = tf.constant(False)
        if self.loss_scale is not None:
            overflow = loss_finite & ~finite & (self.loss_scale.factor > 1.0)
            self.loss_scale.update(finite)
        flags = tf.cast(tf.stack([finite | overflow, overflow]), tf.float32)
        return tf.concat([flags, norm[tf.newaxis], numbers[1:]], axis=0)

    def _replica(self, inputs: Sequence[Inputs]) -> tuple[tf.Tensor, list[Gradient]]:
        """Returns what one device adds to the step: bad inputs, loss and terms, and its gradients."""
        own = inputs[self.devices.local_replica()]
        share = own["factor"]
        if self.loss_scale is not None:
            own = {**own, "factor": share * self.loss_scale.factor}
        losses, gradients = self._gradients(own)
        if self.loss_scale is not None:
            gradients = [scaled(gradient, 1 / self.loss_scale.factor) for gradient in gradients]
        bad = [
            tf.reduce_any(~tf.math.is_finite(tensor))
            for tensor in tf.nest.flatten(own)
            if tensor.dtype.is_floating
        ]
        terms = [value for kind in ("unweighted", "weighted", "metrics") for value in losses[kind].values()]
        numbers = tf.stack([tf.cast(term, tf.float32) for term in (losses["total"], *terms)])
        count = tf.reduce_sum(tf.cast(tf.stack(bad), tf.float32))
        return tf.concat([count[tf.newaxis], numbers * share], axis=0), list(gradients)

    def _summed(self, gradients: Sequence[Any]) -> list[list[Gradient]]:
        """Returns the sums over all replicas, as each device of this process has them."""
        strategy = self.devices.strategy
        found = [index for index, gradient in enumerate(gradients) if gradient is not None]
        with strategy.scope():
            sums = strategy.extended.batch_reduce_to(
                tf.distribute.ReduceOp.SUM, [(gradients[index], self._variables[index]) for index in found]
            )
        own: list[list[Gradient]] = [[None] * len(gradients) for _ in self.devices.names]
        for index, total in zip(found, sums, strict=True):
            for replica, value in enumerate(strategy.experimental_local_results(total)):
                own[replica][index] = value
        return own

    def _apply(self, prepared: Sequence[tuple[list[Gradient], tf.Tensor]], norm: tf.Tensor) -> None:
        for device, rule, (gradients, _) in zip(self.devices.names, self.rules, prepared, strict=True):
            with tf.device(device):
                rule.apply(gradients, norm)

    def _loss_and_gradients(self, inputs: Inputs) -> tuple[dict[str, Any], Sequence[Gradient]]:
        return self._differentiated(inputs, self._variables)


def rules_on(devices: Devices, config: Any, model: keras.Model) -> list[UpdateRule]:
    """Returns the update rule of `train_config` for the copies of a model's weights on each device.

    Raises:
        ConfigError: If the config describes no update rule.
    """
    if not isinstance(devices, Replicas):
        with devices.shared():
            return [update_rule_from_config(config, model)]

    def rule_on(index: int) -> UpdateRule:
        with tf.device(devices.names[index]):
            return update_rule_from_config(config, model, lambda variable: devices.copies(variable)[index])

    return [rule_on(index) for index in range(len(devices.names))]


def step_on(
    devices: Devices,
    model: keras.Model,
    rules: Sequence[UpdateRule],
    signature: Mapping[str, tf.TensorSpec],
    loss_scale: LossScale | None,
    jit_compile: bool,
) -> TrainStep:
    """Returns the training step for one device or for several; see there for the arguments."""
    if isinstance(devices, Replicas):
        return ReplicatedStep(model, rules, signature, devices, loss_scale, jit_compile)
    return TrainStep(model, rules[0], signature, loss_scale, jit_compile)


def replica_inputs(batch: Batch) -> list[Inputs]:
    """Returns the tensors of each device's share, with the part of the loss that they make up.

    Weights are changed so that the sum of the devices' weighted means is the mean of the whole step, which
    divides by the number of rows with a weight.
    """
    whole = batch.whole
    rows = batch.rows if whole is None else whole.rows
    weighted = sum(share.weighted_rows for share in batch.shares) if whole is None else whole.weighted_rows
    inputs = []
    for share in batch.shares:
        own = {**share.inputs, "factor": tf.constant(share.rows / rows, tf.float32)}
        if "weights" in own and share.weighted_rows:
            factor = (share.weighted_rows / share.rows) * (rows / weighted)
            if factor != 1.0:
                own["weights"] = own["weights"] * factor
        inputs.append(own)
    return inputs
