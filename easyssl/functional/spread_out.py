"""A regulariser that spreads vectors out."""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.masking import reduced
from easyssl.functional.replicas import first_row, gather_rows
from easyssl.functional.similarity import similarities


def spread_out(
    vectors: tf.Tensor,
    *,
    similarity: str = "dot",
    weights: tf.Tensor | None = None,
    ids: tf.Tensor | None = None,
    cross_replica: bool = False,
    reduction: str = "mean",
) -> tf.Tensor:
    """Makes rows orthogonal to each other: `mean_i sum_{j != i} sim(z_i, z_j)^2`.

    Opposite vectors are pushed apart like equal ones: the square is 0 at a right angle. A contrastive loss
    whose two views are the same vectors spreads rows out, too, but weighs the most similar ones most.

    Args:
        vectors: `[batch, dim]`.
        similarity: "dot" or "cosine". Defaults to "dot".
        weights: `[batch]`, the weight of each row. A row of weight 0 is not compared with others either.
            Defaults to None.
        ids: `[batch]`; rows of one id are not compared with each other. Defaults to None.
        cross_replica: Whether rows are compared with those of other replicas, too. Defaults to False.
        reduction: What becomes of the sums of the rows: "mean" or "sum". Defaults to "mean".

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or reduction.

    Example:
        >>> float(spread_out(tf.constant([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])))  # (4 + 0 + 4) / 3
        2.6666667461395264
        >>> float(spread_out(tf.eye(4)))
        0.0

    References:
        Zhang et al., "Learning spread-out local feature descriptors", arXiv 1708.06320; Yao et al.,
        "Self-supervised learning for large-scale item recommendations", arXiv 2007.12865, the baseline.
    """
    own = tf.range(tf.shape(vectors)[0])
    if cross_replica:
        own += first_row(tf.shape(vectors)[0])

    def pool(values: tf.Tensor) -> tf.Tensor:
        return gather_rows(values) if cross_replica else values

    squares = tf.square(similarities(vectors, pool(vectors), similarity))
    compared = own[:, None] != tf.range(tf.shape(squares)[1])[None, :]
    if weights is not None:
        compared &= pool(tf.cast(weights, tf.float32))[None, :] > 0.0
    if ids is not None:
        compared &= ids[:, None] != pool(ids)[None, :]
    losses = tf.reduce_sum(tf.where(compared, squares, 0.0), axis=1)
    return reduced(losses, weights, reduction, cross_replica=cross_replica)
