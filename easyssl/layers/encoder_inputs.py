"""What the encoders of sequences take and return."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.errors import nearest
from easyssl.functional.sequences import READOUTS
from easyssl.layers.building import Shape, input_shapes, last_dim


def check_readout(layer: str, output: str) -> None:
    """Raises `ValueError` unless `output` names a readout.

    Args:
        layer: The layer's class, named in the error.
        output: The name.

    Raises:
        ValueError: With the nearest valid name.
    """
    if output not in READOUTS:
        raise ValueError(f"{layer}: unknown output '{output}'{nearest(output, READOUTS)}")


def check_encoder_inputs(layer: Any, input_shape: Any) -> list[Shape]:
    """Checks the shapes of an encoder's inputs in its `build`.

    Args:
        layer: The layer, named in the error.
        input_shape: What `build` received.

    Returns:
        The shapes of the sequence, `[batch, seq_len, dim]`, of the lengths, `[batch]`, and of all further
        inputs.

    Raises:
        ValueError: If they are other ones, or `dim` is not known.
    """
    shapes = input_shapes(input_shape)
    if [len(shape) for shape in shapes[:2]] != [3, 1]:
        raise ValueError(
            f"{type(layer).__name__} '{layer.name}' takes a sequence [batch, seq_len, dim] and lengths "
            f"[batch]. Received shapes: {shapes}"
        )
    last_dim(shapes[0], layer)
    return shapes


def encoder_inputs(inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the sequence and its lengths, int32 and within 0 .. seq_len.

    Args:
        inputs: A list or tuple that begins with them.
    """
    sequence = tf.convert_to_tensor(inputs[0])
    return sequence, tf.clip_by_value(tf.cast(inputs[1], tf.int32), 0, tf.shape(sequence)[1])
