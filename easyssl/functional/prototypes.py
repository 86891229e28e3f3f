"""Losses between representations and prototypes: clustering, contrast and distillation.

All of them work in float32 for any input dtype and never form a quotient of exponentials.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from easyssl.errors import nearest
from easyssl.functional.masking import EXCLUDED, reduced, weighted_mean
from easyssl.functional.replicas import first_row, gather_rows, replica_sum
from easyssl.functional.selection import first_argmax
from easyssl.functional.similarity import check_similarity, comparable

DENOMINATORS = ("standard", "decoupled")
NEGATIVES = ("both_views", "other_view")


def cluster_cross_entropy(
    targets: tf.Tensor, logits: tf.Tensor, *, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """The mean over rows of `-sum_k targets_k log softmax(logits)_k`.

    Args:
        targets: `[batch, num_prototypes]`, rows that sum to 1. No gradient flows into them.
        logits: `[batch, num_prototypes]`, similarities divided by the temperature.
        weights: `[batch]`, the weight of each row. Defaults to None.

    Returns:
        float32 scalar.

    Example:
        >>> targets = tf.constant([[0.5, 0.5, 0.0, 0.0]])
        >>> round(float(cluster_cross_entropy(targets, tf.zeros([1, 4]))), 4)  # log 4
        1.3863
    """
    targets = tf.stop_gradient(tf.cast(targets, tf.float32))
    log_assignments = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    return weighted_mean(-tf.reduce_sum(targets * log_assignments, axis=-1), weights)


def prototype_contrast(
    left: tf.Tensor,
    right: tf.Tensor,
    prototypes: tf.Tensor,
    assigned: tf.Tensor,
    *,
    similarity: str = "cosine",
    temperature: float = 0.1,
    denominator: str = "standard",
    negatives: str = "both_views",
    weights: tf.Tensor | None = None,
    ids: tf.Tensor | None = None,
    cross_replica: bool = False,
    reduction: str = "mean",
) -> tf.Tensor:
    """InfoNCE whose negatives are the other rows and the prototypes that the row is not assigned to.

    With s = similarity / temperature, the loss of row u in one direction is

    `-log(exp(s(a_u, b_u)) / (exp(s(a_u, b_u)) + sum_n exp(s(a_u, n)) + sum_{k != h_u} exp(s(a_u, mu_k))))`

    where n runs over views of other rows and h_u is the row's prototype. Both directions are added, and rows
    averaged, or added up as well. A batch with fewer than two rows of positive weight gives exactly 0 with
    zero gradient.

    Args:
        left: One view, `[batch, dim]`.
        right: The other view, `[batch, dim]`.
        prototypes: `[num_prototypes, dim]`.
        assigned: int `[batch]`, the prototype of each row.
        similarity: "dot" or "cosine". Defaults to "cosine".
        temperature: Positive divisor of the similarities. Defaults to 0.1.
        denominator: "standard", which includes the positive, or "decoupled", which leaves it out as S4Rec
            prints it and has no lower bound. Defaults to "standard".
        negatives: Which views of the other rows are negatives: "both_views", or "other_view", only those of
            the view that the anchor is not of. Defaults to "both_views".
        weights: `[batch]`, the weight of each row. A row of weight 0 is no negative either. Defaults to None.
        ids: `[batch]`; rows of one id are no negatives of each other. Defaults to None.
        cross_replica: Whether the rows of other replicas of a distribution strategy are negatives, too.
            Defaults to False.
        reduction: What becomes of the losses of the rows: "mean" or "sum". Defaults to "mean".

    Returns:
        float32 scalar; with `cross_replica` that of the rows of all replicas, the same on each.

    Raises:
        ValueError: For an unknown name or a temperature that is not positive.

    Example:
        >>> x = tf.eye(2)
        >>> loss = prototype_contrast(x, x, x, tf.constant([0, 1]), temperature=1.0)
        >>> round(float(loss), 6)  # 2 * log((e + 3) / e)
        1.487337

    References:
        Wei et al., "Leave no one behind: online self-supervised self-distillation for sequential
        recommendation", arXiv 2404.07219, equations 9 and 10.
    """
    check_contrast(similarity, temperature, denominator, negatives)
    left, right = comparable(left, similarity), comparable(right, similarity)
    prototypes = comparable(prototypes, similarity)
    weights = tf.ones_like(left[:, 0]) if weights is None else tf.cast(weights, tf.float32)

    def pool(values: tf.Tensor) -> tf.Tensor:
        return gather_rows(values) if cross_replica else values

    usable = pool(weights) > 0.0
    size = tf.shape(left)[0]
    own = tf.range(size) + (first_row(size) if cross_replica else 0)
    others = usable[None, :] & (own[:, None] != tf.range(tf.size(usable))[None, :])
    if ids is not None:
        others &= ids[:, None] != pool(ids)[None, :]
    not_own = assigned[:, None] != tf.range(tf.shape(prototypes)[0], dtype=assigned.dtype)[None, :]
    positive = tf.reduce_sum(left * right, axis=-1) / temperature

    views = [pool(left), pool(right)]

    def direction(anchor: tf.Tensor, its_view: int) -> tf.Tensor:
        candidates = [(views[1 - its_view], others), (prototypes, not_own)]
        if negatives == "both_views":
            candidates.append((views[its_view], others))
        logits = [
            tf.where(allowed, tf.matmul(anchor, vectors, transpose_b=True) / temperature, EXCLUDED)
            for vectors, allowed in candidates
        ]
        rest = tf.reduce_logsumexp(tf.concat(logits, axis=1), axis=1)
        if denominator == "standard":
            return tf.nn.softplus(rest - positive)
        has_negatives = tf.reduce_any(tf.concat([allowed for _, allowed in candidates], axis=1), axis=1)
        return tf.where(has_negatives, rest - positive, 0.0)

    losses = direction(left, 0) + direction(right, 1)
    counted = weights * at_least_two(tf.reduce_sum(tf.cast(usable, tf.float32)))
    return reduced(losses, counted, reduction, cross_replica=cross_replica)


def cluster_distillation(
    students: Sequence[tf.Tensor],
    teachers: tf.Tensor,
    *,
    normalize: bool = True,
    temperature: float = 0.1,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """Draws the coordinates of representations towards those of their prototypes.

    `KL(softmax(teacher / temperature) || softmax(student / temperature))` over the coordinates of a vector,
    summed over the students and averaged over rows. It is not negative, and 0 if and only if the
    distributions are equal. Gradients flow into both sides; stop them outside.

    Args:
        students: Views of the rows, each `[batch, dim]`.
        teachers: The prototype of each row, `[batch, dim]`.
        normalize: Whether both sides are scaled to length 1 first. Defaults to True.
        temperature: Positive divisor of the coordinates. Defaults to 0.1.
        weights: `[batch]`, the weight of each row. Defaults to None.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For a temperature that is not positive.

    Example:
        >>> rows = tf.constant([[1.0, 0.0], [0.0, 2.0]])
        >>> float(cluster_distillation([rows], 4.0 * rows))
        0.0
        >>> round(float(cluster_distillation([rows], tf.reverse(rows, [0]), temperature=1.0)), 4)
        0.4621

    References:
        Wei et al., "Leave no one behind: online self-supervised self-distillation for sequential
        recommendation", arXiv 2404.07219.
    """
    similarity = "cosine" if normalize else "dot"
    check_similarity(similarity, temperature)
    teacher = tf.nn.log_softmax(comparable(teachers, similarity) / temperature)
    losses = tf.zeros_like(teacher[:, 0])
    for view in students:
        student = tf.nn.log_softmax(comparable(view, similarity) / temperature)
        losses += tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1)
    return weighted_mean(losses, weights)


def usage_entropy(assignments: tf.Tensor, *, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Entropy of how often each prototype is the best one of a row, over all replicas.

    It is `log(num_prototypes)` where all are used equally, and 0 where one takes every row.

    Args:
        assignments: `[batch, num_prototypes]`.
        weights: `[batch]`, the weight of each row. Defaults to None.

    Returns:
        float32 scalar, in nats; 0 without rows.

    Example:
        >>> round(float(usage_entropy(tf.eye(4))), 4)
        1.3863
    """
    used = tf.one_hot(first_argmax(assignments), tf.shape(assignments)[1])
    weights = tf.ones_like(used[:, 0]) if weights is None else tf.cast(weights, tf.float32)
    counts = replica_sum(tf.reduce_sum(used * weights[:, None], axis=0))
    shares = tf.math.divide_no_nan(counts, tf.reduce_sum(counts))
    return -tf.reduce_sum(tf.math.xlogy(shares, shares))


