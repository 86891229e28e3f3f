"""Which fields of a row a view hides: at random, or together with the fields that tell the same.

Yao et al., "Self-supervised learning for large-scale item recommendations", CIKM 2021, section 4.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def default_num_masked(num_fields: int, correlated: bool) -> int:
    """Returns how many fields the first view hides.

    Half of them; with correlations a seed field and half of the others, but never all.

    Args:
        num_fields: How many fields there are, at least 2.
        correlated: Whether masks are groups of correlated fields.

    Returns:
        A number from 1 to `num_fields - 1`.

    Example:
        >>> [default_num_masked(k, True) for k in (2, 3, 4, 5)], default_num_masked(5, False)
        ([1, 2, 3, 3], 2)
    """
    half = num_fields // 2
    return min(half, num_fields - 2) + 1 if correlated else half


def correlated_masks(mutual_information: np.ndarray, num_masked: int) -> np.ndarray:
    """Returns the fields that each seed field hides: itself and those that tell most about it.

    Args:
        mutual_information: `[fields, fields]`; the diagonal does not matter.
        num_masked: How many fields a mask has, the seed included.

    Returns:
        bool `[fields, fields]`, a row for each seed. Ties go to the field that comes first.

    Example:
        >>> information = np.array([[9, 1, 2], [1, 9, 0], [2, 0, 9]])
        >>> correlated_masks(information, 2).astype(int).tolist()
        [[1, 0, 1], [1, 1, 0], [1, 0, 1]]
    """
    scores = np.array(mutual_information, np.float64)
    np.fill_diagonal(scores, np.inf)  # the seed comes first, so it is always in its own mask
    order = np.argsort(-scores, axis=1, kind="stable")
    masks = np.zeros(scores.shape, bool)
    np.put_along_axis(masks, order[:, :num_masked], True, axis=1)
    return masks


def draw_random_mask(draws: tf.Tensor, num_masked: int) -> tf.Tensor:
    """Chooses fields to hide, every choice of so many being equally likely.

    Args:
        draws: float32 `[fields]` in [0, 1).
        num_masked: How many fields to choose.

    Returns:
        bool `[fields]`.
    """
    rank = tf.argsort(tf.argsort(draws, stable=True), stable=True)  # the inverse of a permutation
    return rank < num_masked


def draw_correlated_mask(draw: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Chooses a seed field uniformly and hides its group.

    Args:
        draw: float32 scalar in [0, 1).
        masks: bool `[fields, fields]` from `correlated_masks`.

    Returns:
        bool `[fields]`.
    """
    fields = tf.shape(masks)[0]
    seed = tf.minimum(tf.cast(draw * tf.cast(fields, tf.float32), tf.int32), fields - 1)
    return tf.gather(masks, seed)
