"""Contrastive losses: InfoNCE in the forms that papers use under one name, and that give different numbers.

All of them work in float32 for any input dtype, average over rows, or add them up with `reduction="sum"`, and
are exactly 0 with zero gradient for a batch of one. They never form `exp(positive) / sum(exp)`; the log of it
overflows at small temperatures.

Three arguments mean the same everywhere. A row whose `weights` entry is 0 counts for nothing, not even as a
negative. Rows of equal `ids` are no negatives of each other. With `cross_replica`, the rows of all replicas
of a distribution strategy are candidates, gradients flow back to where they came from, and the mean or the
sum is over the rows of all replicas: every replica returns the loss of the whole batch, and where the step
adds the gradients of replicas whose factors add up to 1, as training with several devices does, the result is
the gradient of that loss.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.functional.masking import EXCLUDED, reduced
from easyssl.functional.replicas import first_row, gather_rows
from easyssl.functional.similarity import comparable, similarities


def one_way(
    anchors: tf.Tensor,
    candidates: tf.Tensor,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
    ids: tf.Tensor | None = None,
    log_probabilities: tf.Tensor | None = None,
    cross_replica: bool = False,
    reduction: str = "mean",
) -> tf.Tensor:
    """InfoNCE in one direction: anchor i has to find candidate i among all candidates of the batch.

    `mean_i -log softmax_j(sim(anchor_i, candidate_j) / temperature - log p_j)[i]`; see van den Oord et al.,
    "Representation learning with contrastive predictive coding", arXiv 1807.03748. The term `log p_j` makes
    up for candidates that come in proportion to p instead of uniformly; see Yi et al.,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys 2019.

    Args:
        anchors: `[batch, dim]`.
        candidates: `[batch, dim]`.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        weights: `[batch]`, the weight of each row. A row of weight 0 is no negative either. Defaults to None.
        ids: `[batch]`; candidates with the anchor's id are no negatives. Defaults to None.
        log_probabilities: `[batch]`, log p of each candidate; no gradient flows. Defaults to None.
        cross_replica: Whether candidates of other replicas are negatives, too. Defaults to False.
        reduction: What becomes of the losses of the rows: "mean" or "sum". Defaults to "mean".

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or reduction, or a temperature that is not positive.

    Example:
        >>> x = tf.eye(2)
        >>> round(float(one_way(x, x)), 6)  # log(e + 1) - 1
        0.313262
        >>> float(one_way(x, x, ids=tf.constant([7, 7])))
        0.0
    """
    logits = similarities(anchors, _pool(candidates, cross_replica), similarity, temperature)
    if log_probabilities is not None:
        correction = tf.stop_gradient(tf.cast(log_probabilities, tf.float32))
        logits -= _pool(correction, cross_replica)[None, :]
    size, pool = tf.shape(logits)[0], tf.shape(logits)[1]
    labels, negatives = _negatives(size, pool, weights, ids, cross_replica)
    if weights is not None or ids is not None:
        logits = _exclude(logits, negatives | _is(labels, pool))
    return reduced(_cross_entropy(logits, labels), weights, reduction, cross_replica=cross_replica)


def symmetric(
    left: tf.Tensor,
    right: tf.Tensor,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
    ids: tf.Tensor | None = None,
    cross_replica: bool = False,
    reduction: str = "mean",
) -> tf.Tensor:
    """The mean of `one_way` in both directions.

    Args:
        left: `[batch, dim]`.
        right: `[batch, dim]`.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        weights: `[batch]`, the weight of each row. Defaults to None.
        ids: `[batch]`; rows of one id are no negatives of each other. Defaults to None.
        cross_replica: Whether rows of other replicas are negatives, too. Defaults to False.
        reduction: What becomes of the losses of the rows: "mean" or "sum". Defaults to "mean".

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or reduction, or a temperature that is not positive.

    Example:
        >>> a, b = tf.constant([[1.0, 0.0], [0.0, 2.0]]), tf.constant([[0.5, 0.0], [1.0, 1.0]])
        >>> bool(symmetric(a, b) == (one_way(a, b) + one_way(b, a)) / 2)
        True
    """

    def direction(anchors: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        return one_way(
            anchors,
            candidates,
            similarity=similarity,
            temperature=temperature,
            weights=weights,
            ids=ids,
            cross_replica=cross_replica,
            reduction=reduction,
        )

    return (direction(left, right) + direction(right, left)) / 2.0


def nt_xent(
    left: tf.Tensor,
    right: tf.Tensor,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
    ids: tf.Tensor | None = None,
    cross_replica: bool = False,
    reduction: str = "mean",
) -> tf.Tensor:
    """InfoNCE over both views at once, as SimCLR and CL4SRec use it.

    Each of the 2 * batch rows has to find its other view; the negatives are the 2 * (batch - 1) views of the
    other rows. See Chen et al., arXiv 2002.05709, and Xie et al., arXiv 2010.14395, equation 2.

    Args:
        left: One view, `[batch, dim]`.
        right: The other view, `[batch, dim]`.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        weights: `[batch]`, the weight of each row. A row of weight 0 is no negative either. Defaults to None.
        ids: `[batch]`; rows of one id are no negatives of each other. Defaults to None.
        cross_replica: Whether rows of other replicas are negatives, too. Defaults to False.
        reduction: What becomes of the losses of the rows: "mean" or "sum". Defaults to "mean".

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or reduction, or a temperature that is not positive.

    Example:
        >>> round(float(nt_xent(tf.eye(2), tf.eye(2))), 6)  # log(e + 2) - 1
        0.551445
    """
    logits, labels, negatives = _both_views(left, right, similarity, temperature, weights, ids, cross_replica)
    allowed = negatives | _is(labels, tf.shape(logits)[1])
    losses = _cross_entropy(_exclude(logits, allowed), labels)
    return reduced(losses, _twice(weights), reduction, cross_replica=cross_replica)


def decoupled(
    left: tf.Tensor,
    right: tf.Tensor,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
    ids: tf.Tensor | None = None,
    cross_replica: bool = False,
    reduction: str = "mean",
) -> tf.Tensor:
    """`nt_xent` without the positive in the denominator.

    The loss of a row is the log of the sum over its negatives minus the similarity of its two views. It has
    no lower bound, and its gradient does not fade where the positive is found easily; see Yeh et al.,
    "Decoupled contrastive learning", arXiv 2110.06848. A row without negatives has neither loss nor gradient.

    Args:
        left: One view, `[batch, dim]`.
        right: The other view, `[batch, dim]`.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        weights: `[batch]`, the weight of each row. A row of weight 0 is no negative either. Defaults to None.
        ids: `[batch]`; rows of one id are no negatives of each other. Defaults to None.
        cross_replica: Whether rows of other replicas are negatives, too. Defaults to False.
        reduction: What becomes of the losses of the rows: "mean" or "sum". Defaults to "mean".

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or reduction, or a temperature that is not positive.

    Example:
        >>> round(float(decoupled(tf.eye(2), tf.eye(2))), 6)  # log 2 - 1
        -0.306853
    """
    logits, _, negatives = _both_views(left, right, similarity, temperature, weights, ids, cross_replica)
    left, right = comparable(left, similarity), comparable(right, similarity)
    positives = tf.reduce_sum(left * right, axis=-1) / temperature
    rest = tf.reduce_logsumexp(_exclude(logits, negatives), axis=1)
    losses = tf.where(tf.reduce_any(negatives, axis=1), rest - _twice(positives), 0.0)
    return reduced(losses, _twice(weights), reduction, cross_replica=cross_replica)


def l2_distance(
    left: tf.Tensor, right: tf.Tensor, *, weights: tf.Tensor | None = None, reduction: str = "mean"
) -> tf.Tensor:
    """Mean or sum over rows of the squared Euclidean distance.

    Args:
        left: `[batch, dim]`.
        right: `[batch, dim]`.
        weights: `[batch]`, the weight of each row. Defaults to None.
        reduction: What becomes of the losses of the rows: "mean" or "sum". Defaults to "mean".

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown reduction.

    Example:
        >>> float(l2_distance(tf.constant([[1.0, 2.0]]), tf.constant([[0.0, 4.0]])))
        5.0
    """
    difference = tf.cast(left, tf.float32) - tf.cast(right, tf.float32)
    return reduced(tf.reduce_sum(tf.square(difference), axis=-1), weights, reduction)


def _both_views(
    left: tf.Tensor,
    right: tf.Tensor,
    similarity: str,
    temperature: float,
    weights: tf.Tensor | None,
    ids: tf.Tensor | None,
    cross_replica: bool,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns logits `[2 * batch, 2 * pool]`, labels `[2 * batch]`, and which columns are negatives."""
    pools = [_pool(left, cross_replica), _pool(right, cross_replica)]
    logits = similarities(tf.concat([left, right], axis=0), tf.concat(pools, axis=0), similarity, temperature)
    size, pool = tf.shape(left)[0], tf.shape(pools[0])[0]
    own, negatives = _negatives(size, pool, weights, ids, cross_replica)
    # Row i of one view <-> row i of the other.
    return logits, tf.concat([own + pool, own], axis=0), tf.tile(negatives, [2, 2])


