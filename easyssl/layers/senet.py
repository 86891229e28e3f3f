"""The squeeze-and-excitation network of FiBiNet++."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.field_interaction import squeeze_fields
from easyssl.layers.building import build_sublayer, check_positive
from easyssl.layers.field_inputs import field_list, field_widths
from easyssl.layers.layer_norm import LayerNorm
from easyssl.registry import register

_EPSILON = 1e-3


@register("SENet")
class SENet(keras.layers.Layer):
    """Weighs every entry of every field by a small network that sees a summary of all fields.

    Each of n fields is split into g groups; its summary is the maximum of each group and the mean of each
    group. With z the summaries of all fields, `[batch, 2 n g]`, the weights are
    `w = W2 relu(W1 z + b1) + b2`, of the hidden width `max(1, 2 n g // r)` and the width of all fields
    together. The output is `x * w` for the joined fields x, plus x with the skip connection, and normalised
    over the last axis.

    W1 starts as "he_normal", W2 as "glorot_normal". A model's `l2_regularization` does not reach them.

    Args:
        reduction_ratio: r, by which the hidden layer is narrower than z. Defaults to 4.
        num_squeeze_group: g; divides the width of every field. Defaults to 2.
        use_skip_connection: Whether x is added. Defaults to True.
        use_output_layer_norm: Whether the output is normalised, with epsilon 1e-3. Defaults to True.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive.

    Example:
        >>> SENet()([tf.zeros([4, 8]), tf.zeros([4, 6])]).shape
        TensorShape([4, 14])

    References:
        Huang et al., "FiBiNET: combining feature importance and bilinear feature interaction for
        click-through rate prediction", arXiv 1905.09433.

        Zhang et al., "FiBiNet++: reducing model size by low rank feature interaction layer for CTR
        prediction", arXiv 2209.05016.
    """

    def __init__(
        self,
        reduction_ratio: int = 4,
        num_squeeze_group: int = 2,
        use_skip_connection: bool = True,
        use_output_layer_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reduction_ratio = reduction_ratio
        self.num_squeeze_group = num_squeeze_group
        self.use_skip_connection = use_skip_connection
        self.use_output_layer_norm = use_output_layer_norm
        self.supports_masking = True
        check_positive("SENet", reduction_ratio=reduction_ratio, num_squeeze_group=num_squeeze_group)
        self.norm = (
            LayerNorm(_EPSILON, dtype=self.dtype_policy, name="norm") if use_output_layer_norm else None
        )

    def build(self, input_shape: Any) -> None:
        """Creates the two dense layers and the normalisation."""
        widths = field_widths(self, input_shape)
        for index, width in enumerate(widths):
            if width % self.num_squeeze_group:
                raise ValueError(
                    f"SENet '{self.name}': num_squeeze_group={self.num_squeeze_group} does not divide the "
                    f"width of field {index}. Received widths: {widths}"
                )
        summary = 2 * len(widths) * self.num_squeeze_group
        hidden = max(1, summary // self.reduction_ratio)
        self.reduce = self._dense(hidden, "relu", "he_normal", "reduce")
        self.excite = self._dense(sum(widths), None, "glorot_normal", "excite")
        build_sublayer(self.reduce, (None, summary))
        build_sublayer(self.excite, (None, hidden))
        if self.norm is not None:
            build_sublayer(self.norm, (None, sum(widths)))
        super().build(input_shape)

    def _dense(self, units: int, activation: str | None, initializer: str, name: str) -> keras.layers.Layer:
        return keras.layers.Dense(
            units, activation, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )

    def call(self, inputs: Any) -> tf.Tensor:
        """Weighs.

        Args:
            inputs: A list of fields `[batch, dim]`, or `[batch, num_fields, dim]`.

        Returns:
            `[batch, sum of the widths]`.

        Raises:
            ValueError: For one matrix of joined fields, and a field that the groups do not divide.
        """
        fields = field_list(inputs)
        joined = tf.concat(fields, axis=-1)
        output = joined * self.excite(self.reduce(squeeze_fields(fields, self.num_squeeze_group)))
        if self.use_skip_connection:
            output += joined
        return output if self.norm is None else self.norm(output)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "num_squeeze_group": self.num_squeeze_group,
            "use_skip_connection": self.use_skip_connection,
            "use_output_layer_norm": self.use_output_layer_norm,
        }
