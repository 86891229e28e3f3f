"""Losses over the rows of a session, which a softmax compares with each other.

Both are averaged over the sessions of the batch. On several devices a session consists of the rows that one
device has of it. Weights of rows have no effect.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from easyssl.functional.sessions import session_index, session_logsumexp, session_sum
from easyssl.losses.reduction import flat

Transform = Callable[[tf.Tensor], tf.Tensor]


def listwise_rank(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    sessions: tf.Tensor | None = None,
    scale: tf.Tensor | None = None,
    offset: tf.Tensor | None = None,
    *,
    temperature: float = 1.0,
    transform_fn: Transform | None = None,
    label_is_logits: bool = False,
    scale_logits: bool = False,
) -> tf.Tensor:
    """`-sum_j t_j log softmax(z / temperature)_j` of each session.

    The targets t are the labels, or for labels that are logits, `softmax(y / temperature)` over the session.

    Args:
        labels: `[batch]`, not negative, or logits.
        logits: `[batch]` or `[batch, 1]`.
        weights: Not used. Defaults to None.
        sessions: int `[batch]`; rows of equal numbers are a session. Defaults to None, which is one session.
        scale: Learned scalar a of `scale_logits`. Defaults to None, which is 1.
        offset: Learned scalar b of `scale_logits`. Defaults to None, which is 0.
        temperature: Divides the scores, and labels that are logits. Defaults to 1.0.
        transform_fn: Applied to the labels first. Defaults to None.
        label_is_logits: Whether labels pass through a softmax. Defaults to False.
        scale_logits: Whether z is `abs(a) * z + b`. Defaults to False.

    Returns:
        float32 scalar.

    Example:
        >>> labels, sessions = tf.constant([1.0, 0.0]), tf.constant([5, 5])
        >>> round(float(listwise_rank(labels, tf.zeros([2]), sessions=sessions)), 6)  # log(2)
        0.693147

    References:
        Cao et al., "Learning to rank: from pairwise approach to listwise approach", ICML 2007.
    """
    index, count = _sessions(labels, sessions)
    targets = flat(labels) if transform_fn is None else flat(transform_fn(flat(labels)))
    if label_is_logits:
        teacher = targets / temperature
        targets = tf.exp(teacher - session_logsumexp(teacher, index))
    scores = _scaled(logits, scale, offset, scale_logits) / temperature
    return _cross_entropy(targets, scores, index, count)


def listwise_distill(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    sessions: tf.Tensor | None = None,
    scale: tf.Tensor | None = None,
    offset: tf.Tensor | None = None,
    *,
    temperature: float = 1.0,
    transform_fn: Transform | None = None,
    label_clip_max_value: float = 512.0,
    scale_logits: bool = False,
) -> tf.Tensor:
    """`-sum_j t_j log softmax(z / temperature)_j` of each session, with targets from a teacher's ranks.

    A rank r, between 1 and `label_clip_max_value` c, becomes `log(1 + c) - log(r)`; targets are these
    numbers divided by their sum over the session.

    Args:
        labels: `[batch]`, ranks from 1 on.
        logits: `[batch]` or `[batch, 1]`.
        weights: Not used. Defaults to None.
        sessions: int `[batch]`; rows of equal numbers are a session. Defaults to None, which is one session.
        scale: Learned scalar a of `scale_logits`. Defaults to None, which is 1.
        offset: Learned scalar b of `scale_logits`. Defaults to None, which is 0.
        temperature: Divides the scores. Defaults to 1.0.
        transform_fn: From ranks r to what becomes the targets, instead of `log(1 + c) - log(r)`. Defaults to
            None.
        label_clip_max_value: c, the largest rank. Defaults to 512.0.
        scale_logits: Whether z is `abs(a) * z + b`. Defaults to False.

    Returns:
        float32 scalar.
    """
    index, count = _sessions(labels, sessions)
    ranks = tf.clip_by_value(flat(labels), 1.0, label_clip_max_value)
    if transform_fn is None:
        gains = tf.math.log((1.0 + label_clip_max_value) / ranks)
    else:
        gains = flat(transform_fn(ranks))
    targets = tf.math.divide_no_nan(gains, session_sum(gains, index))
    scores = _scaled(logits, scale, offset, scale_logits) / temperature
    return _cross_entropy(targets, scores, index, count)


def _sessions(labels: tf.Tensor, sessions: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    return session_index(tf.zeros(tf.shape(flat(labels)), tf.int32) if sessions is None else sessions)


def _scaled(
    logits: tf.Tensor, scale: tf.Tensor | None, offset: tf.Tensor | None, scale_logits: bool
) -> tf.Tensor:
    logits = flat(logits)
    if not scale_logits or scale is None or offset is None:
        return logits
    return tf.abs(scale) * logits + offset


def _cross_entropy(targets: tf.Tensor, scores: tf.Tensor, index: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    losses = targets * (session_logsumexp(scores, index) - scores)
    return tf.reduce_sum(losses) / tf.maximum(count, 1.0)
