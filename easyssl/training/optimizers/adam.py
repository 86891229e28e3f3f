"""Adam and its relatives, with the formula of TensorFlow 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.training.optimizers.base import RowOptimizer


@keras.utils.register_keras_serializable(package="easyssl")
class Adam(RowOptimizer):
    """Adam whose epsilon stands outside the bias correction, as in TensorFlow 1.

    With `t` the number of this step, starting at 1:

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g ** 2
        value -= rate * sqrt(1 - beta2 ** t) / (1 - beta1 ** t) * m / (sqrt(v) + epsilon)

    On sparse gradients it is lazy: the moments of a row decay only in steps that touch the row, and a row
    without a gradient does not move. `t` counts all steps.

    Args:
        learning_rate: A number or a schedule.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        name: Name of the optimizer.
        **kwargs: Further arguments of the Keras base class.

    Example:
        >>> model.compile(Adam(0.001))  # doctest: +SKIP

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, end of section
    2.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        name: str = "adam",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.decay = 0.0

    def slot_values(self) -> Mapping[str, float]:
        """Returns the two moments, initially 0."""
        return {"m": 0.0, "v": 0.0}

    def step_rate(self) -> tf.Tensor:
        """Returns the learning rate times the bias correction."""
        # In float64, because 1 - beta2 ** t of an early step has few digits left in float32.
        step = tf.cast(self.iterations + 1, tf.float64)
        correction = tf.sqrt(1 - tf.pow(tf.constant(self.beta2, tf.float64), step)) / (
            1 - tf.pow(tf.constant(self.beta1, tf.float64), step)
        )
        rate = super().step_rate()
        return rate * tf.cast(correction, rate.dtype)

    def update(
        self, gradient: tf.Tensor, value: tf.Tensor, slots: dict[str, tf.Tensor], rate: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the new value and moments."""
        if self.decay:
            value = value * (1 - self.decay)
        m = slots["m"] + (gradient - slots["m"]) * (1 - self.beta1)
        v = slots["v"] + (tf.square(gradient) - slots["v"]) * (1 - self.beta2)
        return value - m * rate / (tf.sqrt(v) + self.epsilon), {"m": m, "v": v}

    def update_dense(
        self, gradient: tf.Tensor, variable: tf.Variable, slots: dict[str, tf.Variable], rate: tf.Tensor
    ) -> None:
        """Applies the formula by one operation; see `update`."""
        states = [variable, slots["m"], slots["v"]]
        if len({state.device for state in states}) > 1:
            super().update_dense(gradient, variable, slots, rate)
            return
        if self.decay:
            variable.assign(variable * (1 - self.decay))
        none = tf.zeros([], rate.dtype)  # in place of beta ** t: `rate` has the bias correction already
        options = {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}
        tf.raw_ops.ResourceApplyAdam(
            **dict(zip(("var", "m", "v"), (state.handle for state in states), strict=True)),
            **{name: tf.constant(value, rate.dtype) for name, value in options.items()},
            beta1_power=none,
            beta2_power=none,
            lr=rate,
            grad=gradient,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "beta1": self.beta1,
            "beta2": self.beta2,
            "epsilon": self.epsilon,
        }


@keras.utils.register_keras_serializable(package="easyssl")
class LazyAdam(Adam):
    """Adam by the name that says how it treats sparse gradients; `Adam` here does the same."""

    def __init__(self, learning_rate: Any = 0.001, name: str = "lazy_adam", **kwargs: Any) -> None:
        super().__init__(learning_rate, name=name, **kwargs)


@keras.utils.register_keras_serializable(package="easyssl")
class AdamW(Adam):
    """Adam with decoupled weight decay: `value` is first multiplied by `1 - weight_decay`.

    The decay is not multiplied by the learning rate, and it is lazy on sparse gradients: a row decays in
    steps that touch it.

    Args:
        learning_rate: A number or a schedule.
        weight_decay: Fraction of the value that is taken away in a step.
        name: Name of the optimizer.
        **kwargs: Further arguments of `Adam`.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2; there the
    decay may have a schedule of its own, here it is constant.
    """

    def __init__(
        self, learning_rate: Any = 0.001, weight_decay: float = 1e-6, name: str = "adamw", **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        self.decay = weight_decay

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "weight_decay": self.decay}
