"""RMSProp, with the formula of TensorFlow 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.training.optimizers.base import RowOptimizer


@keras.utils.register_keras_serializable(package="easyssl")
class RMSProp(RowOptimizer):
    """RMSProp whose epsilon stands inside the root and whose mean square starts at 1, as in TensorFlow 1.

        s = decay * s + (1 - decay) * g ** 2
        a = momentum * a + rate * g / sqrt(s + epsilon)
        value -= a

    On sparse gradients it is lazy: both slots of a row change only in steps that touch the row.

    Args:
        learning_rate: A number or a schedule.
        decay: Decay of the mean square.
        momentum: Decay of the accumulator.
        epsilon: Added to the mean square; the large default is the config language's.
        name: Name of the optimizer.
        **kwargs: Further arguments of the Keras base class.

    Source: Tieleman and Hinton, "Neural Networks for Machine Learning", lecture 6.5, 2012.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1.0,
        name: str = "rms_prop",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        self.decay = decay
        self.momentum = momentum
        self.epsilon = epsilon

    def slot_values(self) -> Mapping[str, float]:
        """Returns the mean square, initially 1, and the accumulator, initially 0."""
        return {"mean_square": 1.0, "accumulator": 0.0}

    def update(
        self, gradient: tf.Tensor, value: tf.Tensor, slots: dict[str, tf.Tensor], rate: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the new value, mean square and accumulator."""
        square = self.decay * slots["mean_square"] + (1 - self.decay) * tf.square(gradient)
        step = rate * gradient / tf.sqrt(square + self.epsilon)
        accumulator = self.momentum * slots["accumulator"] + step
        return value - accumulator, {"mean_square": square, "accumulator": accumulator}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "decay": self.decay,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
