"""What the embeddings of numbers take and give."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.building import input_shapes, last_dim


def num_features(layer: Any, input_shape: Any) -> int:
    """Checks the shape of the numbers in a layer's `build`.

    Args:
        layer: The layer, named in the error.
        input_shape: What `build` received.

    Returns:
        The number of columns.

    Raises:
        ValueError: For anything but one matrix with a known number of columns.
    """
    shapes = input_shapes(input_shape)
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(
            f"{type(layer).__name__} '{layer.name}' takes numbers [batch, num_features]. "
            f"Received shapes: {shapes}"
        )
    return last_dim(shapes[0], layer)


def float32_weight(layer: Any, name: str, shape: tuple[int, ...], initializer: Any) -> Any:
    """Adds a weight that is read in float32 under every dtype policy.

    Args:
        layer: The layer that owns it.
        name: The weight's name.
        shape: The weight's shape.
        initializer: Keras initializer.

    Returns:
        The weight.
    """
    option = "autocast" if hasattr(keras, "ops") else "experimental_autocast"
    return layer.add_weight(
        name=name, shape=shape, initializer=initializer, dtype="float32", **{option: False}
    )


def joined(embedded: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, num_features * dim]` of `[batch, num_features, dim]`."""
    return tf.reshape(embedded, [-1, embedded.shape[1] * embedded.shape[2]])


def number_outputs(embedded: tf.Tensor, as_list: bool, as_3d: bool) -> Any:
    """Returns embeddings in the form that was asked for.

    Args:
        embedded: `[batch, num_features, dim]`.
        as_list: Whether a list of vectors is wanted, too; goes before `as_3d`.
        as_3d: Whether `embedded` is wanted, too.

    Returns:
        `[batch, num_features * dim]`, or a tuple of that and either a list of `[batch, dim]` or `embedded`.
    """
    if as_list:
        return joined(embedded), tf.unstack(embedded, axis=1)
    return (joined(embedded), embedded) if as_3d else joined(embedded)
