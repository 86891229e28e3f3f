"""The mean of a sequence's valid steps."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.sequences import read_out
from easyssl.layers.encoder_inputs import check_encoder_inputs, encoder_inputs
from easyssl.registry import register


@register("MeanPooling")
class MeanPooling(keras.layers.Layer):
    """Sums a sequence up in the mean of its valid steps, `sum_{t < n} x_t / max(n, 1)`.

    The order of the steps does not matter, and nothing is trained: the encoder to beat. Padding may hold
    anything; a row of length 0 gives zeros. The mean is computed in float32 under every policy. Gradients
    reach all valid steps alike.

    Args:
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Example:
        >>> sequence = tf.constant([[[1.0], [3.0], [9.0]], [[5.0], [5.0], [5.0]]])
        >>> MeanPooling()([sequence, tf.constant([2, 0])]).numpy().tolist()
        [[2.0], [0.0]]
    """

    row_by_row = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Checks the shapes."""
        check_encoder_inputs(self, input_shape)
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        """Takes the mean.

        Args:
            inputs: A sequence `[batch, seq_len, dim]` and its lengths `[batch]`; further inputs are ignored.

        Returns:
            `[batch, dim]`.
        """
        sequence, lengths = encoder_inputs(inputs)
        return read_out(sequence, lengths, "mean")

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None
