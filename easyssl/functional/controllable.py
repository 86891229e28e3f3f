"""Lists whose items come from more than one category."""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.selection import first_argmax

_NEVER = float("-inf")


def choose_diverse(
    scores: tf.Tensor, categories: tf.Tensor, *, k: int, diversity: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses a list of candidates, one after the other, by score and by how new the category is.

    Each step takes the candidate with the largest `score_i + diversity * sum_j [category_i != category_j]`
    over the candidates j that are on the list already, the first one of equals: ComiRec's controllable
    aggregation. What is compared is `score_i - diversity * (chosen ones of i's category)`, the same but for a
    constant. 0 gives the best k by score; the larger the number, the more categories there are.

    Args:
        scores: `[users, candidates]`; -inf for no candidate.
        categories: int `[users, candidates]`; a number below 0 means that the category is not known, and
            differs from all others.
        k: Length of the list, at least 1.
        diversity: What an item of another category is worth, from 0 on.

    Returns:
        Where the chosen candidates are, int32 `[users, k]`, in the order of the choice, -1 where there are no
        more; and their scores, float32 `[users, k]`, -inf where there are no more. No gradient flows.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> scores, categories = tf.constant([[5.0, 4.0, 3.0, 1.0]]), tf.constant([[7, 7, 8, 9]])
        >>> choose_diverse(scores, categories, k=3, diversity=1.5)[0].numpy().tolist()
        [[0, 2, 1]]

    References:
        Cen et al., "Controllable multi-interest framework for recommendation", arXiv 2005.09347, section 3.4.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1. Received: {k}")
    if not 0 <= diversity < float("inf"):
        raise ValueError(f"`diversity` must be a number from 0 on. Received: {diversity}")
    # One more candidate that is none, so that there is always one.
    scores = tf.pad(tf.stop_gradient(tf.cast(scores, tf.float32)), [[0, 0], [0, 1]], constant_values=_NEVER)
    categories = tf.pad(tf.convert_to_tensor(categories), [[0, 0], [0, 1]], constant_values=-1)
    shape = tf.shape(scores)
    places = tf.range(shape[1])[None, :]

    def step(
        number: tf.Tensor, left: tf.Tensor, chosen: tf.Tensor, values: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        place = first_argmax(left)
        taken = places == place[:, None]
        there = tf.reduce_any(taken & (left > _NEVER), axis=1)
        own = tf.reduce_max(tf.where(taken, categories, tf.cast(-1, categories.dtype)), axis=1)[:, None]
        alike = (categories == own) & (own >= 0)
        left = tf.where(taken, _NEVER, left - diversity * tf.cast(alike, tf.float32))
        value = tf.reduce_max(tf.where(taken, scores, _NEVER), axis=1)
        column = tf.range(k)[None, :] == number
        chosen = tf.where(column & there[:, None], place[:, None], chosen)
        values = tf.where(column & there[:, None], value[:, None], values)
        return number + 1, left, chosen, values

    empty = tf.stack([shape[0], k])
    _, _, chosen, values = tf.while_loop(
        lambda number, *_: number < k,
        step,
        (tf.constant(0), scores, tf.fill(empty, -1), tf.fill(empty, _NEVER)),
        shape_invariants=(
            tf.TensorShape([]),
            scores.shape,
            tf.TensorShape([scores.shape[0], None]),
            tf.TensorShape([scores.shape[0], None]),
        ),
        parallel_iterations=1,
    )
    return tf.ensure_shape(chosen, [scores.shape[0], k]), tf.ensure_shape(values, [scores.shape[0], k])
