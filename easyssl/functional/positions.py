"""Positions of steps as vectors that are not learned."""

from __future__ import annotations

import math

import tensorflow as tf


def sinusoids(steps: int | tf.Tensor, dim: int) -> tf.Tensor:
    """Returns waves of falling frequency, `sin(t r_k)` side by side with `cos(t r_k)`.

    The rates are `r_k = 10000^(-k / (dim / 2))` for k from 0 to `dim / 2 - 1`: the first half of a vector
    holds the sines, the second the cosines.

    Args:
        steps: Number of positions t, from 0 on.
        dim: Width of the vectors, even.

    Returns:
        float32 `[steps, dim]`.

    Raises:
        ValueError: If `dim` is odd.

    Example:
        >>> sinusoids(2, 4).numpy().round(2).tolist()
        [[0.0, 0.0, 1.0, 1.0], [0.8399999737739563, 0.009999999776482582, 0.5400000214576721, 1.0]]

    References:
        Vaswani et al., "Attention is all you need", arXiv 1706.03762, where sines and cosines alternate.
    """
    if dim % 2:
        raise ValueError(f"`dim` must be even, for as many sines as cosines. Received: dim={dim}")
    half = dim // 2
    rates = tf.exp(tf.range(half, dtype=tf.float32) * (-math.log(10000.0) / half))
    angles = tf.cast(tf.range(steps), tf.float32)[:, None] * rates[None, :]
    return tf.concat([tf.sin(angles), tf.cos(angles)], axis=1)
