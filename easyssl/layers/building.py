"""What the layers share: shapes of nested inputs, and sublayers with stable names."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest

Shape = tuple[int | None, ...]


def input_shapes(input_shape: Any) -> list[Shape]:
    """Returns the shapes of a layer's inputs, whatever form `build` received them in.

    Args:
        input_shape: One shape, or a list or tuple of shapes; each a `tf.TensorShape`, tuple or list. An input
            that is None has no shape and is left out.

    Returns:
        One tuple per input.

    Example:
        >>> input_shapes((None, 8)), input_shapes([[None, 5, 8], (None,)])
        ([(None, 8)], [(None, 5, 8), (None,)])
    """
    several = isinstance(input_shape, list | tuple) and any(
        isinstance(item, list | tuple | tf.TensorShape) for item in input_shape
    )
    shapes = input_shape if several else [input_shape]
    known = [tf.TensorShape(shape) for shape in shapes if shape is not None]
    return [tuple(shape.as_list()) for shape in known if shape.rank is not None]


def last_dim(shape: Shape, layer: Any) -> int:
    """Returns the static last dimension of a shape.

    Args:
        shape: The input's shape.
        layer: The layer, named in the error.

    Returns:
        The dimension.

    Raises:
        ValueError: If it is not known.
    """
    if not shape or shape[-1] is None:
        raise ValueError(
            f"{type(layer).__name__} '{layer.name}' needs an input whose last dimension is known. "
            f"Received: shape={shape}"
        )
    return int(shape[-1])


def fit_together(*dims: int | None) -> bool:
    """Returns whether the dimensions that are known are equal.

    Args:
        *dims: Static dimensions; None where one is not known.

    Returns:
        True if they may be one dimension.

    Example:
        >>> fit_together(8, None, 8), fit_together(8, 4)
        (True, False)
    """
    return len(set(dims) - {None}) <= 1


def build_sublayer(layer: Any, shape: Shape | list[Shape]) -> None:
    """Builds a sublayer inside its parent's `build`, so that its weights exist and carry its name.

    Args:
        layer: The sublayer.
        shape: Its input shape, or those of its inputs.
    """
    with tf.name_scope(layer.name):  # Keras 3 opens its own scope; tf_keras only does so in `__call__`
        layer.build(shape)


_INITIALIZERS = (
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "variance_scaling",
    "zeros",
)


def get_initializer(layer: str, value: Any) -> Any:
    """Returns a Keras initializer.

    Args:
        layer: The layer's class, named in the error.
        value: Its name, its config, or the initializer.

    Raises:
        ValueError: If Keras has none of this name, with the nearest one.

    Example:
        >>> get_initializer("MLP", "he_unifrom")
        Traceback (most recent call last):
        ValueError: MLP: unknown initializer 'he_unifrom'; did you mean 'he_uniform'?
    """
    try:
        return keras.initializers.get(value)
    except ValueError:
        if not isinstance(value, str):
            raise
        raise ValueError(f"{layer}: unknown initializer '{value}'{nearest(value, _INITIALIZERS)}") from None


def check_rate(layer: str, name: str, value: float) -> None:
    """Raises `ValueError` unless a dropout rate is in [0, 1).

    Args:
        layer: The layer's class, named in the error.
        name: The parameter's name.
        value: Its value.

    Raises:
        ValueError: With what was received.
    """
    if not 0 <= value < 1:
        raise ValueError(f"{layer}: `{name}` must be in [0, 1). Received: {name}={value}")


def check_positive(layer: str, **values: int) -> None:
    """Raises `ValueError` unless all values are whole and positive.

    Args:
        layer: The layer's class, named in the error.
        **values: Parameters by name.

    Raises:
        ValueError: With what was received.
    """
    for name, value in values.items():
        if isinstance(value, bool) or value != int(value) or value < 1:
            raise ValueError(f"{layer}: `{name}` must be a positive integer. Received: {name}={value!r}")


def check_not_negative(layer: str, **values: int) -> None:
    """Raises `ValueError` unless all values are whole and not negative.

    Args:
        layer: The layer's class, named in the error.
        **values: Parameters by name.

    Raises:
        ValueError: With what was received.
    """
    for name, value in values.items():
        if isinstance(value, bool) or value != int(value) or value < 0:
            raise ValueError(f"{layer}: `{name}` must be an integer >= 0. Received: {name}={value!r}")


def check_longest(layer: Any, lengths: tf.Tensor, limit: int, parameter: str) -> None:
    """Raises if a sequence is longer than a layer is made for; only when executed eagerly.

    Inside of a graph nothing is checked, because an assertion has no GPU kernel; `easyssl check` warns of it.

    Args:
        layer: The layer, named in the error.
        lengths: int `[batch]`.
        limit: Length of the longest allowed sequence.
        parameter: The constructor's parameter that sets the limit.

    Raises:
        tf.errors.InvalidArgumentError: With the layer and the limit.
    """
    if tf.executing_eagerly():
        message = (
            f"{type(layer).__name__} '{layer.name}': a sequence is longer than {parameter}={limit}; "
            "set max_seq_len of its features, or raise that"
        )
        tf.debugging.assert_less_equal(tf.cast(lengths, tf.int64), tf.constant(limit, tf.int64), message)
