"""A step that changes nothing on the way forward and turns gradients round on the way back."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def reverse_gradient(x: tf.Tensor, factor: float | tf.Tensor = 1.0) -> tf.Tensor:
    """Returns x; its gradient is `-factor` times the upstream gradient.

    Args:
        x: Tensor of any shape.
        factor: A number or scalar. Defaults to 1.0.

    Returns:
        A tensor equal to x.

    Example:
        >>> x = tf.constant([1.0, 2.0])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = tf.reduce_sum(3.0 * reverse_gradient(x, 0.5))
        >>> float(y), tape.gradient(y, x).numpy().tolist()
        (9.0, [-1.5, -1.5])

    References:
        Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", arXiv 1409.7495.
    """

    @tf.custom_gradient
    def reversal(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def backward(upstream: tf.Tensor) -> tf.Tensor:
            return -tf.cast(factor, upstream.dtype) * upstream

        return tf.identity(x), backward

    return reversal(tf.convert_to_tensor(x))


def dann_factor(progress: float | tf.Tensor, gamma: float = 10.0) -> tf.Tensor:
    """Returns `2 / (1 + exp(-gamma * progress)) - 1`, which rises from 0 towards 1.

    Args:
        progress: Share of the training that is done; values outside of [0, 1] count as the nearer of them.
        gamma: How steep the rise is. Defaults to 10.0.

    Returns:
        float32, like `progress`.

    Example:
        >>> [round(float(dann_factor(p)), 4) for p in (0.0, 0.1, 1.0)]
        [0.0, 0.4621, 0.9999]

    References:
        Ganin et al., "Domain-adversarial training of neural networks", arXiv 1505.07818.
    """
    progress = tf.clip_by_value(tf.cast(progress, tf.float32), 0.0, 1.0)
    return tf.tanh(progress * (gamma / 2.0))  # the same, and without a quotient
