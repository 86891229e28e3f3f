"""Learning rates as functions of the step.

Every schedule is a Keras `LearningRateSchedule`: called with a step (a Python number or an integer tensor,
the first step is 0) it returns a float32 scalar. The arithmetic is done in float64, so that the rate does not
lose digits at steps that float32 cannot hold.

Example:
    >>> rate = ExponentialDecay(0.001, decay_steps=1000, decay_factor=0.5)
    >>> float(rate(2500))
    0.0002500000118743628
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.training.schedule_values import check_positive, check_steps, check_warmup


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Base of the schedules: casts the step to float64 and the rate to float32, and keeps the arguments."""

    def __init__(self, **arguments: Any) -> None:
        """Keeps the constructor's arguments for `get_config`."""
        super().__init__()
        self._arguments = arguments

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the rate of a step as a float32 scalar."""
        return tf.cast(self.rate(tf.cast(step, tf.float64)), tf.float32)

    def rate(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the float64 rate of a float64 step."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return dict(self._arguments)


def _double(value: float) -> tf.Tensor:
    return tf.constant(value, tf.float64)


@keras.utils.register_keras_serializable(package="easyssl")
class Constant(Schedule):
    """The same rate at every step.

    Args:
        learning_rate: The rate.
    """

    def __init__(self, learning_rate: float) -> None:
        super().__init__(learning_rate=learning_rate)
        self.learning_rate = learning_rate

    def rate(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate."""
        return tf.zeros_like(step) + _double(self.learning_rate)


@keras.utils.register_keras_serializable(package="easyssl")
class ExponentialDecay(Schedule):
    """Burn-in, then `initial * factor ** ((step - burnin_steps) / decay_steps)`, never below `minimum`.

    Args:
        initial_learning_rate: The rate that the decay starts from.
        decay_steps: Number of steps in which the rate falls by `decay_factor`.
        decay_factor: The factor.
        staircase: Whether the exponent is rounded down, so that the rate falls in steps.
        burnin_learning_rate: Rate of step 0; from there it rises linearly to `initial_learning_rate` in
            `burnin_steps` steps. 0 keeps the rate at `initial_learning_rate` during the burn-in.
        burnin_steps: Length of the burn-in.
        minimum: The rate never falls below it.

    Raises:
        ValueError: If `decay_steps` is not positive.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_factor: float,
        staircase: bool = True,
        burnin_learning_rate: float = 0.0,
        burnin_steps: int = 0,
        minimum: float = 0.0,
    ) -> None:
        check_positive(decay_steps=decay_steps)
        super().__init__(
            initial_learning_rate=initial_learning_rate,
            decay_steps=decay_steps,
            decay_factor=decay_factor,
            staircase=staircase,
            burnin_learning_rate=burnin_learning_rate,
            burnin_steps=burnin_steps,
            minimum=minimum,
        )
        self.initial = initial_learning_rate
        self.decay_steps = decay_steps
        self.factor = decay_factor
        self.staircase = staircase
        self.burnin_rate = burnin_learning_rate or initial_learning_rate
        self.burnin_steps = burnin_steps
        self.minimum = minimum

    def rate(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step."""
        initial = _double(self.initial)
        exponent = (step - self.burnin_steps) / self.decay_steps
        if self.staircase:
            exponent = tf.floor(exponent)
        # The branch that is not taken must stay finite too, hence the maximum.
        decayed = initial * tf.pow(_double(self.factor), tf.maximum(exponent, _double(0.0)))
        ramp = self.burnin_rate + (initial - self.burnin_rate) * step / max(self.burnin_steps, 1)
        return tf.maximum(tf.where(step < self.burnin_steps, ramp, decayed), _double(self.minimum))


@keras.utils.register_keras_serializable(package="easyssl")
class ManualSteps(Schedule):
    """A table of rates, each valid from its step on.

    Args:
        initial_learning_rate: The rate before the first step of the table.
        steps: Strictly increasing, positive steps.
        learning_rates: One rate for each of `steps`.
        warmup: Whether the rate rises linearly from `initial_learning_rate` at step 0 to `learning_rates[0]`
            at `steps[0]`.

    Raises:
        ValueError: If the steps do not increase, start below 1, or do not match the rates in number.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        steps: Sequence[int],
        learning_rates: Sequence[float],
        warmup: bool = False,
    ) -> None:
        check_steps(steps, learning_rates)
        super().__init__(
            initial_learning_rate=initial_learning_rate,
            steps=list(steps),
            learning_rates=list(learning_rates),
            warmup=warmup,
        )
        self.initial = initial_learning_rate
        self.steps = list(steps)
        self.rates = [initial_learning_rate, *learning_rates]
        self.warmup = warmup

    def rate(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step."""
        passed = tf.reduce_sum(tf.cast(step >= tf.constant(self.steps, tf.float64), tf.int32))
        rate = tf.gather(tf.constant(self.rates, tf.float64), passed)
        if not self.warmup:
            return rate
        ramp = self.initial + (self.rates[1] - self.initial) * step / self.steps[0]
        return tf.where(step < self.steps[0], ramp, rate)