def _negatives(
    size: tf.Tensor,
    pool: tf.Tensor,
    weights: tf.Tensor | None,
    ids: tf.Tensor | None,
    cross_replica: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns which candidate is each row's own `[batch]`, and which are its negatives `[batch, pool]`."""
    own = tf.range(size)
    if cross_replica:
        own += first_row(size)
    negatives = own[:, None] != tf.range(pool)[None, :]
    if weights is not None:
        negatives &= _pool(tf.cast(weights, tf.float32), cross_replica)[None, :] > 0.0
    if ids is not None:
        negatives &= ids[:, None] != _pool(ids, cross_replica)[None, :]
    return own, negatives


def _pool(values: tf.Tensor, cross_replica: bool) -> tf.Tensor:
    return gather_rows(values) if cross_replica else values


def _twice(values: tf.Tensor | None) -> tf.Tensor | None:
    return None if values is None else tf.concat([values, values], axis=0)


def _is(labels: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    return labels[:, None] == tf.range(columns)[None, :]


def _exclude(logits: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
    return tf.where(allowed, logits, EXCLUDED)


def _cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns `-log softmax(logits)[label]` of each row; keeps one matrix for the gradient."""
    columns = tf.shape(logits)[1]

    @tf.custom_gradient
    def losses(logits: tf.Tensor) -> Any:
        shifted = logits - tf.reduce_max(logits, axis=1, keepdims=True)
        own = tf.gather(shifted, labels, batch_dims=1)
        with tf.control_dependencies([own]):  # the last to read `shifted`, so that its memory can be reused
            shares = tf.exp(shifted)
        totals = tf.reduce_sum(shares, axis=1)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            spread = shares * (upstream / totals)[:, None]
            return tf.where(_is(labels, columns), spread - upstream[:, None], spread)

        return tf.math.log(totals) - own, gradient

    return losses(logits)
