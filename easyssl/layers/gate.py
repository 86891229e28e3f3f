"""A weighted sum of inputs, by weights that are an input, too."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.building import build_sublayer, check_not_negative, fit_together, input_shapes, last_dim
from easyssl.layers.mlp import MLP
from easyssl.layers.nested import nested_config, nested_layer
from easyssl.registry import register


@register("Gate")
class Gate(keras.layers.Layer):
    """Sums vectors with weights of each row: `sum_j w[:, j] * x_j`, and an MLP on the sum if wanted.

    The weights are used as they are. If they should add up to 1, the layer that makes them has to end with
    "softmax", which this library computes (EasyRec takes that name in an MLP for "linear").

    A model's `l2_regularization` does not reach the MLP.

    Args:
        weight_index: Which input holds the weights; the others are the vectors in their order. Defaults to 0.
        mlp: Parameters of an MLP on the sum, such as `{"hidden_units": [64]}`; None for none. Defaults to
            None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a negative index or parameters that an MLP does not take.

    Example:
        >>> weights = tf.constant([[0.25, 0.75]])
        >>> Gate()([weights, tf.constant([[4.0]]), tf.constant([[8.0]])]).numpy().tolist()
        [[7.0]]

    References:
        Zhang et al., "Empowering long-tail item recommendation through cross decoupling network (CDN)", arXiv
        2210.14309, whose mixture of experts is such a sum.
    """

    def __init__(self, weight_index: int = 0, mlp: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weight_index = weight_index
        self.mlp = None if mlp is None else nested_layer(self, MLP, mlp, "mlp")
        self.supports_masking = True
        check_not_negative("Gate", weight_index=weight_index)

    def build(self, input_shape: Any) -> None:
        """Checks the inputs and creates the weights of the MLP."""
        shapes = input_shapes(input_shape)
        vectors = [shape for index, shape in enumerate(shapes) if index != self.weight_index]
        fits = len(vectors) == len(shapes) - 1 >= 1 and all(len(shape) == 2 for shape in shapes)
        if not fits or not fit_together(*(shape[1] for shape in vectors)):
            raise ValueError(
                f"Gate '{self.name}' takes a list of weights [batch, n], at index {self.weight_index}, and n "
                f"vectors [batch, dim] of one width. Received shapes: {shapes}"
            )
        if not fit_together(shapes[self.weight_index][1], len(vectors)):
            raise ValueError(
                f"Gate '{self.name}' has {shapes[self.weight_index][1]} weights for {len(vectors)} vectors. "
                f"Received shapes: {shapes}"
            )
        if self.mlp is not None:
            build_sublayer(self.mlp, (vectors[0][0], last_dim(vectors[0], self)))
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Sums up.

        Args:
            inputs: A list of weights `[batch, n]`, at `weight_index`, and n vectors `[batch, dim]`.
            training: Handed to the MLP. Defaults to None.

        Returns:
            `[batch, dim]`, or what the MLP makes of it.

        Raises:
            ValueError: For other shapes, such as more vectors than weights.
        """
        weights = inputs[self.weight_index]
        vectors = [x for index, x in enumerate(inputs) if index != self.weight_index]
        total = tf.linalg.matvec(tf.stack(vectors, axis=2), weights)
        return total if self.mlp is None else self.mlp(total, training=training)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "weight_index": self.weight_index,
            "mlp": nested_config(self.mlp),
        }