@keras.utils.register_keras_serializable(package="easyssl")
class CosineDecay(Schedule):
    """Linear warm-up, a plateau, then half a cosine down to 0 at `total_steps`, and 0 from there on.

    Args:
        learning_rate_base: The rate of the plateau.
        total_steps: The step at which the rate reaches 0.
        warmup_learning_rate: The rate of step 0.
        warmup_steps: Length of the warm-up.
        hold_base_rate_steps: Length of the plateau.

    Raises:
        ValueError: If the warm-up starts above the base rate or does not fit into `total_steps`.
    """

    def __init__(
        self,
        learning_rate_base: float,
        total_steps: int,
        warmup_learning_rate: float = 0.0,
        warmup_steps: int = 0,
        hold_base_rate_steps: int = 0,
    ) -> None:
        check_warmup(learning_rate_base, total_steps, warmup_learning_rate, warmup_steps)
        super().__init__(
            learning_rate_base=learning_rate_base,
            total_steps=total_steps,
            warmup_learning_rate=warmup_learning_rate,
            warmup_steps=warmup_steps,
            hold_base_rate_steps=hold_base_rate_steps,
        )
        self.base = learning_rate_base
        self.total = total_steps
        self.warmup_rate = warmup_learning_rate
        self.warmup_steps = warmup_steps
        self.hold = hold_base_rate_steps

    def rate(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step."""
        base = _double(self.base)
        start = self.warmup_steps + self.hold
        angle = math.pi * (step - start) / max(self.total - start, 1)
        rate = tf.where(step < start, base, base / 2 * (1 + tf.cos(angle)))
        ramp = self.warmup_rate + (base - self.warmup_rate) * step / max(self.warmup_steps, 1)
        rate = tf.where(step < self.warmup_steps, ramp, rate)
        return tf.where(step > self.total, _double(0.0), rate)


@keras.utils.register_keras_serializable(package="easyssl")
class PolynomialDecay(Schedule):
    """`(base - end) * (1 - step / total_steps) ** power + end`, and `end` from `total_steps` on.

    Args:
        learning_rate_base: The rate of step 0.
        total_steps: The step at which `end_learning_rate` is reached.
        power: The exponent.
        end_learning_rate: The last rate.

    Raises:
        ValueError: If `total_steps` is not positive.
    """

    def __init__(
        self, learning_rate_base: float, total_steps: int, power: float, end_learning_rate: float = 0.0
    ) -> None:
        check_positive(total_steps=total_steps)
        super().__init__(
            learning_rate_base=learning_rate_base,
            total_steps=total_steps,
            power=power,
            end_learning_rate=end_learning_rate,
        )
        self.base = learning_rate_base
        self.total = total_steps
        self.power = power
        self.end = end_learning_rate

    def rate(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step."""
        left = 1 - tf.minimum(step, float(self.total)) / self.total
        return (self.base - self.end) * tf.pow(left, _double(self.power)) + self.end


@keras.utils.register_keras_serializable(package="easyssl")
class TransformerDecay(Schedule):
    """The schedule of "Attention Is All You Need": a linear rise, then a fall with the root of the step.

    With `t = step * step_scaling_rate` and `w = warmup_steps * step_scaling_rate` the rate is
    `base * hidden_size ** -0.5 * min((t + 1) * w ** -1.5, (t + 1) ** -0.5)`.

    Args:
        learning_rate_base: Factor of the whole rate.
        hidden_size: Width of the model.
        warmup_steps: Length of the rise.
        step_scaling_rate: Factor of the steps.

    Raises:
        ValueError: If `hidden_size`, `warmup_steps` or `step_scaling_rate` is not positive.
    """

    def __init__(
        self, learning_rate_base: float, hidden_size: int, warmup_steps: int, step_scaling_rate: float = 1.0
    ) -> None:
        check_positive(
            hidden_size=hidden_size, warmup_steps=warmup_steps, step_scaling_rate=step_scaling_rate
        )
        super().__init__(
            learning_rate_base=learning_rate_base,
            hidden_size=hidden_size,
            warmup_steps=warmup_steps,
            step_scaling_rate=step_scaling_rate,
        )
        self.base = learning_rate_base
        self.hidden_size = hidden_size
        self.warmup_steps = warmup_steps
        self.scaling = step_scaling_rate

    def rate(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step."""
        scaled = step * self.scaling + 1
        rise = scaled * (self.warmup_steps * self.scaling) ** -1.5
        return self.base * self.hidden_size**-0.5 * tf.minimum(rise, tf.math.rsqrt(scaled))
