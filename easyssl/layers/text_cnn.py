"""Convolutions over the steps of a sequence, and the largest value of each."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.activations import activation as activation_function
from easyssl.functional.activations import canonical_activation
from easyssl.functional.masking import length_mask
from easyssl.functional.sequences import read_out
from easyssl.layers.building import (
    Shape,
    build_sublayer,
    check_not_negative,
    check_positive,
    input_shapes,
    last_dim,
)
from easyssl.layers.dice import Dice
from easyssl.layers.encoder_inputs import check_encoder_inputs, encoder_inputs
from easyssl.layers.mlp import MLP
from easyssl.layers.nested import nested_config, nested_layer
from easyssl.registry import register


@register("TextCNN")
class TextCNN(keras.layers.Layer):
    """Sums a sequence of words, or of anything else, up in the strongest patterns of a few neighbours.

    A filter of width w gives `max_t activation(sum_i W_i x_(t + i) + b)`, with i from 0 to w - 1. All filters
    side by side go through an MLP, if there is one. Steps behind a row's length are zeros, whatever the
    padding holds. Which places t count is

    - with `pad_sequence_length`, all where the filter fits into a sequence of that length, to which rows are
      cut or filled with zeros;
    - without it, all where the filter fits into the steps of the row itself; a row that is shorter than the
      filter has the place 0.

    Either way the amount of padding does not matter. (EasyRec, without `pad_sequence_length`, lets filters
    see the padding, so that there a row depends on the longest one of its batch.) A row of length 0 gives
    zeros and enters no batch statistics. Gradients reach the steps below the strongest place of each filter.

    Args:
        filter_sizes: Width of the filters, in steps; one entry per kind of filter.
        num_filters: How many filters of each width there are; as many entries.
        pad_sequence_length: Number of steps that every row is cut or filled to; None or 0 for those that it
            has. Defaults to None.
        activation: Activation of the filters: a name of `easyssl.functional.activation_names()`. Defaults to
            "relu".
        mlp: Parameters of an MLP on the result, such as `{"hidden_units": [64]}`; None for none. Defaults to
            None.
        kernel_regularizer: Keras regularizer of the MLP's kernels. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For no filters, lists of different length, a size that is not positive, filters that are
            wider than `pad_sequence_length`, an unknown activation, and parameters that an MLP does not take.

    Example:
        >>> layer = TextCNN(filter_sizes=[2, 3], num_filters=[4, 4])
        >>> layer([tf.random.normal([3, 5, 8]), tf.constant([5, 1, 0])]).shape
        TensorShape([3, 8])

    References:
        Kim, "Convolutional neural networks for sentence classification", arXiv 1408.5882.
    """

    def __init__(
        self,
        filter_sizes: list[int],
        num_filters: list[int],
        pad_sequence_length: int | None = None,
        activation: str = "relu",
        mlp: dict[str, Any] | None = None,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filter_sizes = tuple(filter_sizes)
        self.num_filters = tuple(num_filters)
        self.pad_sequence_length = pad_sequence_length
        self.activation = canonical_activation(activation)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self._check()
        self.convolutions = [
            keras.layers.Conv1D(count, size, dtype=self.dtype_policy, name=f"convolution_{index}")
            for index, (size, count) in enumerate(zip(self.filter_sizes, self.num_filters, strict=True))
        ]
        self.dices = [
            Dice(dtype=self.dtype_policy, name=f"dice_{index}")
            for index in range(len(self.filter_sizes))
            if self.activation == "dice"
        ]
        self.mlp = None
        if mlp is not None:
            self.mlp = nested_layer(self, MLP, mlp, "mlp", kernel_regularizer=self.kernel_regularizer)

    def _check(self) -> None:
        if not self.filter_sizes or len(self.filter_sizes) != len(self.num_filters):
            raise ValueError(
                "TextCNN: `filter_sizes` and `num_filters` have one entry for each kind of filter. Received: "
                f"filter_sizes={list(self.filter_sizes)}, num_filters={list(self.num_filters)}"
            )
        for size, count in zip(self.filter_sizes, self.num_filters, strict=True):
            check_positive("TextCNN", filter_sizes=size, num_filters=count)
        check_not_negative("TextCNN", pad_sequence_length=self.pad_sequence_length or 0)
        if 0 < (self.pad_sequence_length or 0) < max(self.filter_sizes):
            raise ValueError(
                "TextCNN: no filter may be wider than `pad_sequence_length`. Received: "
                f"filter_sizes={list(self.filter_sizes)}, pad_sequence_length={self.pad_sequence_length}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates the weights of filters and MLP."""
        shape = check_encoder_inputs(self, input_shape)[0]
        for convolution in self.convolutions:
            build_sublayer(convolution, (shape[0], None, last_dim(shape, self)))
        for dice, count in zip(self.dices, self.num_filters, strict=False):
            build_sublayer(dice, (shape[0], None, count))
        if self.mlp is not None:
            build_sublayer(self.mlp, (shape[0], sum(self.num_filters)))
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Finds the patterns.

        Args:
            inputs: A sequence `[batch, seq_len, dim]` and its lengths `[batch]`; further inputs are ignored.
            training: Handed to the MLP. Defaults to None.

        Returns:
            `[batch, sum of num_filters]`, or what the MLP makes of it.
        """
        sequence, lengths = encoder_inputs(inputs)
        steps, places = self._steps(read_out(sequence, lengths, "sequence"), lengths)
        found = [self._strongest(index, steps, places[index], training) for index in range(len(places))]
        some = lengths > 0
        output = tf.where(some[:, None], tf.concat(found, axis=-1), tf.zeros([], steps.dtype))
        if self.mlp is None:
            return output
        return tf.where(
            some[:, None],
            self.mlp(output, mask=some, training=training),
            tf.zeros([], output.dtype),
        )

    def _steps(self, steps: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns the steps that filters see, and at how many places those of each width count, `[batch]`."""
        length = self.pad_sequence_length
        if length:
            steps = steps[:, :length]
            steps = tf.pad(steps, [[0, 0], [0, length - tf.shape(steps)[1]], [0, 0]])
            steps = tf.ensure_shape(steps, [None, length, steps.shape[2]])
            places = [tf.fill(tf.shape(lengths), length - size + 1) for size in self.filter_sizes]
        else:
            steps = tf.pad(steps, [[0, 0], [0, max(self.filter_sizes) - 1], [0, 0]])
            places = [tf.maximum(lengths - size + 1, 1) for size in self.filter_sizes]
        return steps, [tf.where(lengths > 0, count, 0) for count in places]

    def _strongest(self, index: int, steps: tf.Tensor, places: tf.Tensor, training: bool | None) -> tf.Tensor:
        values = self.convolutions[index](steps)
        counts = length_mask(places, tf.shape(values)[1])
        if self.dices:
            values = self.dices[index](values, mask=counts, training=training)
        else:
            values = activation_function(self.activation)(values)
        return tf.reduce_max(tf.where(counts[:, :, None], values, values.dtype.min), axis=1)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Returns the shape of what the filters, or the MLP, give."""
        units = sum(self.num_filters) if self.mlp is None else self.mlp.hidden_units[-1]
        return (input_shapes(input_shape)[0][0], units)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        return {
            **super().get_config(),
            "filter_sizes": list(self.filter_sizes),
            "num_filters": list(self.num_filters),
            "pad_sequence_length": self.pad_sequence_length,
            "activation": self.activation,
            "mlp": nested_config(self.mlp),
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
