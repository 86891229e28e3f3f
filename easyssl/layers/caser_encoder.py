"""The sequence encoder of Caser."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.sequences import last_steps, read_out
from easyssl.layers.building import Shape, build_sublayer, check_positive, check_rate, last_dim
from easyssl.layers.dropout import Dropout
from easyssl.layers.encoder_inputs import check_encoder_inputs, encoder_inputs
from easyssl.registry import register


@register("CaserEncoder")
class CaserEncoder(keras.layers.Layer):
    """Encodes the last steps of a behaviour sequence by convolutions, as if they were an image.

    The image E, `[max_seq_len, dim]`, holds the last `max_seq_len` steps of a row, from the top on, and zeros
    below. It is seen by

    - vertical filters, each a weighted sum of all rows of the image: `dim` numbers;
    - horizontal filters, for each height h from 1 to `max_seq_len` as many as `num_horizontal_filters`:
      the largest value of `relu(filter . E[t : t + h])` over all t.

    Dropout of all of these, `relu(v W1 + b1)` to `output_size`, and `[z, user] W2 + b2` to `output_size`
    follow, where the user is there with `user_input` only.

    The amount of padding does not matter, and padding may hold anything. A row of length 0 gives zeros.
    Gradients reach all steps that are kept.

    The horizontal filters have `num_horizontal_filters * dim * max_seq_len^2 / 2` weights, and their cost
    grows with the third power of `max_seq_len`: 5 to 20 steps are what the method is made for. The numbers of
    filters and the dropout are RecBole's.

    Args:
        max_seq_len: How many of the last steps of a sequence are encoded.
        num_vertical_filters: Number of vertical filters. Defaults to 4.
        num_horizontal_filters: Number of horizontal filters of each height. Defaults to 8.
        output_size: Width of the output. Defaults to None, which is the width of the input.
        dropout_prob: Dropout rate of what the filters see. Defaults to 0.4.
        user_input: Whether there is a third input, a user's embedding. Such a model cannot serve users that
            it was not trained on. Defaults to False.
        kernel_regularizer: Keras regularizer of the kernels. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a size that is not positive or a rate outside of [0, 1).

    Example:
        >>> layer = CaserEncoder(max_seq_len=4)
        >>> layer([tf.random.normal([3, 5, 8]), tf.constant([5, 2, 0])]).shape
        TensorShape([3, 8])

    References:
        Tang and Wang, "Personalized top-N sequential recommendation via convolutional sequence embedding",
        arXiv 1809.07426.
    """

    def __init__(
        self,
        max_seq_len: int,
        num_vertical_filters: int = 4,
        num_horizontal_filters: int = 8,
        output_size: int | None = None,
        dropout_prob: float = 0.4,
        user_input: bool = False,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_seq_len = max_seq_len
        self.num_vertical_filters = num_vertical_filters
        self.num_horizontal_filters = num_horizontal_filters
        self.output_size = output_size
        self.dropout_prob = dropout_prob
        self.user_input = user_input
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        check_positive(
            "CaserEncoder",
            max_seq_len=max_seq_len,
            num_vertical_filters=num_vertical_filters,
            num_horizontal_filters=num_horizontal_filters,
            output_size=1 if output_size is None else output_size,
        )
        check_rate("CaserEncoder", "dropout_prob", dropout_prob)

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shapes = check_encoder_inputs(self, input_shape)
        if self.user_input and [len(shape) for shape in shapes[2:3]] != [2]:
            raise ValueError(
                f"CaserEncoder '{self.name}' takes a user's embedding [batch, dim] as its third input, "
                f"because of `user_input`. Received shapes: {shapes}"
            )
        batch, dim = shapes[0][0], last_dim(shapes[0], self)
        width = self.output_size or dim
        user = last_dim(shapes[2], self) if self.user_input else 0
        seen = dim * self.num_vertical_filters + self.max_seq_len * self.num_horizontal_filters
        self.vertical = self._dense("vertical", self.num_vertical_filters, (batch, dim, self.max_seq_len))
        self.horizontal = [
            self._convolution(height, (batch, self.max_seq_len, dim))
            for height in range(1, self.max_seq_len + 1)
        ]
        self.dropout = Dropout(self.dropout_prob, dtype=self.dtype_policy, name="dropout")
        build_sublayer(self.dropout, (batch, seen))
        self.hidden = self._dense("hidden", width, (batch, seen), "relu")
        self.output_dense = self._dense("output", width, (batch, width + user))
        super().build(input_shape)

    def _dense(self, name: str, units: int, shape: Shape, activation: str | None = None) -> Any:
        dense = keras.layers.Dense(
            units,
            activation=activation,
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )
        build_sublayer(dense, shape)
        return dense

    def _convolution(self, height: int, shape: Shape) -> Any:
        convolution = keras.layers.Conv1D(
            self.num_horizontal_filters,
            height,
            activation="relu",
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=f"horizontal_{height}",
        )
        build_sublayer(convolution, shape)
        return convolution

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Encodes.

        Args:
            inputs: A sequence `[batch, seq_len, dim]`, its lengths `[batch]` and, with `user_input`, a
                user's embedding `[batch, user_dim]`; further inputs are ignored.
            training: Whether to drop. Defaults to None, which is False.

        Returns:
            `[batch, output_size]`.
        """
        image, lengths = self._image(inputs)
        vertical = self.vertical(tf.transpose(image, [0, 2, 1]))
        features = [tf.reshape(vertical, [-1, vertical.shape[1] * vertical.shape[2]])]
        features += [tf.reduce_max(convolution(image), axis=1) for convolution in self.horizontal]
        seen = self.dropout(tf.concat(features, axis=1), training=training)
        hidden = self.hidden(seen)
        if self.user_input:
            hidden = tf.concat([hidden, tf.cast(inputs[2], hidden.dtype)], axis=1)
        encoded = self.output_dense(hidden)
        return tf.where(lengths[:, None] > 0, encoded, tf.zeros([], encoded.dtype))

    def _image(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the last steps, `[batch, max_seq_len, dim]`, and the lengths."""
        sequence, lengths = last_steps(*encoder_inputs(inputs), self.max_seq_len)
        steps = read_out(sequence, lengths, "sequence")
        image = tf.pad(steps, [[0, 0], [0, self.max_seq_len - tf.shape(steps)[1]], [0, 0]])
        return tf.ensure_shape(image, [None, self.max_seq_len, steps.shape[2]]), lengths

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        names = (
            "max_seq_len",
            "num_vertical_filters",
            "num_horizontal_filters",
            "output_size",
            "dropout_prob",
            "user_input",
        )
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
