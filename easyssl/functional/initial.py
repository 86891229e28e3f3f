"""Limits of initial values for weights that hold several matrices."""

from __future__ import annotations

import math


def glorot_limit(fan_in: int, fan_out: int) -> float:
    """Returns the limit of Glorot's uniform initializer for one matrix.

    Keras's own initializers take the leading axes of a weight for those of a convolution, so that matrices
    which are stacked in one weight would start too small.

    Args:
        fan_in: Number of values that enter one output.
        fan_out: Number of outputs that one value enters.

    Returns:
        `sqrt(6 / (fan_in + fan_out))`.

    Example:
        >>> glorot_limit(3, 3)
        1.0

    References:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
        AISTATS 2010, equation 16.
    """
    return math.sqrt(6.0 / (fan_in + fan_out))