def row_weights(views: Sequence[tf.Tensor], lengths: tf.Tensor | None = None) -> tf.Tensor:
    """Returns which rows have something to learn from.

    Args:
        views: Representations of the rows, each `[batch, dim]`. A vector of zeros, such as an encoder gives
            for an empty sequence, has no direction.
        lengths: `[batch]`, the lengths of the rows' sequences. Defaults to None.

    Returns:
        float32 `[batch]`: 1 where the length is positive and no view is zero, else 0.

    Example:
        >>> row_weights([tf.constant([[1.0], [0.0], [2.0]])], tf.constant([5, 5, 0])).numpy().tolist()
        [1.0, 0.0, 0.0]
    """
    usable = [tf.reduce_any(view != 0, axis=-1) for view in views]
    if lengths is not None:
        usable.append(lengths > 0)
    return tf.cast(tf.reduce_all(tf.stack(usable), axis=0), tf.float32)


def at_least_two(count: tf.Tensor) -> tf.Tensor:
    """Returns 1.0 where there is something to compare, that is, two rows or more, else 0.0."""
    return tf.cast(count >= 2, tf.float32)


def check_contrast(similarity: str, temperature: float, denominator: str, negatives: str) -> None:
    """Raises `ValueError` unless all arguments of `prototype_contrast` are usable.

    Args:
        similarity: "dot" or "cosine".
        temperature: A positive number.
        denominator: "standard" or "decoupled".
        negatives: "both_views" or "other_view".

    Raises:
        ValueError: With what was received.
    """
    check_similarity(similarity, temperature)
    for name, value, known in (
        ("denominator", denominator, DENOMINATORS),
        ("negatives", negatives, NEGATIVES),
    ):
        if value not in known:
            raise ValueError(f"unknown {name} '{value}'{nearest(value, known)}")
