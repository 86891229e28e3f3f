"""Activation functions by the names that configs use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from easyssl.errors import nearest

_SLOPE = 0.2  # of leaky_relu


def _gelu(x: tf.Tensor) -> tf.Tensor:
    # The cube and its gradient overflow float16 from |x| = 40 on.
    return tf.cast(_tanh_gelu(tf.cast(x, tf.float32)), x.dtype)


@tf.custom_gradient
def _tanh_gelu(x: tf.Tensor) -> Any:
    """`x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`, written as `x * sigmoid(2 ...)`.

    The gradient is the closed form, computed beside the value, so that one tensor is kept for it instead of
    the five of automatic differentiation.
    """
    scale = 2.0 * math.sqrt(2.0 / math.pi)
    argument = x * (scale + scale * 0.044715 * tf.square(x))
    passed = tf.sigmoid(argument)
    # `x` times the derivative of the argument is `3 * argument - 2 * scale * x`.
    slope = tf.raw_ops.SigmoidGrad(y=passed, dy=3.0 * argument - (2.0 * scale) * x) + passed

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * slope

    return x * passed, gradient


def _leaky_relu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.leaky_relu(x, alpha=_SLOPE)


def _softmax(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.nn.softmax(tf.cast(x, tf.float32), axis=-1), x.dtype)


_FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "linear": tf.identity,
    "relu": tf.nn.relu,
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "prelu": _leaky_relu,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "tanh": tf.nn.tanh,
    "swish": tf.nn.silu,
    "silu": tf.nn.silu,
    "sigmoid": tf.nn.sigmoid,
    "softmax": _softmax,
}
# Dotted names that mean the same as the plain ones. `tf.nn.gelu` does not: it is the exact form. It and other
# functions that expressions of configs may call are parsed.
_DOTTED = {f"tf.nn.{name}": name for name in _FUNCTIONS if name not in ("linear", "gelu", "prelu")}
_DOTTED |= {"tf.sigmoid": "sigmoid", "tf.tanh": "tanh", "none": "linear"}
_KERAS = ("elu", "linear", "relu", "selu", "sigmoid", "softmax", "swish", "tanh")
_DOTTED |= {f"tf.keras.activations.{name}": name for name in _KERAS}


def activation_names() -> tuple[str, ...]:
    """Returns the names of all activations, "dice" included."""
    return (*sorted(_FUNCTIONS), "dice")


def works_row_by_row(plain: str) -> bool:
    """Returns whether an activation, by its plain name, is known to treat each row of a batch by itself.

    "dice" has statistics of the batch, and a function of a config may have anything.
    """
    return plain in _FUNCTIONS


def canonical_activation(name: str | None) -> str:
    """Returns the plain lower-case name of an activation.

    Args:
        name: Any spelling; `None`, "" and "none" mean "linear", and `tf.nn.relu` means "relu". Or a function
            of the expression language of configs, such as `tf.nn.softplus` or
            `lambda x: x * tf.sigmoid(2.0 * x)`.

    Returns:
        One of `activation_names()`, or the text of the function.

    Raises:
        ValueError: For an unknown name, with the nearest valid one, and for a function that is not in the
            language.

    Example:
        >>> canonical_activation("ReLU"), canonical_activation(""), canonical_activation("tf.nn.relu")
        ('relu', 'linear', 'relu')
        >>> canonical_activation("tf.nn.softplus")
        'tf.nn.softplus'
    """
    text = (name or "linear").strip()
    plain = _DOTTED.get(text.lower(), text.lower())
    if plain in activation_names():
        return plain
    if not text.startswith(("tf.", "lambda ")):
        raise ValueError(f"unknown activation '{name}'{nearest(plain, activation_names())}")
    _parsed(text)
    return text


def _parsed(text: str) -> Callable[[tf.Tensor], tf.Tensor]:
    from easyssl.config.expressions import ExpressionError, parse_expression

    try:
        return parse_expression(text, ["x"])
    except ExpressionError as error:
        raise ValueError(f"unknown activation '{text}': {error.reason}") from None


def activation(name: str | None) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function of an activation that has no weights.

    "gelu" is the tanh form, "leaky_relu" and "prelu" have the fixed slope 0.2, and "softmax" is a softmax
    over the last axis (EasyRec silently takes that name for "linear").

    Args:
        name: The activation's name, in upper or lower case; `None` and "" mean "linear". Or a function, see
            `canonical_activation`.

    Returns:
        A function from tensor to tensor.

    Raises:
        ValueError: For an unknown name, and for "dice", which has weights and is the layer
            `easyssl.layers.Dice`.

    Example:
        >>> activation("leaky_relu")(tf.constant([-10.0, 2.0])).numpy().tolist()
        [-2.0, 2.0]
    """
    plain = canonical_activation(name)
    if plain == "dice":
        raise ValueError("'dice' has weights: use the layer easyssl.layers.Dice")
    return _FUNCTIONS[plain] if plain in _FUNCTIONS else _parsed(plain)
