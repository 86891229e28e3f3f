"""What attention between two sequences takes, and which steps it may see."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.functional.masking import length_mask
from easyssl.layers.building import Shape, input_shapes, last_dim


def check_attention_inputs(layer: Any, input_shape: Any) -> list[Shape]:
    """Checks the shapes of a query, a value, and if there are any, a key and the lengths of both.

    Args:
        layer: The layer, named in the error.
        input_shape: What `build` received.

    Returns:
        The shapes of query, value and key, all `[batch, steps, dim]`.

    Raises:
        ValueError: If they are other ones, or a width is not known.
    """
    shapes = input_shapes(input_shape)
    sequences = shapes[:-1] if shapes and len(shapes[-1]) == 1 else shapes
    if len(sequences) not in (2, 3) or any(len(shape) != 3 for shape in sequences):
        raise ValueError(
            f"{type(layer).__name__} '{layer.name}' takes a list of query and value and, if wanted, key, all "
            f"[batch, steps, dim], and the lengths [batch] of value and key. Received shapes: {shapes}"
        )
    for shape in sequences:
        last_dim(shape, layer)
    return [*sequences[:2], sequences[-1]]


def attention_inputs(inputs: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Returns query, value, key and the lengths of the last two, if they are given.

    Args:
        inputs: A list that `check_attention_inputs` has passed.
    """
    tensors = [tf.convert_to_tensor(x) for x in inputs]
    lengths = tensors.pop() if tensors[-1].shape.rank == 1 else None
    return tensors[0], tensors[1], tensors[-1], lengths


def value_mask(value: tf.Tensor, lengths: tf.Tensor | None, masks: Any) -> tf.Tensor | None:
    """Returns which steps of the value may be attended to.

    Args:
        value: `[batch, value_steps, dim]`.
        lengths: int `[batch]`, or None for all steps.
        masks: Keras's masks of the inputs, of which that of the value counts, or None.

    Returns:
        bool `[batch, value_steps]`, or None if that is all.
    """
    valid = None if lengths is None else length_mask(tf.cast(lengths, tf.int32), tf.shape(value)[1])
    told = masks[1] if isinstance(masks, list | tuple) and len(masks) > 1 else None
    if told is None:
        return valid
    told = tf.cast(told, tf.bool)
    return told if valid is None else told & valid


def visible_steps(valid: tf.Tensor | None, causal: bool, query: tf.Tensor, value: tf.Tensor) -> Any:
    """Returns which steps of the value each step of the query sees.

    Args:
        valid: bool `[batch, value_steps]`, or None for all.
        causal: Whether a step sees only itself and earlier ones.
        query: `[batch, query_steps, dim]`.
        value: `[batch, value_steps, dim]`.

    Returns:
        bool, broadcastable to `[batch, query_steps, value_steps]`, or None if that is all.
    """
    seen = None if valid is None else valid[:, None, :]
    if not causal:
        return seen
    earlier = tf.range(tf.shape(query)[1])[:, None] >= tf.range(tf.shape(value)[1])[None, :]
    return earlier[None] if seen is None else earlier[None] & seen


def only_valid(steps: tf.Tensor, valid: tf.Tensor | None) -> tf.Tensor:
    """Returns the steps with zeros where they are not valid, whatever was there.

    Args:
        steps: `[batch, steps, dim]`.
        valid: bool `[batch, steps]`, or None for all.
    """
    return steps if valid is None else tf.where(valid[:, :, None], steps, tf.zeros([], steps.dtype))
