"""The compressed interaction network of xDeepFM."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.field_interaction import compressed_interaction
from easyssl.layers.building import check_positive
from easyssl.layers.field_inputs import equal_field_widths, stacked_fields
from easyssl.registry import register


@register("CIN")
class CIN(keras.layers.Layer):
    """Products of fields of growing order, compressed by each layer to some feature maps.

    With `X_0` the fields, map h of layer k is
    `X_k[h] = relu(sum_{i,j} W_k[h, i, j] * X_{k-1}[i] * X_0[j] + b_k[h])`, where products are elementwise in
    the embedding axis. The maps of all layers, summed over that axis, are the output. All maps of a layer
    enter the next one as well as the output.

    The kernels `[size, size before, num_fields]` start as Keras's "he_normal" for a weight of that shape, the
    biases at 0.

    Args:
        hidden_feature_sizes: Number of maps of each layer, at least one.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For no layers, or a size that is not positive.

    Example:
        >>> CIN([4, 3])(tf.random.normal([2, 5, 8])).shape
        TensorShape([2, 7])

    References:
        Lian et al., "xDeepFM: combining explicit and implicit feature interactions for recommender systems",
        arXiv 1803.05170.
    """

    def __init__(self, hidden_feature_sizes: list[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_feature_sizes = tuple(hidden_feature_sizes)
        self.supports_masking = True
        if not self.hidden_feature_sizes:
            raise ValueError("CIN: `hidden_feature_sizes` must name at least one layer. Received: []")
        for size in self.hidden_feature_sizes:
            check_positive("CIN", hidden_feature_sizes=size)

    def build(self, input_shape: Any) -> None:
        """Creates a kernel and a bias for each layer."""
        count = len(equal_field_widths(self, input_shape))
        self.kernels, self.biases = [], []
        before = count
        for index, size in enumerate(self.hidden_feature_sizes):
            self.kernels.append(
                self.add_weight(name=f"kernel_{index}", shape=(size, before, count), initializer="he_normal")
            )
            self.biases.append(self.add_weight(name=f"bias_{index}", shape=(size,), initializer="zeros"))
            before = size
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        """Computes the maps.

        Args:
            inputs: Fields `[batch, num_fields, dim]`, or a list of `[batch, dim]`.

        Returns:
            `[batch, sum(hidden_feature_sizes)]`.

        Raises:
            ValueError: For one matrix of joined fields, and for fields of different widths.
        """
        first = tf.transpose(stacked_fields(inputs), [0, 2, 1])
        maps, pooled = first, []
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            weights = (tf.cast(tf.convert_to_tensor(w), first.dtype) for w in (kernel, bias))
            maps = compressed_interaction(maps, first, *weights)
            pooled.append(tf.reduce_sum(maps, axis=1))
        return tf.concat(pooled, axis=-1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "hidden_feature_sizes": list(self.hidden_feature_sizes)}
