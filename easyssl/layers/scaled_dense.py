"""A dense layer whose output is multiplied by a number."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def scaled_dense(dense: Any, inputs: tf.Tensor, factor: float) -> tf.Tensor:
    """Returns `factor * dense(inputs)`, with the weights multiplied in place of the output.

    Args:
        dense: A Keras `Dense` with a bias and no activation.
        inputs: `[..., dim]`.
        factor: The number.

    Returns:
        `[..., units]`.
    """
    if factor == 1.0:
        return dense(inputs)
    kernel, bias = (
        tf.cast(tf.convert_to_tensor(weight) * factor, inputs.dtype) for weight in (dense.kernel, dense.bias)
    )
    flat = tf.reshape(inputs, [-1, inputs.shape[-1]])
    output = tf.nn.bias_add(tf.matmul(flat, kernel), bias)
    return tf.reshape(output, tf.concat([tf.shape(inputs)[:-1], [dense.units]], axis=0))
