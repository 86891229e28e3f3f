"""Adagrad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.training.optimizers.base import RowOptimizer


@keras.utils.register_keras_serializable(package="easyssl")
class Adagrad(RowOptimizer):
    """Adagrad: `a += g ** 2`, then `value -= rate * g / sqrt(a)`.

    A zero gradient changes nothing, so the sparse step is exactly the dense one.

    Args:
        learning_rate: A number or a schedule.
        initial_accumulator_value: Where `a` starts; positive, since nothing else keeps the root from 0.
        name: Name of the optimizer.
        **kwargs: Further arguments of the Keras base class.

    Raises:
        ValueError: If `initial_accumulator_value` is not positive.

    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods", JMLR 2011.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        name: str = "adagrad",
        **kwargs: Any,
    ) -> None:
        if initial_accumulator_value <= 0:
            raise ValueError(f"initial_accumulator_value is {initial_accumulator_value:g}, expected above 0")
        super().__init__(learning_rate, name=name, **kwargs)
        self.initial_accumulator_value = initial_accumulator_value

    def slot_values(self) -> Mapping[str, float]:
        """Returns the accumulator."""
        return {"accumulator": self.initial_accumulator_value}

    def update(
        self, gradient: tf.Tensor, value: tf.Tensor, slots: dict[str, tf.Tensor], rate: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the new value and accumulator."""
        accumulator = slots["accumulator"] + tf.square(gradient)
        # Not rsqrt: root and quotient round alike whether or not the kernel works on whole vectors, so that
        # dense and sparse steps give the same bits.
        return value - rate * gradient / tf.sqrt(accumulator), {"accumulator": accumulator}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "initial_accumulator_value": self.initial_accumulator_value}
