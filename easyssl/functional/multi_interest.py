"""Several interests per row: which steps they stand for, how well they keep them, how they are read out.

An interest z_k is a weighted sum over the steps x_i of a sequence, with attention a_ki. Everything is
computed in float32 for any input dtype.
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.masking import EXCLUDED, masked_softmax, reduced
from easyssl.functional.selection import first_argmax

# The logarithm of an attention weight below this is that of this.
_SMALLEST = 1e-30
# A difference in the last bit of e^30 still makes a softmax choose one entry.
_LARGEST_EXPONENT = 30.0


def interest_positives(attention: tf.Tensor, valid: tf.Tensor, threshold: float | None = None) -> tf.Tensor:
    """Returns which steps an interest stands for: valid ones with more attention than a threshold.

    Without a constant threshold it is 1 / n for a row with n valid steps. The comparison is strict: evenly
    spread attention, and so a row with one step, gives no positives.

    Args:
        attention: float32 `[batch, num_interests, seq_len]`, over valid steps a distribution.
        valid: bool `[batch, seq_len]`.
        threshold: A constant threshold. Defaults to None, which is 1 / n.

    Returns:
        bool `[batch, num_interests, seq_len]`; no gradient flows.

    Example:
        >>> attention = tf.constant([[[0.7, 0.3, 0.0], [0.5, 0.5, 0.0]]])
        >>> interest_positives(attention, tf.constant([[True, True, False]])).numpy().tolist()
        [[[True, False, False], [False, False, False]]]
    """
    if threshold is None:
        count = tf.reduce_sum(tf.cast(valid, tf.float32), axis=1)
        limit = 1.0 / tf.maximum(count, 1.0)[:, None, None]
    else:
        limit = tf.constant(threshold, tf.float32)
    return valid[:, None, :] & (tf.stop_gradient(tf.cast(attention, tf.float32)) > limit)


def re_attend(
    interests: tf.Tensor,
    attention: tf.Tensor,
    items: tf.Tensor,
    valid: tf.Tensor,
    *,
    target: str = "retrieval",
    target_stop_gradient: bool = False,
    reduction: str = "mean",
) -> tf.Tensor:
    """Cross entropy between attention and what the interest would retrieve from the sequence.

    The retrieval distribution is `r_k = softmax_i(z_k . x_i)` over the valid steps. With it as the target the
    loss is `-sum_i r_ki log a_ki`, with the attention as the target `-sum_i a_ki log r_ki`; averaged over
    interests and rows with a valid step, or added up.

    Args:
        interests: `[batch, num_interests, dim]`.
        attention: float32 `[batch, num_interests, seq_len]`, over valid steps a distribution.
        items: `[batch, seq_len, dim]`.
        valid: bool `[batch, seq_len]`.
        target: "retrieval" or "attention". Defaults to "retrieval".
        target_stop_gradient: Whether the target is constant. Defaults to False.
        reduction: "mean" or "sum" over interests and rows. Defaults to "mean".

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown reduction.

    Example:
        >>> interests, attention = tf.zeros([1, 1, 2]), tf.constant([[[0.5, 0.5]]])
        >>> round(float(re_attend(interests, attention, tf.ones([1, 2, 2]), tf.constant([[True, True]]))), 4)
        0.6931

    References:
        Zhang et al., "Re4: learning to re-contrast, re-attend, re-construct for multi-interest
        recommendation", arXiv 2208.08011.
    """
    mask = valid[:, None, :]
    interests, items = tf.cast(interests, tf.float32), tf.cast(items, tf.float32)
    scores = tf.einsum("bkd,bld->bkl", interests, items)
    attention = tf.cast(attention, tf.float32)
    if target == "retrieval":
        goal, log_prediction = masked_softmax(scores, mask), tf.math.log(tf.maximum(attention, _SMALLEST))
    else:
        goal, log_prediction = attention, tf.nn.log_softmax(tf.where(mask, scores, EXCLUDED))
    if target_stop_gradient:
        goal = tf.stop_gradient(goal)
    losses = -tf.reduce_sum(tf.where(mask, goal * log_prediction, 0.0), axis=-1)
    rows = tf.broadcast_to(tf.reduce_any(valid, axis=1, keepdims=True), tf.shape(losses))
    return reduced(losses, tf.cast(rows, tf.float32), reduction)


def reconstruction_error(
    rebuilt: tf.Tensor,
    items: tf.Tensor,
    positives: tf.Tensor,
    *,
    over: tf.Tensor | None = None,
    reduction: str = "mean",
) -> tf.Tensor:
    """Squared error of the steps that interests stand for.

    `sum_k sum_j [j positive of k] * |rebuilt_kj - x_j|^2`, or, as a mean, that divided by dim and the number
    of positives, or by dim and the number of all pairs of interests and steps in `over`.

    Args:
        rebuilt: `[batch, num_interests, seq_len, dim]`.
        items: `[batch, seq_len, dim]`.
        positives: bool `[batch, num_interests, seq_len]`.
        over: bool `[batch, seq_len]`, the steps that the mean is over with every interest; those that are no
            positives count as 0. Defaults to None, which is over the positives only.
        reduction: "mean" or "sum". Defaults to "mean".

    Returns:
        float32 scalar; 0 without positives.

    Raises:
        ValueError: For an unknown reduction.

    Example:
        >>> positives = tf.constant([[[True, False]]])
        >>> float(reconstruction_error(tf.zeros([1, 1, 2, 3]), tf.ones([1, 2, 3]), positives))
        1.0
    """
    difference = tf.cast(rebuilt, tf.float32) - tf.cast(items, tf.float32)[:, None]
    # Where nothing counts the difference is 0, whatever is there.
    difference = tf.where(positives[..., None], difference, 0.0)
    squares = tf.reduce_sum(tf.square(difference), axis=-1)
    if reduction == "mean":
        squares /= tf.cast(tf.shape(difference)[-1], tf.float32)
    counted = positives if over is None else tf.broadcast_to(over[:, None], tf.shape(squares))
    return reduced(squares, tf.cast(counted, tf.float32), reduction)


def read_interest(interests: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Picks for each target the interest with the largest dot product; the first one of equals.

    Args:
        interests: `[batch, num_interests, dim]`.
        targets: `[batch, num_targets, dim]`.

    Returns:
        `[batch, num_targets, dim]` in the dtype of the interests. The gradient reaches only the interest that
        is picked; the choice has none.

    Example:
        >>> interests = tf.constant([[[1.0, 0.0], [0.0, 2.0]]])
        >>> read_interest(interests, tf.constant([[[3.0, 1.0], [1.0, 1.0], [2.0, 1.0]]])).numpy().tolist()
        [[[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]]]
    """
    scores = tf.einsum("bkd,bnd->bnk", tf.cast(interests, tf.float32), tf.cast(targets, tf.float32))
    chosen = tf.one_hot(first_argmax(scores), tf.shape(interests)[1], dtype=interests.dtype)
    return tf.einsum("bnk,bkd->bnd", chosen, interests)


