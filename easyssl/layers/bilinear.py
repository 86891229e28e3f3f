"""The bilinear interaction of FiBiNet."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.field_interaction import pair_products
from easyssl.functional.initial import glorot_limit
from easyssl.layers.building import build_sublayer, check_positive
from easyssl.layers.field_inputs import equal_field_widths, field_list, field_widths
from easyssl.registry import register

_TYPES = ("all", "each", "interaction")


@keras.utils.register_keras_serializable(package="easyssl")
class _SideBySide(keras.initializers.Initializer):
    """Glorot's uniform initializer for matrices that stand side by side, each by its own size."""

    def __init__(self, widths: list[int]) -> None:
        self.widths = tuple(widths)

    def __call__(self, shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
        parts = []
        for width in self.widths:
            limit = glorot_limit(shape[0], width)
            parts.append(keras.initializers.RandomUniform(-limit, limit)((shape[0], width)))
        return tf.cast(tf.concat(parts, axis=1), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"widths": list(self.widths)}


@register("BiLinear")
class BiLinear(keras.layers.Layer):
    """Multiplies all pairs of fields, the first of a pair after a linear map, and applies a dense layer.

    For fields i < j, `p_ij` is the product of `W v_i + b` and `v_j`: the inner product with `use_plus`, which
    is the variant of FiBiNet++, otherwise the elementwise product. `type` says which pairs share W and b. The
    products, in the order (0, 1), (0, 2), ..., (1, 2), ..., enter a dense layer with bias and without
    activation.

    EasyRec's type "interaction", its default, fails for any number of fields; here it does what its
    documentation says. The matrices start as Keras's "glorot_uniform" does, each by its own size.

    Args:
        num_output_units: Width of the dense layer.
        type: "all": one matrix; "each": one for each first field; "interaction": one for each pair. Only with
            the last may fields have different widths. Defaults to "interaction".
        use_plus: Whether to take inner products. Defaults to True.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown type or units that are not positive.

    Example:
        >>> fields = [tf.zeros([4, 8]), tf.zeros([4, 8]), tf.zeros([4, 6])]
        >>> BiLinear(num_output_units=16)(fields).shape
        TensorShape([4, 16])

    References:
        Huang et al., "FiBiNET: combining feature importance and bilinear feature interaction for
        click-through rate prediction", arXiv 1905.09433.

        Zhang et al., "FiBiNet++: reducing model size by low rank feature interaction layer for CTR
        prediction", arXiv 2209.05016.
    """

    def __init__(
        self,
        num_output_units: int,
        type: Literal["all", "each", "interaction"] = "interaction",
        use_plus: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_output_units = num_output_units
        self.type = type
        self.use_plus = use_plus
        self.supports_masking = True
        check_positive("BiLinear", num_output_units=num_output_units)
        if type not in _TYPES:
            raise ValueError(f"BiLinear: unknown type '{type}'{nearest(type, _TYPES)}")
        self.dense = keras.layers.Dense(num_output_units, dtype=self.dtype_policy, name="dense")

    def build(self, input_shape: Any) -> None:
        """Creates the matrices, their biases and the dense layer."""
        check = field_widths if self.type == "interaction" else equal_field_widths
        widths = check(self, input_shape)
        if len(widths) < 2:
            raise ValueError(f"BiLinear '{self.name}' needs at least two fields. Received widths: {widths}")
        if self.type == "interaction":
            # The matrices of one first field stand side by side, and are applied by one product.
            self.maps = [self._map(f"map_{i}", widths[i], widths[i + 1 :]) for i in range(len(widths) - 1)]
        elif self.type == "each":
            self.maps = [self._map(f"map_{i}", widths[0], widths[:1]) for i in range(len(widths) - 1)]
        else:
            self.maps = [self._map("map", widths[0], widths[:1])]
        products = sum(j if self.use_plus else j * width for j, width in enumerate(widths))
        build_sublayer(self.dense, (None, products))
        super().build(input_shape)

    def _map(self, name: str, width: int, targets: list[int]) -> keras.layers.Layer:
        dense = keras.layers.Dense(
            sum(targets), kernel_initializer=_SideBySide(targets), dtype=self.dtype_policy, name=name
        )
        build_sublayer(dense, (None, width))
        return dense

    def call(self, inputs: Any) -> tf.Tensor:
        """Multiplies.

        Args:
            inputs: A list of at least two fields `[batch, dim]`, or `[batch, num_fields, dim]`.

        Returns:
            `[batch, num_output_units]`.

        Raises:
            ValueError: For one matrix of joined fields, a single field, and with "all" and "each" for fields
                of different widths.
        """
        fields = field_list(inputs)
        return self.dense(pair_products(self._mapped(fields), fields, self.use_plus))

    def _mapped(self, fields: list[tf.Tensor]) -> tf.Tensor:
        """Returns, for each pair, its first field after its linear map, joined."""
        last = len(fields) - 1
        if self.type == "interaction":
            return tf.concat([self.maps[i](fields[i]) for i in range(last)], axis=-1)
        if self.type == "each":
            mapped = [self.maps[i](fields[i]) for i in range(last)]
        else:
            mapped = tf.unstack(self.maps[0](tf.stack(fields[:-1], axis=1)), axis=1)
        return tf.concat([tf.tile(x, [1, last - i]) for i, x in enumerate(mapped)], axis=-1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_output_units": self.num_output_units,
            "type": self.type,
            "use_plus": self.use_plus,
        }
