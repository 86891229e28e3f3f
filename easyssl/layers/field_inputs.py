"""Inputs of layers that work on fields: one vector for each feature of a row."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.layers.building import input_shapes, last_dim


def field_widths(layer: Any, input_shape: Any) -> list[int]:
    """Checks the shapes of fields in a layer's `build`.

    Args:
        layer: The layer, named in the error.
        input_shape: What `build` received: of a list of `[batch, dim]`, or of one tensor
            `[batch, num_fields, dim]`.

    Returns:
        The width of each field.

    Raises:
        ValueError: For other inputs, such as fields that were joined to one matrix.
    """
    shapes = input_shapes(input_shape)
    several = isinstance(input_shape, list | tuple) and any(
        isinstance(item, list | tuple | tf.TensorShape) for item in input_shape
    )
    if not several and len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] is not None:
        return [last_dim(shapes[0], layer)] * shapes[0][1]
    if not several or not shapes or any(len(shape) != 2 for shape in shapes):
        raise ValueError(
            f"{type(layer).__name__} '{layer.name}' takes a list of fields [batch, dim], or one tensor "
            f"[batch, num_fields, dim]. Received shapes: {shapes}"
        )
    return [last_dim(shape, layer) for shape in shapes]


def equal_field_widths(layer: Any, input_shape: Any) -> list[int]:
    """Returns what `field_widths` does, and checks that all fields have one width.

    Args:
        layer: The layer, named in the error.
        input_shape: What `build` received.

    Returns:
        The width of each field.

    Raises:
        ValueError: For other inputs and for fields of different widths.
    """
    widths = field_widths(layer, input_shape)
    if len(set(widths)) > 1:
        raise ValueError(
            f"{type(layer).__name__} '{layer.name}' needs fields of one width. Received widths: {widths}"
        )
    return widths


def field_list(inputs: Any) -> list[tf.Tensor]:
    """Returns fields as a list of `[batch, dim]`, from such a list or from `[batch, num_fields, dim]`."""
    return list(inputs) if isinstance(inputs, list | tuple) else tf.unstack(inputs, axis=1)


def stacked_fields(inputs: Any) -> tf.Tensor:
    """Returns fields as `[batch, num_fields, dim]`, from such a tensor or a list of `[batch, dim]`."""
    return tf.stack(list(inputs), axis=1) if isinstance(inputs, list | tuple) else inputs
