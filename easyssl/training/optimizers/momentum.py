"""Gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.training.optimizers.base import RowOptimizer


@keras.utils.register_keras_serializable(package="easyssl")
class Momentum(RowOptimizer):
    """Momentum as in TensorFlow 1: `a = momentum * a + g`, then `value -= rate * a`.

    On sparse gradients it is lazy: the accumulator of a row decays, and the row moves on, only in steps that
    touch the row.

    Args:
        learning_rate: A number or a schedule.
        momentum: Decay of the accumulator; 0 is plain gradient descent.
        name: Name of the optimizer.
        **kwargs: Further arguments of the Keras base class.
    """

    def __init__(
        self, learning_rate: Any = 0.001, momentum: float = 0.9, name: str = "momentum", **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        self.momentum = momentum

    def slot_values(self) -> Mapping[str, float]:
        """Returns the accumulator, initially 0."""
        return {"accumulator": 0.0}

    def update(
        self, gradient: tf.Tensor, value: tf.Tensor, slots: dict[str, tf.Tensor], rate: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the new value and accumulator."""
        accumulator = self.momentum * slots["accumulator"] + gradient
        return value - rate * accumulator, {"accumulator": accumulator}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "momentum": self.momentum}


@keras.utils.register_keras_serializable(package="easyssl")
class MomentumW(Momentum):
    """Momentum with decoupled weight decay: `value` is first multiplied by `1 - weight_decay`.

    As in `AdamW`, the decay is not multiplied by the learning rate and is lazy on sparse gradients.

    Args:
        learning_rate: A number or a schedule.
        weight_decay: Fraction of the value that is taken away in a step.
        name: Name of the optimizer.
        **kwargs: Further arguments of `Momentum`.
    """

    def __init__(
        self, learning_rate: Any = 0.001, weight_decay: float = 1e-6, name: str = "momentumw", **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        self.decay = weight_decay

    def update(
        self, gradient: tf.Tensor, value: tf.Tensor, slots: dict[str, tf.Tensor], rate: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the new value and accumulator."""
        return super().update(gradient, value * (1 - self.decay), slots, rate)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "weight_decay": self.decay}
