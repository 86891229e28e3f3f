"""The pairwise dot products of DLRM."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.field_interaction import dot_products
from easyssl.layers.field_inputs import equal_field_widths, stacked_fields
from easyssl.registry import register


@register("DotInteraction")
class DotInteraction(keras.layers.Layer):
    """Computes the dot products of all pairs of fields.

    The pairs (i, j) with i > j come in the order (1, 0), (2, 0), (2, 1), ...; with `self_interaction` those
    with i = j stand at the end of each row. The layer has no weights, and with one field and no
    `self_interaction` the output has no columns.

    Values and parameters are those of `tensorflow_recommenders.layers.feature_interaction.DotInteraction`,
    which the tests compare it with. That class cannot stand in for this one: it is a layer of tf_keras only.

    Args:
        self_interaction: Whether the product of a field with itself is computed, too. Defaults to False.
        skip_gather: Whether to return all `num_fields ** 2` places, in row-major order, with 0 at those of
            products that are not computed. Defaults to False.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Example:
        >>> fields = [tf.constant([[1.0, 0.0]]), tf.constant([[2.0, 3.0]]), tf.constant([[4.0, 5.0]])]
        >>> DotInteraction()(fields).numpy().tolist()
        [[2.0, 4.0, 23.0]]

    References:
        Naumov et al., "Deep learning recommendation model for personalization and recommendation systems",
        arXiv 1906.00091.
    """

    def __init__(self, self_interaction: bool = False, skip_gather: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.self_interaction = self_interaction
        self.skip_gather = skip_gather
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Checks that there are fields of one width."""
        equal_field_widths(self, input_shape)
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        """Multiplies.

        Args:
            inputs: A list of fields `[batch, dim]`, or `[batch, num_fields, dim]`.

        Returns:
            `[batch, num_fields * (num_fields - 1) / 2]`, `[batch, num_fields * (num_fields + 1) / 2]` with
            `self_interaction`, or `[batch, num_fields ** 2]` with `skip_gather`.

        Raises:
            ValueError: For one matrix of joined fields, and for fields of different widths.
        """
        return dot_products(stacked_fields(inputs), self.self_interaction, self.skip_gather)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "self_interaction": self.self_interaction,
            "skip_gather": self.skip_gather,
        }
