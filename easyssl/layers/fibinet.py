"""Weighted fields beside their bilinear interactions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.bilinear import BiLinear
from easyssl.layers.building import build_sublayer
from easyssl.layers.field_inputs import field_widths
from easyssl.layers.mlp import MLP
from easyssl.layers.nested import nested_config, nested_layer
from easyssl.layers.senet import SENet
from easyssl.registry import register


@register("FiBiNet")
class FiBiNet(keras.layers.Layer):
    """Joins the output of a SENet with that of a BiLinear on the same fields, and applies an MLP.

    The bilinear products are those of the fields as they come in, not of the weighted ones.

    Args:
        bilinear: Parameters of the BiLinear, such as `{"num_output_units": 64, "type": "each"}`; None leaves
            it out. Defaults to None.
        senet: Parameters of the SENet; None for its defaults. Defaults to None.
        mlp: Parameters of the MLP, such as `{"hidden_units": [64]}`; None leaves it out. Defaults to None.
        kernel_regularizer: Keras regularizer of the MLP's kernels. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For parameters that the parts do not take.

    Example:
        >>> layer = FiBiNet(bilinear={"num_output_units": 4}, mlp={"hidden_units": [8]})
        >>> layer([tf.zeros([3, 8]), tf.zeros([3, 6])]).shape
        TensorShape([3, 8])

    References:
        Huang et al., "FiBiNET: combining feature importance and bilinear feature interaction for
        click-through rate prediction", arXiv 1905.09433.

        Zhang et al., "FiBiNet++: reducing model size by low rank feature interaction layer for CTR
        prediction", arXiv 2209.05016.
    """

    def __init__(
        self,
        bilinear: dict[str, Any] | None = None,
        senet: dict[str, Any] | None = None,
        mlp: dict[str, Any] | None = None,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self.bilinear = None if bilinear is None else nested_layer(self, BiLinear, bilinear, "bilinear")
        self.senet = nested_layer(self, SENet, senet or {}, "senet")
        self.mlp = None
        if mlp is not None:
            self.mlp = nested_layer(self, MLP, mlp, "mlp", kernel_regularizer=self.kernel_regularizer)

    def build(self, input_shape: Any) -> None:
        """Creates the weights of the parts."""
        width = sum(field_widths(self, input_shape))
        build_sublayer(self.senet, input_shape)
        if self.bilinear is not None:
            build_sublayer(self.bilinear, input_shape)
            width += self.bilinear.num_output_units
        if self.mlp is not None:
            build_sublayer(self.mlp, (None, width))
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Applies the parts.

        Args:
            inputs: A list of fields `[batch, dim]`, at least two with a BiLinear, or
                `[batch, num_fields, dim]`.
            training: Handed to the MLP. Defaults to None.

        Returns:
            `[batch, width]`: of the MLP, or without one the widths of all fields and the units of the
            BiLinear.

        Raises:
            ValueError: For one matrix of joined fields, and for fields that a part refuses.
        """
        output = self.senet(inputs)
        if self.bilinear is not None:
            output = tf.concat([output, self.bilinear(inputs)], axis=-1)
        return output if self.mlp is None else self.mlp(output, training=training)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        return {
            **super().get_config(),
            "bilinear": nested_config(self.bilinear),
            "senet": nested_config(self.senet),
            "mlp": nested_config(self.mlp),
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
