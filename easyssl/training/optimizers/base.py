"""What all optimizers share: one formula, applied to whole variables or to the touched rows alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.training.optimizers.averages import MovingAverages


class RowOptimizer(keras.optimizers.Optimizer):
    """Base of optimizers whose step on an embedding table costs as much as the rows that the batch touched.

    A subclass states its slots (`slot_values`) and one formula (`update`). A dense gradient applies the
    formula to the whole variable. An `IndexedSlices` gradient applies it to the rows that have a gradient:
    the rows of the variable and of its slots are gathered, updated and scattered back; no other row is read
    or written.

    Where the formula changes nothing for a zero gradient (Adagrad), the sparse step equals the dense one.
    Where it does change something (decaying moments, weight decay), the sparse step is lazy: a row's slots
    stay as they are until the row is touched again. Each subclass says which of the two it is.

    Args:
        learning_rate: A number or a Keras `LearningRateSchedule`.
        name: Name of the optimizer.
        **kwargs: Further arguments of the Keras base class.

    Raises:
        ValueError: If the learning rate is a number below 0 or not finite.
    """

    def __init__(self, learning_rate: Any, name: str, **kwargs: Any) -> None:
        if isinstance(learning_rate, int | float) and not 0 <= learning_rate < float("inf"):
            raise ValueError(f"learning_rate is {learning_rate:g}, expected a finite number of at least 0")
        # The base class would compile each variable's update on its own, for every number of rows, and its
        # default decay of 0 (unlike None) would still rewrite every variable as a whole.
        super().__init__(name=name, weight_decay=None, jit_compile=False, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def slot_values(self) -> Mapping[str, float]:
        """Returns the name and the initial value of every slot."""
        raise NotImplementedError

    def update(
        self, gradient: tf.Tensor, value: tf.Tensor, slots: dict[str, tf.Tensor], rate: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the new value and the new slots.

        Args:
            gradient: `[rows, ...]`, or a whole variable's shape.
            value: Current value, of the same shape.
            slots: Current slots, each of the same shape.
            rate: Scalar `step_rate` of this step.
        """
        raise NotImplementedError

    def step_rate(self) -> tf.Tensor:
        """Returns the rate of this step, the learning rate and what else is the same for all rows."""
        return tf.convert_to_tensor(self.learning_rate)

    def update_dense(
        self, gradient: tf.Tensor, variable: tf.Variable, slots: dict[str, tf.Variable], rate: tf.Tensor
    ) -> None:
        """Applies the formula to a whole variable and its slots; see `update`."""
        value, new = self.update(gradient, variable, dict(slots), rate)
        variable.assign(value)
        for name, slot in slots.items():
            slot.assign(new[name])

    def build(self, var_list: Any) -> None:
        """Creates the slots.

        Args:
            var_list: The variables that will be updated.
        """
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._slots = {
            name: [
                self.add_variable_from_reference(
                    variable, name, initial_value=tf.fill(variable.shape, initial)
                )
                for variable in var_list
            ]
            for name, initial in self.slot_values().items()
        }
        self._built = True

    def slots_of(self, variable: tf.Variable) -> dict[str, tf.Variable]:
        """Returns the slots of a variable by name.

        Raises:
            KeyError: If the optimizer was not built for the variable.
        """
        index = self._index_dict[self._var_key(variable)]
        return {name: variables[index] for name, variables in self._slots.items()}

    def slot_variables(self, variables: Any) -> Iterator[tuple[tf.Variable, str, tf.Variable]]:
        """Yields (variable, slot name, slot) for each of `variables`."""
        for variable in variables:
            for name, slot in self.slots_of(variable).items():
                yield variable, name, slot

    def update_step(
        self,
        gradient: tf.Tensor | tf.IndexedSlices,
        variable: tf.Variable,
        rate: tf.Tensor | None = None,
    ) -> None:
        """Updates one variable.

        Args:
            gradient: Dense, or `IndexedSlices` whose indices are distinct.
            variable: The variable.
            rate: The `step_rate`, if it has been computed.
        """
        rate = tf.cast(self.step_rate() if rate is None else rate, variable.dtype)
        slots = self.slots_of(variable)
        if not isinstance(gradient, tf.IndexedSlices):
            self.update_dense(gradient, variable, slots, rate)
            return
        rows = gradient.indices
        current = {name: tf.gather(slot, rows) for name, slot in slots.items()}
        value, new = self.update(gradient.values, tf.gather(variable, rows), current, rate)
        variable.scatter_update(tf.IndexedSlices(value, rows))
        for name, slot in slots.items():
            slot.scatter_update(tf.IndexedSlices(new[name], rows))

    def apply_unique(
        self,
        gradients_and_variables: Sequence[tuple[Any, tf.Variable]],
        averages: MovingAverages | None = None,
    ) -> None:
        """Does one step with gradients that are ready for use.

        `apply_gradients` of the base class adds up rows that occur twice; here that has been done, because
        the global norm needs it.

        Args:
            gradients_and_variables: Pairs; a sparse gradient has distinct rows, a variable whose gradient is
                None stays as it is.
            averages: Moving averages to keep up to date, or None.
        """
        self._compute_current_learning_rate()
        step, rate = self.iterations + 1, self.step_rate()
        for gradient, variable in gradients_and_variables:
            if gradient is None:
                continue
            if averages is None:
                self.update_step(gradient, variable, rate)
            else:
                update = functools.partial(self.update_step, gradient, variable, rate)
                averages.around(variable, gradient, step, update)
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        self.iterations.assign_add(1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config["learning_rate"] = self._serialize_hyperparameter(self._learning_rate)
        # Ours are constructor arguments of the subclasses or fixed.
        for name in ("weight_decay", "jit_compile", "is_legacy_optimizer"):
            config.pop(name, None)
        return config
