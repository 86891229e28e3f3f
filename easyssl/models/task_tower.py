"""The layers of one task of a MultiTaskModel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.backbone.instantiate import ErrorAt, make_layer
from easyssl.backbone.plan_multi_task import TaskTower


class TaskLayers(keras.layers.Layer):
    """From the backbone's output to the logits of one task.

    `h = dnn(x)`, `r = relation_dnn([h, r of each relation tower])` and `logits = W r + b`; without `dnn`, h
    is x, and without `relation_dnn`, r is h.

    Args:
        tower: What the config says.
        num_class: Number of logits.
        kernel_l2: Adds `kernel_l2 / 2 * sum(kernel ** 2)` for each kernel.
        error: Makes a `ConfigError` from a field path and a text.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Call arguments:
        inputs: `[batch, dim]`.
        relations: Relation features of the towers that it reads, each `[batch, dim]`.
        training: Whether dropout acts and batches are normalised by their own statistics.

    Returns:
        The relation features `r` `[batch, dim]`, and the logits `[batch, num_class]`.
    """

    def __init__(
        self, tower: TaskTower, num_class: int, kernel_l2: float, error: ErrorAt, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.relates = tower.relates
        self.dnn, self.relation_dnn = (
            None if plan is None else make_layer(plan, kernel_l2, policy, error)
            for plan in (tower.dnn, tower.relation_dnn)
        )
        self.logits = keras.layers.Dense(
            num_class,
            kernel_regularizer=keras.regularizers.L2(kernel_l2 / 2) if kernel_l2 > 0 else None,
            dtype=policy,
            name="logits",
        )

    def build(self, input_shape: Any = None) -> None:
        """Marks the layer as built; its layers are built when their input is known, in `call`."""
        self.built = True

    def call(
        self, inputs: tf.Tensor, relations: Sequence[tf.Tensor] = (), training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes relation features and logits; see the class."""
        x = inputs if self.dnn is None else self.dnn(inputs, training=training)
        if self.relates and relations:
            x = tf.concat([x, *relations], axis=-1)
        if self.relation_dnn is not None:
            x = self.relation_dnn(x, training=training)
        return x, self.logits(x)
