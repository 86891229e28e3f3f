"""Order of the probabilities of tasks."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from easyssl.losses.reduction import flat, mean_of_nonzero


def order_calibration(
    labels: tf.Tensor | None,
    probs: tf.Tensor,
    weights: tf.Tensor | None = None,
    others: Sequence[tf.Tensor] = (),
) -> tf.Tensor:
    """`sum_r mean(max(0, p - p_r))`: a task may not be more probable than those that it depends on.

    Args:
        labels: Not used.
        probs: p `[batch]`, the probability of a task.
        weights: `[batch]`. Defaults to None.
        others: p_r `[batch]` of each task that it depends on; none by default.

    Returns:
        float32 scalar; 0 without others.

    Example:
        >>> buys, clicks = tf.constant([0.5, 0.1]), tf.constant([0.25, 0.5])
        >>> float(order_calibration(None, buys, others=[clicks]))
        0.125
    """
    excess = [tf.nn.relu(flat(probs) - flat(other)) for other in others]
    return tf.add_n([tf.zeros([]), *(mean_of_nonzero(each, weights) for each in excess)])
