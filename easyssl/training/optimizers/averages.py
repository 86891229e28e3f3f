"""Exponential moving averages of the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf


class MovingAverages:
    """Keeps `average = decay * average + (1 - decay) * weight` for every weight, after every step.

    The rows of an embedding table that a step does not touch keep their value, so their average can be caught
    up when it is next needed: the table remembers for each row up to which step its average is computed. That
    gives the same averages as averaging the whole table in every step (up to rounding), at the cost of the
    touched rows.

    Args:
        variables: The weights to average; an average starts at the weight's current value.
        tables: Those of `variables` that get sparse gradients.
        decay: Between 0 and 1.

    Raises:
        ValueError: If `decay` is not between 0 and 1.
    """

    def __init__(self, variables: Iterable[tf.Variable], tables: Iterable[tf.Variable], decay: float) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"moving_average_decay is {decay:g}, expected a number from 0 to 1")
        self.decay = decay
        self.variables = list(variables)
        table_ids = {id(table) for table in tables}
        self._averages = {}
        self._done = {}
        for variable in self.variables:
            self._averages[id(variable)] = tf.Variable(variable, trainable=False, name="average")
            if id(variable) in table_ids:
                # Not an integer: TensorFlow writes single rows of integers on the CPU, where a variable of a
                # GPU would go to and fro as a whole in every step.
                self._done[id(variable)] = tf.Variable(
                    tf.zeros(variable.shape[:1], tf.float64), trainable=False, name="average_step"
                )

    def state(self, variable: tf.Variable) -> dict[str, tf.Variable]:
        """Returns what a checkpoint has to hold for a weight: the average and, for a table, its steps."""
        state = {"average": self._averages[id(variable)]}
        if id(variable) in self._done:
            state["average_step"] = self._done[id(variable)]
        return state

    def around(
        self,
        variable: tf.Variable,
        gradient: tf.Tensor | tf.IndexedSlices,
        step: tf.Tensor,
        update: Callable[[], None],
    ) -> None:
        """Runs the update of a weight and averages what it gives.

        Args:
            variable: The weight.
            gradient: Its gradient; if sparse, with distinct indices.
            step: Number of this step, int64; the first is 1.
            update: Updates the weight.
        """
        average, done = self._averages[id(variable)], self._done.get(id(variable))
        if done is None or not isinstance(gradient, tf.IndexedSlices):
            update()
            average.assign(self.decay * average + (1 - self.decay) * variable)
            if done is not None:
                done.assign(tf.fill(tf.shape(done), tf.cast(step, tf.float64)))
            return
        rows, step = gradient.indices, tf.cast(step, tf.float64)
        before = self._caught_up(
            tf.gather(average, rows), tf.gather(variable, rows), step - 1 - tf.gather(done, rows)
        )
        update()
        after = self.decay * before + (1 - self.decay) * tf.gather(variable, rows)
        average.scatter_update(tf.IndexedSlices(after, rows))
        done.scatter_update(tf.IndexedSlices(tf.fill(tf.shape(rows), step), rows))

    def _caught_up(self, average: tf.Tensor, value: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        """Returns averages `[rows, ...]` after `steps` `[rows]` more steps in which the value stayed."""
        kept = tf.cast(tf.pow(tf.constant(self.decay, tf.float64), steps), value.dtype)
        kept = tf.reshape(kept, tf.concat([tf.shape(kept), tf.ones([tf.rank(value) - 1], tf.int32)], axis=0))
        return kept * average + (1 - kept) * value

    def value(self, variable: tf.Variable, step: int | tf.Tensor) -> tf.Tensor:
        """Returns the average of a weight after `step` steps."""
        average, done = self._averages[id(variable)], self._done.get(id(variable))
        if done is None:
            return tf.identity(average)
        return self._caught_up(average, variable, tf.cast(step, tf.float64) - done)

    @contextlib.contextmanager
    def applied(self, step: int | tf.Tensor) -> Iterator[None]:
        """Replaces the weights by their averages inside the `with` block."""
        held = [tf.identity(variable) for variable in self.variables]
        for variable in self.variables:
            variable.assign(self.value(variable, step))
        try:
            yield
        finally:
            for variable, value in zip(self.variables, held, strict=True):
                variable.assign(value)
