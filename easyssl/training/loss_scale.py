"""Loss scaling for training in float16."""

from __future__ import annotations

import tensorflow as tf


class LossScale:
    """A factor on the loss that keeps small float16 gradients from vanishing, found while training.

    The factor halves when a gradient overflows and doubles after `growth_steps` steps without overflow.

    Args:
        initial: First factor.
        growth_steps: Number of good steps in a row after which the factor doubles.

    Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3.2.
    """

    def __init__(self, initial: float = 2.0**15, growth_steps: int = 2000) -> None:
        self.growth_steps = growth_steps
        self.factor = tf.Variable(initial, dtype=tf.float32, trainable=False, name="loss_scale")
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="loss_scale_good_steps")

    def state(self) -> dict[str, tf.Variable]:
        """Returns what a checkpoint has to hold, by name."""
        return {"factor": self.factor, "good_steps": self.good_steps}

    def update(self, finite: tf.Tensor) -> None:
        """Adjusts the factor after a step.

        Args:
            finite: Bool scalar, whether the step's gradients were finite.
        """
        good = tf.where(finite, self.good_steps + 1, tf.zeros_like(self.good_steps))
        grow = good >= self.growth_steps
        factor = tf.where(finite, self.factor, tf.maximum(self.factor / 2, 1.0))
        # An infinite factor would make the next gradients overflow for good.
        doubled = tf.where(tf.math.is_finite(factor * 2), factor * 2, factor)
        self.factor.assign(tf.where(grow, doubled, factor))
        self.good_steps.assign(tf.where(grow, tf.zeros_like(good), good))