def max_scores(interests: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Scores candidates for retrieval: `max_k z_k . e_i`.

    The largest ones of a row are those of the merged lists of its interests.

    Args:
        interests: `[batch, num_interests, dim]`, with a known number of interests.
        items: `[num_items, dim]`, the same candidates for all rows.

    Returns:
        float32 `[batch, num_items]`.

    Example:
        >>> max_scores(tf.constant([[[1.0, 0.0], [0.0, 2.0]]]), tf.eye(2)).numpy().tolist()
        [[1.0, 2.0]]
    """
    items = tf.cast(items, tf.float32)
    first, *others = tf.unstack(tf.cast(interests, tf.float32), axis=1)
    best = tf.matmul(first, items, transpose_b=True)
    # One interest at a time: the scores of all of them would be num_interests times the result.
    for interest in others:
        best = tf.maximum(best, tf.matmul(interest, items, transpose_b=True))
    return best


def label_aware_interest(interests: tf.Tensor, targets: tf.Tensor, power: float) -> tf.Tensor:
    """Mixes for each target the interests, the more of one the more it is like the target.

    With s_k = z_k . e, the weights are `softmax_k(s_k^power)`, where a negative s keeps its sign,
    `-|s|^power`, so that a larger one never weighs less. 0 gives the mean of the interests, 1 the usual
    attention. As the power grows, the choice becomes that of `read_interest` where the largest s is above 1,
    and the mean where all are below, as the paper's formula has it.

    Args:
        interests: `[batch, num_interests, dim]`.
        targets: `[batch, num_targets, dim]`.
        power: The exponent, from 0 on.

    Returns:
        `[batch, num_targets, dim]` in the dtype of the interests. The gradient reaches interests and targets,
        through the weights, too.

    Example:
        >>> interests = tf.constant([[[1.0, 0.0], [0.0, 2.0]]])
        >>> mixed = label_aware_interest(interests, tf.constant([[[1.0, 1.0]]]), 2.0)  # exp(1), exp(4)
        >>> [round(float(x), 4) for x in mixed[0, 0]]
        [0.0474, 1.9051]

    References:
        Li et al., "Multi-interest network with dynamic routing for recommendation at Tmall", arXiv
        1904.08030, section 3.5.
    """
    scores = tf.einsum("bkd,bnd->bnk", tf.cast(interests, tf.float32), tf.cast(targets, tf.float32))
    weights = tf.cast(tf.nn.softmax(_powers(scores, power)), interests.dtype)
    return tf.einsum("bnk,bkd->bnd", weights, interests)


def _powers(scores: tf.Tensor, power: float) -> tf.Tensor:
    """Returns powers for a softmax: as they are up to e^30, else shrunk alike until the largest fits."""
    if power == 0:
        return scores * 0.0
    logs = power * tf.math.log(tf.maximum(tf.abs(scores), _SMALLEST))
    best = tf.reduce_max(scores, axis=-1, keepdims=True)
    excess = power * tf.math.log(tf.maximum(tf.abs(best), _SMALLEST)) - _LARGEST_EXPONENT
    # Only negative scores can be larger in size than the best one.
    logs = tf.minimum(logs - tf.maximum(excess, 0.0), 2 * _LARGEST_EXPONENT)
    return tf.sign(scores) * tf.exp(logs)
