"""Weights of losses that are learned or drawn."""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.normal import normal
from easyssl.functional.random import uniform


def uncertain(value: tf.Tensor, log_variance: tf.Tensor, squared: bool = False) -> tf.Tensor:
    """Weights a loss by its learned uncertainty.

    `exp(-s) L + s / 2`, and `exp(-s) L / 2 + s / 2` for a squared error: the smaller the variance `exp(s)`,
    the more the loss counts, and s keeps the variance from growing without bound.

    Args:
        value: The loss L, a scalar.
        log_variance: s, a learned scalar.
        squared: Whether L is a squared error. Defaults to False.

    Returns:
        float32 scalar; may be negative.

    Example:
        >>> float(uncertain(tf.constant(3.0), 0.0)), float(uncertain(tf.constant(3.0), 0.0, squared=True))
        (3.0, 1.5)

    References:
        Kendall et al., "Multi-task learning using uncertainty to weigh losses for scene geometry and
        semantics", CVPR 2018.
    """
    s = tf.cast(log_variance, tf.float32)
    value = tf.cast(value, tf.float32)
    return tf.exp(-s) * (0.5 * value if squared else value) + 0.5 * s


def normal_shares(key: tf.Tensor | None, count: int) -> list[tf.Tensor]:
    """Draws shares that add up to 1, `softmax(e_1, ..., e_n)` of standard normal numbers.

    Args:
        key: int64 `[2]` from `easyssl.functional.random.advance`; None gives equal shares.
        count: How many.

    Returns:
        float32 scalars.

    References:
        Lin et al., "Reasonable effectiveness of random weighting: a litmus test for multi-task learning",
        TMLR 2022.
    """
    if key is None:
        return [tf.constant(1.0 / count) for _ in range(count)]
    return tf.unstack(tf.nn.softmax(normal(key, [count])))


def share_of(strategy: str, key: tf.Tensor | None) -> tf.Tensor:
    """Draws the share of the first of two losses; the second has the rest.

    Args:
        strategy: `random_uniform`: uniform in [0, 1). `random_normal`: the softmax of two standard normal
            numbers. `random_bernoulli`: either loss is in or out with probability 1/2; both, or none, give
            1/2.
        key: int64 `[2]` from `easyssl.functional.random.advance`; None gives 1/2, the mean of all of them.

    Returns:
        float32 scalar.

    Example:
        >>> float(share_of("random_bernoulli", tf.constant([1, 1], tf.int64))) in (0.0, 0.5, 1.0)
        True
    """
    if key is None:
        return tf.constant(0.5)
    if strategy == "random_normal":
        return normal_shares(key, 2)[0]
    if strategy == "random_bernoulli":
        first, second = tf.unstack(tf.cast(uniform(key, [2]) < 0.5, tf.float32))
        return 0.5 + 0.5 * (first - second)
    return uniform(key, [])
