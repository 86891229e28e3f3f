"""The contrastive loss of Re4 between an interest and the steps it stands for."""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.masking import EXCLUDED, reduced
from easyssl.functional.other_rows import others_logsumexp, rolled_logsumexp
from easyssl.functional.similarity import check_similarity, comparable


def re_contrast(
    interests: tf.Tensor,
    items: tf.Tensor,
    positives: tf.Tensor,
    valid: tf.Tensor,
    *,
    ids: tf.Tensor | None = None,
    similarity: str = "cosine",
    temperature: float = 0.02,
    num_rolled: int | None = 1,
    official: bool = False,
    reduction: str = "mean",
) -> tf.Tensor:
    """InfoNCE of interests with their positives, against three kinds of negatives.

    With s = similarity / temperature, each positive step i of interest k contributes

    `-log(exp(s(z_k, x_i)) / (exp(s(z_k, x_i)) + sum_n exp(s(z_k, n))))`

    and the loss is the mean or the sum over all pairs (k, i); it is exactly 0 without positives. The
    negatives n are the valid steps of the row that are no positives of k, the row's other interests, and the
    valid steps of `num_rolled` other rows of the batch: those before the row, cyclically, as far as there are
    that many.

    With `ids`, steps of another row that also occur in this one are no negatives, nor is a step whose id is
    that of a positive.

    `official` is the loss of the published code: all valid steps of the row are in the denominator, also the
    other positives; ids are ignored; and the mean is over all pairs of interests and valid steps, where those
    that are no positives count as 0. The code itself counts padding, too, so that its loss gets smaller with
    the length that a batch is padded to.

    Cost grows with batch * num_interests * seq_len * num_rolled; memory does not grow with `num_rolled`, see
    `easyssl.functional.other_rows`.

    Args:
        interests: `[batch, num_interests, dim]`.
        items: `[batch, seq_len, dim]`.
        positives: bool `[batch, num_interests, seq_len]`, see `multi_interest.interest_positives`.
        valid: bool `[batch, seq_len]`.
        ids: `[batch, seq_len]`. Defaults to None.
        similarity: "dot" or "cosine". Defaults to "cosine".
        temperature: Positive divisor of the similarities. Defaults to 0.02.
        num_rolled: How many other rows give negatives; None for all of the batch. Defaults to 1.
        official: Whether to compute what the published code does. Defaults to False.
        reduction: "mean" or "sum" of the losses of the pairs. Defaults to "mean".

    Returns:
        float32 scalar. Gradients flow into interests and items, not into the choice of positives.

    Raises:
        ValueError: For an unknown similarity or reduction, or a temperature that is not positive.

    Example:
        >>> interests, items = tf.constant([[[1.0, 0.0]]]), tf.eye(2)[None]
        >>> positives, valid = tf.constant([[[True, False]]]), tf.constant([[True, True]])
        >>> loss = re_contrast(interests, items, positives, valid, temperature=1.0)
        >>> round(float(loss), 6)  # log((e + 1) / e)
        0.313262

    References:
        Zhang et al., "Re4: learning to re-contrast, re-attend, re-construct for multi-interest
        recommendation", arXiv 2208.08011.
    """
    check_similarity(similarity, temperature)
    anchors = comparable(interests, similarity)
    items = comparable(items, similarity)
    within = tf.einsum("bkd,bld->bkl", anchors, items) / temperature
    between = tf.einsum("bkd,bjd->bkj", anchors, anchors) / temperature
    others = ~tf.eye(tf.shape(anchors)[1], dtype=tf.bool)[None]
    negative = tf.broadcast_to(valid[:, None, :], tf.shape(positives))
    if not official:
        negative &= ~positives
        if ids is not None:
            negative &= ~_share_an_id(positives, ids)
    rolled = _others(anchors / temperature, items, valid, None if official else ids, num_rolled)
    logits = [tf.where(negative, within, EXCLUDED), tf.where(others, between, EXCLUDED), rolled[..., None]]
    rest = tf.reduce_logsumexp(tf.concat(logits, axis=-1), axis=-1)[..., None]
    losses = rest - within if official else tf.nn.softplus(rest - within)
    losses = tf.where(positives, losses, 0.0)
    counted = tf.broadcast_to(valid[:, None], tf.shape(losses)) if official else positives
    return reduced(losses, tf.cast(counted, tf.float32), reduction)


def _others(
    anchors: tf.Tensor, items: tf.Tensor, valid: tf.Tensor, ids: tf.Tensor | None, num_rolled: int | None
) -> tf.Tensor:
    if num_rolled is None:
        return others_logsumexp(anchors, items, valid, ids)
    return rolled_logsumexp(anchors, items, valid, ids, num_rolled)


def _share_an_id(positives: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Returns which steps have the id of a positive of the interest, bool like `positives`."""
    same = tf.cast(ids[:, :, None] == ids[:, None, :], tf.float32)
    return tf.einsum("bki,bij->bkj", tf.cast(positives, tf.float32), same) > 0.0
