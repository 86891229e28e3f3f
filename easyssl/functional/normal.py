"""Normal random numbers, made of the uniform ones that a restored checkpoint continues exactly."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from easyssl.functional.random import uniform


def normal(key: tf.Tensor, shape: Any) -> tf.Tensor:
    """Draws standard normal float32 numbers, by the method of Box and Muller.

    The numbers are, up to rounding, a function of the key and of the position in row-major order only: a draw
    with a longer first axis begins with the draw of a shorter one. None is farther than 5.8 from 0.

    Args:
        key: int64 `[2]` from `advance`, or any pair of non-negative numbers.
        shape: Shape of the result, static or dynamic.

    Returns:
        float32 tensor of that shape.

    Example:
        >>> numbers = normal(tf.constant([2020, 1], tf.int64), [10000])
        >>> bool(abs(tf.reduce_mean(numbers)) < 0.05), bool(abs(tf.math.reduce_std(numbers) - 1) < 0.05)
        (True, True)
    """
    shape = tf.convert_to_tensor(shape, tf.int32)
    pairs = uniform(key, tf.concat([shape, [2]], axis=0))
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - pairs[..., 0]))  # 1 - u is never 0
    return radius * tf.cos(2.0 * math.pi * pairs[..., 1])
