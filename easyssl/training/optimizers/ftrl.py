"""Follow the regularized leader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.training.optimizers.base import RowOptimizer


@keras.utils.register_keras_serializable(package="easyssl")
class Ftrl(RowOptimizer):
    """FTRL-proximal with L1, L2 and shrinkage, as in TensorFlow's own kernels.

    With `p = -learning_rate_power`:

        new = a + g ** 2
        z += g + 2 * l2_shrinkage_reg * value - (new ** p - a ** p) / rate * value
        value = (clip(z, -l1_reg, l1_reg) - z) / (new ** p / rate + 2 * l2_reg)
        a = new

    The rows that a sparse gradient touches get exactly this update and the others none, like TensorFlow's
    sparse kernel. (A dense step also moves rows without gradient: before a row's first gradient `z` is 0,
    which sets its value to 0. A sparse step leaves such a row at its initial value.)

    Args:
        learning_rate: A number or a schedule.
        learning_rate_power: How the effective rate falls with the accumulator; at most 0.
        initial_accumulator_value: Where `a` starts; at least 0.
        l1_reg: Strength of the L1 term.
        l2_reg: Strength of the L2 term.
        l2_shrinkage_reg: Strength of the shrinkage.
        name: Name of the optimizer.
        **kwargs: Further arguments of the Keras base class.

    Raises:
        ValueError: If an argument is out of its range.

    Source: McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, algorithm 1.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_reg: float = 0.0,
        l2_reg: float = 0.0,
        l2_shrinkage_reg: float = 0.0,
        name: str = "ftrl",
        **kwargs: Any,
    ) -> None:
        if learning_rate_power > 0:
            raise ValueError(f"learning_rate_power is {learning_rate_power:g}, expected at most 0")
        for argument, value in (
            ("initial_accumulator_value", initial_accumulator_value),
            ("l1_reg", l1_reg),
            ("l2_reg", l2_reg),
            ("l2_shrinkage_reg", l2_shrinkage_reg),
        ):
            if value < 0:
                raise ValueError(f"{argument} is {value:g}, expected at least 0")
        super().__init__(learning_rate, name=name, **kwargs)
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_reg = l1_reg
        self.l2_reg = l2_reg
        self.l2_shrinkage_reg = l2_shrinkage_reg

    def slot_values(self) -> Mapping[str, float]:
        """Returns the accumulator and the linear term `z`."""
        return {"accumulator": self.initial_accumulator_value, "linear": 0.0}

    def update(
        self, gradient: tf.Tensor, value: tf.Tensor, slots: dict[str, tf.Tensor], rate: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the new value, accumulator and linear term."""
        old = slots["accumulator"]
        accumulator = old + tf.square(gradient)
        new_power = tf.pow(accumulator, -self.learning_rate_power)
        sigma = (new_power - tf.pow(old, -self.learning_rate_power)) / rate
        linear = slots["linear"] + gradient + 2 * self.l2_shrinkage_reg * value - sigma * value
        clipped = tf.clip_by_value(linear, -self.l1_reg, self.l1_reg)
        # Without any gradient yet and an accumulator of 0 the quotient is 0 / 0; such a weight is 0.
        value = tf.math.divide_no_nan(clipped - linear, new_power / rate + 2 * self.l2_reg)
        return value, {"accumulator": accumulator, "linear": linear}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "learning_rate_power": self.learning_rate_power,
            "initial_accumulator_value": self.initial_accumulator_value,
            "l1_reg": self.l1_reg,
            "l2_reg": self.l2_reg,
            "l2_shrinkage_reg": self.l2_shrinkage_reg,
        }
