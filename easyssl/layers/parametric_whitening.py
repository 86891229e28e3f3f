"""A learned whitening of vectors."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.whitening import whiten, whitening_map
from easyssl.layers.building import build_sublayer, check_positive, check_rate, input_shapes, last_dim
from easyssl.layers.dropout import Dropout
from easyssl.registry import register


@register("ParametricWhitening")
class ParametricWhitening(keras.layers.Layer):
    """Subtracts a trained shift and applies a trained kernel: `(dropout(x) - b) W`.

    There is no output bias and no activation. The shift starts at 0 and the kernel normal with a standard
    deviation of 0.02; as long as both are only trained, nothing makes the output white. `adapt` computes them
    from data, after which the output has mean 0 and covariance I on these data; training goes on from there.

    Each vector, and each step of a sequence, is mapped on its own. Masks pass through. Gradients reach the
    input, the shift and the kernel. UniSRec has a dropout of 0.2.

    Args:
        units: Output width.
        dropout: Rate of the dropout on the input, while training. Defaults to 0.0.
        seed: Seed of the dropout; None takes one that `keras.utils.set_random_seed` determines. Defaults to
            None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If the width is not positive or the rate not in [0, 1).

    Example:
        >>> layer = ParametricWhitening(2)
        >>> data = tf.constant([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, -3.0, 0.0]])
        >>> layer.adapt(data)
        >>> white = layer(data)
        >>> [[round(float(x), 4) + 0.0 for x in row] for row in tf.matmul(white, white, transpose_a=True) / 4]
        [[1.0, 0.0], [0.0, 1.0]]

    References:
        Hou et al., "Towards universal sequence representation learning for recommender systems", KDD 2022;
        Huang et al., "WhiteningBERT", arXiv 2104.01767.
    """

    def __init__(self, units: int, dropout: float = 0.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.dropout = dropout
        self.seed = seed
        self.supports_masking = True
        check_positive("ParametricWhitening", units=units)
        check_rate("ParametricWhitening", "dropout", dropout)
        self.drop = Dropout(dropout, seed, dtype=self.dtype_policy, name="dropout") if dropout > 0 else None

    def build(self, input_shape: Any) -> None:
        """Creates shift and kernel."""
        (shape,) = input_shapes(input_shape)
        width = last_dim(shape, self)
        self.shift = self.add_weight(name="shift", shape=(width,), initializer="zeros")
        normal = keras.initializers.RandomNormal(stddev=0.02)
        self.kernel = self.add_weight(name="kernel", shape=(width, self.units), initializer=normal)
        if self.drop is not None:
            build_sublayer(self.drop, shape)
        super().build(input_shape)

    def adapt(self, data: tf.Tensor, method: Literal["pca", "zca"] = "pca", epsilon: float = 1e-5) -> None:
        """Sets shift and kernel so that data come out with mean 0 and covariance I.

        Args:
            data: `[rows, in_dim]`, such as the vectors of all items.
            method: "pca", the directions of most variance, or "zca", for which `units` must be `in_dim`.
                Defaults to "pca".
            epsilon: Added to the eigenvalues of the covariance. Defaults to 1e-05.

        Raises:
            ValueError: If the data do not fit; see `easyssl.functional.whitening.whitening_map`.
        """
        data = tf.convert_to_tensor(data)
        shift, kernel = whitening_map(data, self.units, method, epsilon)
        if not self.built:
            build_sublayer(self, (None, *data.shape[1:]))
        for weight, value in ((self.shift, shift), (self.kernel, kernel)):
            weight.assign(tf.cast(value, tf.as_dtype(weight.dtype)))

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the last axis.

        Args:
            inputs: `[..., in_dim]`.
            training: Whether to drop entries. Defaults to None, which is False.

        Returns:
            `[..., units]`.
        """
        x = tf.convert_to_tensor(inputs)
        if self.drop is not None:
            x = self.drop(x, training=training)
        return whiten(x, tf.cast(self.shift, x.dtype), tf.cast(self.kernel, x.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape with the output's width."""
        (shape,) = input_shapes(input_shape)
        return (*shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "dropout": self.dropout,
            "seed": self.seed,
        }
