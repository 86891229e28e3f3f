"""The second-order term of factorization machines."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.field_interaction import sum_of_products
from easyssl.layers.field_inputs import equal_field_widths, stacked_fields
from easyssl.registry import register


@register("FM")
class FM(keras.layers.Layer):
    """Sums the products of all pairs of fields.

    `s = 1/2 * ((sum_i v_i)^2 - sum_i v_i^2)`, elementwise in the embedding axis, and the sum of that over the
    axis. There is no linear term; a model adds the output of a WIDE feature group to it. The sums are
    computed in float32. With a single field the output is 0. The layer has no weights.

    Args:
        use_variant: Whether to return the vector `s` instead of the sum of its entries. Defaults to False.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Example:
        >>> FM()([tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]])]).numpy().tolist()  # 1 * 3 + 2 * 4
        [[11.0]]

    References:
        Rendle, "Factorization machines", ICDM 2010.
    """

    def __init__(self, use_variant: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.use_variant = use_variant
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Checks that there are fields of one width."""
        equal_field_widths(self, input_shape)
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        """Sums up.

        Args:
            inputs: A list of fields `[batch, dim]`, or `[batch, num_fields, dim]`.

        Returns:
            `[batch, 1]`, or with `use_variant` `[batch, dim]`.

        Raises:
            ValueError: For one matrix of joined fields, and for fields of different widths.
        """
        total = sum_of_products(stacked_fields(inputs))
        if not self.use_variant:
            total = tf.reduce_sum(total, axis=-1, keepdims=True)
        return tf.cast(total, self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "use_variant": self.use_variant}
