"""Mixtures of shared experts, one mixture for each task."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.building import (
    Shape,
    build_sublayer,
    check_not_negative,
    check_positive,
    fit_together,
    input_shapes,
    last_dim,
)
from easyssl.layers.mlp import MLP
from easyssl.layers.nested import nested_layer
from easyssl.losses.collect import report_metric
from easyssl.registry import register


@register("MMoE")
class MMoE(keras.layers.Layer):
    """Gives each task its own mixture of experts that all tasks share.

    With experts f_e, task t gets `sum_e g_te f_e`, where `g_t = softmax(W_t x + b_t)` over the experts. The
    experts are MLPs on x, or, without `expert_mlp`, inputs themselves. Gradients of every task reach every
    expert. The softmax runs in float32 under every policy.

    While training, a model shows the largest and the smallest share that an expert has of all mixtures of the
    batch, and the mean entropy of the gates: a share near 0 is an expert that nobody uses.

    Args:
        num_task: Number of tasks, and so of outputs.
        expert_mlp: Parameters of each expert, such as `{"hidden_units": [64, 32]}`; None for experts that are
            inputs. Defaults to None.
        num_expert: Number of experts; 0 hands the inputs on as they are. Defaults to None, which is one less
            than there are inputs and needs experts that are inputs.
        kernel_regularizer: Keras regularizer of the kernels of gates and experts. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a number that is not positive, an `expert_mlp` without `num_expert`, and parameters
            that an MLP does not take.

    Example:
        >>> layer = MMoE(num_task=2, expert_mlp={"hidden_units": [8, 4]}, num_expert=3)
        >>> [task.shape for task in layer(tf.zeros([5, 6]))]
        [TensorShape([5, 4]), TensorShape([5, 4])]

    References:
        Ma et al., "Modeling task relationships in multi-task learning with multi-gate mixture-of-experts",
        KDD 2018.
    """

    def __init__(
        self,
        num_task: int,
        expert_mlp: dict[str, Any] | None = None,
        num_expert: int | None = None,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_task = num_task
        self.num_expert = num_expert
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        check_positive("MMoE", num_task=num_task)
        if num_expert is not None:
            check_not_negative("MMoE", num_expert=num_expert)
        elif expert_mlp is not None:
            raise ValueError("MMoE: `expert_mlp` needs `num_expert`, how many of them there are")
        # Items, because Keras wraps a dict that a layer holds, and its wrapper is no JSON.
        self._expert_mlp = None if expert_mlp is None else tuple(expert_mlp.items())
        self.experts = [self._expert(index) for index in range(num_expert or 0) if expert_mlp is not None]

    def _expert(self, index: int) -> MLP:
        return nested_layer(
            self,
            MLP,
            dict(self._expert_mlp or ()),
            f"expert_{index}",
            "expert_mlp",
            kernel_regularizer=self.kernel_regularizer,
        )

    def build(self, input_shape: Any) -> None:
        """Creates the weights of experts and gates."""
        self.gates: list[Any] = []
        if self.num_expert != 0:
            shape, count = self._seen(input_shapes(input_shape))
            for expert in self.experts:
                build_sublayer(expert, shape)
            self.gates = [self._gate(index, count, shape) for index in range(self.num_task)]
        super().build(input_shape)

    def _seen(self, shapes: list[Shape]) -> tuple[Shape, int]:
        """Returns the shape of x, and the number of experts."""
        if self._expert_mlp is not None:
            if [len(shape) for shape in shapes] != [2]:
                raise ValueError(f"MMoE '{self.name}' takes [batch, dim]. Received shapes: {shapes}")
            return (shapes[0][0], last_dim(shapes[0], self)), int(self.num_expert or 0)
        count = len(shapes) - 1 if self.num_expert is None else self.num_expert
        fits = count >= 1 and len(shapes) == count + 1 and all(len(shape) == 2 for shape in shapes)
        if not fits or not fit_together(*(shape[1] for shape in shapes[:-1])):
            wanted = "n" if self.num_expert is None else self.num_expert
            raise ValueError(
                f"MMoE '{self.name}', which has no `expert_mlp`, takes a list of {wanted} experts "
                f"[batch, dim] of one width, and the input of the gates [batch, gate_dim]. Received shapes: "
                f"{shapes}"
            )
        return (shapes[-1][0], last_dim(shapes[-1], self)), count

    def _gate(self, index: int, units: int, shape: Shape) -> Any:
        gate = keras.layers.Dense(
            units,
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=f"gate_{index}",
        )
        build_sublayer(gate, shape)
        return gate

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Mixes.

        Args:
            inputs: x `[batch, dim]`; or without `expert_mlp` a list of the experts `[batch, dim]` and, last,
                what the gates see, `[batch, gate_dim]`.
            training: Handed to the experts. Defaults to None.

        Returns:
            A list with `[batch, dim]` for each task; the inputs if `num_expert` is 0.
        """
        if not self.gates:
            return inputs
        if self.experts:
            (x,) = inputs if isinstance(inputs, list | tuple) else [inputs]
            outputs = [expert(x, training=training) for expert in self.experts]
        else:
            *outputs, x = inputs
        logits = tf.stack([tf.cast(gate(x), tf.float32) for gate in self.gates], axis=1)
        weights = tf.nn.softmax(logits)
        if training:
            self._report(weights)
        experts = tf.stack(outputs, axis=1)
        return tf.unstack(tf.matmul(tf.cast(weights, experts.dtype), experts), num=self.num_task, axis=1)

    def _report(self, weights: tf.Tensor) -> None:
        rows = tf.cast(tf.maximum(tf.shape(weights)[0], 1), tf.float32)
        load = tf.reduce_sum(weights, axis=[0, 1]) / (rows * self.num_task)
        entropy = -tf.reduce_sum(tf.math.xlogy(weights, weights)) / (rows * self.num_task)
        report_metric(self, f"{self.name}_max_load", tf.reduce_max(load))
        report_metric(self, f"{self.name}_min_load", tf.reduce_min(load))
        report_metric(self, f"{self.name}_gate_entropy", entropy)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the outputs have no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        return {
            **super().get_config(),
            "num_task": self.num_task,
            "expert_mlp": None if self._expert_mlp is None else dict(self._expert_mlp),
            "num_expert": self.num_expert,
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
