"""Contrastive losses: InfoNCE in the forms that papers use under one name, and that give different numbers.

All of them work in float32 for any input dtype, average over rows, and are exactly 0 with zero gradient for a
batch of one. They never form `exp(positive) / sum(exp)`; the log of it overflows at small temperatures.
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.errors import nearest
from easyssl.functional.masking import EXCLUDED, weighted_mean

SIMILARITIES = ("dot", "cosine")


def one_way(
    anchors: tf.Tensor,
    candidates: tf.Tensor,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """InfoNCE in one direction: anchor i has to find candidate i among all candidates of the batch.

    `mean_i -log softmax_j(sim(anchor_i, candidate_j) / temperature)[i]`; see van den Oord et al.,
    "Representation learning with contrastive predictive coding", arXiv 1807.03748.

    Args:
        anchors: `[batch, dim]`.
        candidates: `[batch, dim]`.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        weights: `[batch]`, the weight of each row. A row of weight 0 is no negative either. Defaults to None.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or a temperature that is not positive.

    Example:
        >>> x = tf.eye(2)
        >>> round(float(one_way(x, x)), 6)  # log(e + 1) - 1
        0.313262
    """
    logits = _similarities(anchors, candidates, similarity, temperature)
    labels = tf.range(tf.shape(logits)[0])
    if weights is not None:
        logits = _exclude(logits, _usable(weights)[None, :] | (labels[:, None] == labels[None, :]))
    return weighted_mean(_cross_entropy(logits, labels), weights)


def symmetric(
    left: tf.Tensor,
    right: tf.Tensor,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """The mean of `one_way` in both directions.

    Args:
        left: `[batch, dim]`.
        right: `[batch, dim]`.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        weights: `[batch]`, the weight of each row. Defaults to None.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or a temperature that is not positive.

    Example:
        >>> a, b = tf.constant([[1.0, 0.0], [0.0, 2.0]]), tf.constant([[0.5, 0.0], [1.0, 1.0]])
        >>> bool(symmetric(a, b) == (one_way(a, b) + one_way(b, a)) / 2)
        True
    """
    there = one_way(left, right, similarity=similarity, temperature=temperature, weights=weights)
    back = one_way(right, left, similarity=similarity, temperature=temperature, weights=weights)
    return (there + back) / 2.0


def nt_xent(
    left: tf.Tensor,
    right: tf.Tensor,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
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

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or a temperature that is not positive.

    Example:
        >>> round(float(nt_xent(tf.eye(2), tf.eye(2))), 6)  # log(e + 2) - 1
        0.551445
    """
    views = tf.concat([left, right], axis=0)
    logits = _similarities(views, views, similarity, temperature)
    size = tf.shape(logits)[0]
    rows = tf.range(size)
    labels = tf.roll(rows, shift=size // 2, axis=0)  # row i of one view <-> row i of the other
    allowed = rows[:, None] != rows[None, :]
    if weights is not None:
        weights = tf.concat([weights, weights], axis=0)
        allowed &= _usable(weights)[None, :] | (labels[:, None] == rows[None, :])
    return weighted_mean(_cross_entropy(_exclude(logits, allowed), labels), weights)


def l2_distance(left: tf.Tensor, right: tf.Tensor, *, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Mean over rows of the squared Euclidean distance.

    Args:
        left: `[batch, dim]`.
        right: `[batch, dim]`.
        weights: `[batch]`, the weight of each row. Defaults to None.

    Returns:
        float32 scalar.

    Example:
        >>> float(l2_distance(tf.constant([[1.0, 2.0]]), tf.constant([[0.0, 4.0]])))
        5.0
    """
    difference = tf.cast(left, tf.float32) - tf.cast(right, tf.float32)
    return weighted_mean(tf.reduce_sum(tf.square(difference), axis=-1), weights)


def normalize(vectors: tf.Tensor) -> tf.Tensor:
    """Scales rows to length 1 in float32; a zero row stays zero and has a finite gradient."""
    return tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1, epsilon=1e-12)


def comparable(vectors: tf.Tensor, similarity: str) -> tf.Tensor:
    """Brings vectors into the form whose dot products are the similarity.

    Args:
        vectors: `[..., dim]`.
        similarity: "dot" or "cosine".

    Returns:
        float32 `[..., dim]`, of length 1 for "cosine".

    Example:
        >>> comparable(tf.constant([[3.0, 4.0]]), "dot").numpy().tolist()
        [[3.0, 4.0]]
    """
    return normalize(vectors) if similarity == "cosine" else tf.cast(vectors, tf.float32)


def check_similarity(similarity: str, temperature: float) -> None:
    """Raises `ValueError` unless both arguments are usable.

    Args:
        similarity: "dot" or "cosine".
        temperature: A positive number.

    Raises:
        ValueError: With what was received.
    """
    if similarity not in SIMILARITIES:
        raise ValueError(f"unknown similarity '{similarity}'{nearest(similarity, SIMILARITIES)}")
    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive. Received: temperature={temperature}")


def _similarities(rows: tf.Tensor, columns: tf.Tensor, similarity: str, temperature: float) -> tf.Tensor:
    check_similarity(similarity, temperature)
    rows, columns = comparable(rows, similarity), comparable(columns, similarity)
    return tf.matmul(rows, columns, transpose_b=True) / temperature


def _usable(weights: tf.Tensor) -> tf.Tensor:
    return tf.cast(weights, tf.float32) > 0.0


def _exclude(logits: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
    return tf.where(allowed, logits, EXCLUDED)


def _cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
