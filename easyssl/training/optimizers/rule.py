"""From gradients to new weights: what happens between the backward pass and the end of a step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import tensorflow as tf

from easyssl.training.optimizers.averages import MovingAverages
from easyssl.training.optimizers.base import RowOptimizer

Gradient: TypeAlias = "tf.Tensor | tf.IndexedSlices | None"


def unique_rows(gradient: Gradient) -> Gradient:
    """Returns the gradient with each row once, the values of equal rows added up; dense ones unchanged."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, positions = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, positions, tf.shape(rows)[0])
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def scaled(gradient: Gradient, factor: float | tf.Tensor) -> Gradient:
    """Returns the gradient times a factor; a sparse one stays sparse."""
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values * tf.cast(factor, gradient.values.dtype)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient * tf.cast(factor, gradient.dtype)


def global_norm(gradients: Iterable[Gradient]) -> tf.Tensor:
    """Returns the float32 L2 norm of all gradients as one vector. Sparse ones must have distinct rows."""
    halves = [
        tf.nn.l2_loss(tf.cast(g.values if isinstance(g, tf.IndexedSlices) else g, tf.float32))
        for g in gradients
        if g is not None
    ]
    return tf.sqrt(2.0 * tf.add_n(halves)) if halves else tf.constant(0.0)


class UpdateRule:
    """Multiplier, global norm, clipping, one optimizer for each group of variables, moving averages.

    Args:
        groups: Pairs of an optimizer and the variables that it updates; no variable is in two groups.
        multiplied: Variables whose gradients are multiplied by `multiplier` first.
        multiplier: See `multiplied`.
        clip_norm: Gradients are scaled down together so that their global norm is at most this; 0 is off.
        averages: Moving averages, or None.

    Example:
        >>> rule = UpdateRule([(Adam(0.001), model.trainable_variables)])  # doctest: +SKIP
        >>> gradients, norm = rule.prepare(tape.gradient(loss, rule.variables))  # doctest: +SKIP
        >>> rule.apply(gradients, norm)  # doctest: +SKIP
    """

    def __init__(
        self,
        groups: Sequence[tuple[RowOptimizer, Sequence[tf.Variable]]],
        multiplied: Iterable[tf.Variable] = (),
        multiplier: float = 1.0,
        clip_norm: float = 0.0,
        averages: MovingAverages | None = None,
    ) -> None:
        self.groups = [(optimizer, list(variables)) for optimizer, variables in groups]
        self.variables = [variable for _, variables in self.groups for variable in variables]
        self.multiplier = multiplier
        self.clip_norm = clip_norm
        self.averages = averages
        self._multiplied = {id(variable) for variable in multiplied}
        for optimizer, variables in self.groups:
            optimizer.build(variables)

    @property
    def learning_rates(self) -> list[tf.Tensor]:
        """The learning rate of each group in the last step, a scalar each."""
        return [tf.convert_to_tensor(optimizer.learning_rate) for optimizer, _ in self.groups]

    def prepare(self, gradients: Sequence[Gradient]) -> tuple[list[Gradient], tf.Tensor]:
        """Returns the gradients with distinct rows and the multiplier applied, and their global norm.

        Args:
            gradients: One for each of `variables`; None for a variable that the loss does not depend on.
        """
        prepared = []
        for gradient, variable in zip(gradients, self.variables, strict=True):
            gradient = unique_rows(gradient)
            if id(variable) in self._multiplied and self.multiplier != 1.0:
                gradient = scaled(gradient, self.multiplier)
            prepared.append(gradient)
        return prepared, global_norm(prepared)

    def apply(self, gradients: Sequence[Gradient], norm: tf.Tensor) -> None:
        """Updates the variables.

        Args:
            gradients: What `prepare` returned.
            norm: Their global norm.
        """
        if self.clip_norm > 0:
            factor = self.clip_norm / tf.maximum(norm, self.clip_norm)
            gradients = [scaled(gradient, factor) for gradient in gradients]
        start = 0
        for optimizer, variables in self.groups:
            own = gradients[start : start + len(variables)]
            start += len(variables)
            optimizer.apply_unique(list(zip(own, variables, strict=True)), self.averages)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Replaces the weights by their moving averages inside the `with` block, if there are any."""
        if self.averages is None:
            yield
        else:
            with self.averages.applied(self.groups[0][0].iterations):
                yield

    def state(self, names: dict[int, str]) -> dict[str, tf.Variable]:
        """Returns all that a checkpoint has to hold, by name.

        Args:
            names: The name of each variable by its `id`.
        """
        state = {}
        for index, (optimizer, variables) in enumerate(self.groups):
            state[f"{index}/iterations"] = optimizer.iterations
            for variable, slot_name, slot in optimizer.slot_variables(variables):
                state[f"{index}/{slot_name}/{names[id(variable)]}"] = slot
        if self.averages is not None:
            for variable in self.averages.variables:
                for key, value in self.averages.state(variable).items():
                    state[f"{key}/{names[id(variable)]}"] = value
        return state
