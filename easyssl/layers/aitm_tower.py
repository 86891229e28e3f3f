"""What a task takes over from the tasks before it."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.building import (
    Shape,
    build_sublayer,
    check_positive,
    fit_together,
    input_shapes,
    last_dim,
)
from easyssl.layers.mlp import MLP
from easyssl.layers.nested import nested_config, nested_layer
from easyssl.registry import register


@register("AITMTower")
class AITMTower(keras.layers.Layer):
    """Lets the tower of a task attend to itself and to the towers of the tasks before it.

    With the own tower x_0, the earlier ones p_i and `x_i = transfer_mlp(p_i)`, the output is
    `sum_i a_i V_i(x_i)` with `a = softmax_i(Q(x_0) . K_i(x_i) / sqrt(dim))`; Q and all K_i and V_i are dense
    layers with a bias. Without `transfer_mlp`, x_i is p_i. A tower that has none before it is handed on as it
    is. Gradients reach the earlier towers only without `stop_gradient`; those of the transfer are trained
    either way. The softmax runs in float32 under every policy.

    EasyRec computes the attention of every tower and keeps that of the own one. What is thrown away there,
    queries of the earlier towers included, does not exist here.

    Args:
        project_dim: Width of queries, keys, values and the output. Defaults to None, which is the width of
            the own tower.
        transfer_mlp: Parameters of the MLP that all earlier towers go through, such as
            `{"hidden_units": [32]}`; None for none. Defaults to None.
        stop_gradient: Whether the earlier towers get no gradient. Defaults to True.
        kernel_regularizer: Keras regularizer of the kernels of the MLP, not of the attention. Defaults to
            None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a width that is not positive, and parameters that an MLP does not take.

    Example:
        >>> click, purchase = tf.ones([4, 8]), tf.ones([4, 8])
        >>> AITMTower(transfer_mlp={"hidden_units": [8]})([purchase, click]).shape
        TensorShape([4, 8])

    References:
        Xi et al., "Modeling the sequential dependence among audience multi-step conversions with multi-task
        learning in targeted display advertising", arXiv 2105.08489.
    """

    def __init__(
        self,
        project_dim: int | None = None,
        transfer_mlp: dict[str, Any] | None = None,
        stop_gradient: bool = True,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project_dim = project_dim
        self.stop_gradient = stop_gradient
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        if project_dim is not None:
            check_positive("AITMTower", project_dim=project_dim)
        self.transfer_mlp = None
        if transfer_mlp is not None:
            self.transfer_mlp = nested_layer(
                self, MLP, transfer_mlp, "transfer_mlp", kernel_regularizer=self.kernel_regularizer
            )

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shapes = input_shapes(input_shape)
        self.key_layers: list[Any] = []
        self.value_layers: list[Any] = []
        if len(shapes) > 1:
            self._build_attention(shapes)
        super().build(input_shape)

    def _build_attention(self, shapes: list[Shape]) -> None:
        own, earlier = shapes[0], shapes[1:]
        shared = self.transfer_mlp is None or fit_together(*(shape[-1] for shape in earlier))
        if not shared or any(len(shape) != 2 for shape in shapes):
            raise ValueError(
                f"AITMTower '{self.name}' takes a list of towers [batch, dim], the own one first; those that "
                f"go through one `transfer_mlp` have one width. Received shapes: {shapes}"
            )
        dim = self.project_dim or last_dim(own, self)
        if self.transfer_mlp is not None:
            build_sublayer(self.transfer_mlp, earlier[0])
            earlier = [(shape[0], self.transfer_mlp.hidden_units[-1]) for shape in earlier]
        self.query = self._dense("query", dim, own)
        for index, shape in enumerate([own, *earlier]):
            self.key_layers.append(self._dense(f"key_{index}", dim, shape))
            self.value_layers.append(self._dense(f"value_{index}", dim, shape))

    def _dense(self, name: str, units: int, shape: Shape) -> Any:
        dense = keras.layers.Dense(units, dtype=self.dtype_policy, name=name)
        build_sublayer(dense, shape)
        return dense

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Attends.

        Args:
            inputs: A list of towers `[batch, dim]`, the own one first and then those before it; or just the
                own one.
            training: Handed to the MLP. Defaults to None.

        Returns:
            `[batch, project_dim]`; the own tower if it is the only one.
        """
        own, *earlier = inputs if isinstance(inputs, list | tuple) else [inputs]
        if not earlier:
            return own
        if self.stop_gradient:
            earlier = [tf.stop_gradient(tower) for tower in earlier]
        if self.transfer_mlp is not None:
            earlier = [self.transfer_mlp(tower, training=training) for tower in earlier]
        towers = [own, *earlier]
        keys = tf.stack([key(x) for key, x in zip(self.key_layers, towers, strict=True)], axis=1)
        values = tf.stack([value(x) for value, x in zip(self.value_layers, towers, strict=True)], axis=1)
        query = tf.cast(self.query(own), tf.float32) / math.sqrt(self.query.units)
        weights = tf.nn.softmax(tf.linalg.matvec(tf.cast(keys, tf.float32), query))
        return tf.linalg.matvec(values, tf.cast(weights, values.dtype), transpose_a=True)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        return {
            **super().get_config(),
            "project_dim": self.project_dim,
            "transfer_mlp": nested_config(self.transfer_mlp),
            "stop_gradient": self.stop_gradient,
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
