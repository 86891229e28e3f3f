"""The gradient reversal of adversarial training."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.gradient_reversal import dann_factor, reverse_gradient
from easyssl.functional.replicas import SAME_ON_REPLICAS
from easyssl.layers.building import check_positive
from easyssl.registry import register

_SCHEDULES = ("constant", "dann")


@register("GradientReversal")
@register("GRL")
class GradientReversal(keras.layers.Layer):
    """Gives its input unchanged; what comes before it gets the gradient times `-factor`.

    What follows learns a task, and what comes before unlearns what the task can be solved with. Its
    second name, in configs and in `easyssl.layers`, is GRL.

    With the schedule "dann", factor is multiplied by `2 / (1 + exp(-gamma * p)) - 1`, where p is the number
    of calls in training so far, divided by `num_steps`; after these p stays 1. The count is a weight of the
    layer and saved with it. A layer that is called n times in a step needs n times as many steps.

    With `training=False` there is no reversal, as the model that is served needs none; gradients are then
    those of the identity. Masks pass through.

    Args:
        factor: Factor of the reversed gradient, 0 or more. If the loss behind the layer has a weight, the
            gradient has both factors: to weigh once, leave this at 1. Defaults to 1.0.
        schedule: "constant" or "dann". Defaults to "constant".
        gamma: How steep the rise of "dann" is; the reference's value. Defaults to 10.0.
        num_steps: Calls in training over which "dann" rises. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown schedule, a negative factor, a gamma or number of steps that is not
            positive, or "dann" without a number of steps.

    Example:
        >>> x, layer = tf.constant([[1.0, 2.0]]), GradientReversal()
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = tf.reduce_sum(layer(x))
        >>> float(y), tape.gradient(y, x).numpy().tolist()
        (3.0, [[-1.0, -1.0]])

    References:
        Ganin et al., "Domain-adversarial training of neural networks", arXiv 1505.07818.
    """

    def __init__(
        self,
        factor: float = 1.0,
        schedule: Literal["constant", "dann"] = "constant",
        gamma: float = 10.0,
        num_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.schedule = schedule
        self.gamma = gamma
        self.num_steps = num_steps
        self.supports_masking = True
        if schedule not in _SCHEDULES:
            raise ValueError(
                f"GradientReversal: unknown schedule '{schedule}'{nearest(schedule, _SCHEDULES)}"
            )
        if not factor >= 0:
            raise ValueError(f"GradientReversal: `factor` must not be negative. Received: factor={factor}")
        if not gamma > 0:
            raise ValueError(f"GradientReversal: `gamma` must be positive. Received: gamma={gamma}")
        if num_steps is not None:
            check_positive("GradientReversal", num_steps=num_steps)
        elif schedule == "dann":
            raise ValueError("GradientReversal: the schedule 'dann' needs `num_steps`")

    def build(self, input_shape: Any) -> None:
        """Creates the count of calls, if the schedule needs it."""
        if self.schedule == "dann":
            self.count = self.add_weight(
                name="count",
                shape=(),
                dtype="int64",
                initializer="zeros",
                trainable=False,
                aggregation=SAME_ON_REPLICAS,
            )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Gives the input back.

        Args:
            inputs: Tensor of any shape.
            training: Whether to count the call and reverse its gradient; None reverses it, too, so that no
                loop of one's own learns the wrong way. Defaults to None.

        Returns:
            A tensor equal to the input.
        """
        if training is False:
            return tf.convert_to_tensor(inputs)
        if self.schedule == "constant":
            return reverse_gradient(inputs, self.factor)
        count = tf.convert_to_tensor(self.count)
        if training:
            self.count.assign(count + 1)
        return reverse_gradient(inputs, self._factor_at(count))

    def _factor_at(self, count: tf.Tensor) -> tf.Tensor:
        progress = tf.cast(count, tf.float32) / float(self.num_steps or 1)
        return self.factor * dann_factor(progress, self.gamma)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "factor": self.factor,
            "schedule": self.schedule,
            "gamma": self.gamma,
            "num_steps": self.num_steps,
        }
