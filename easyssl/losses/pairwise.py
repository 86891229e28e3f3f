"""Losses of pairs of rows: the one of the higher label should have the higher score.

A pair is (i, j) with `y_i > y_j` and, where sessions are given, both in one session. Its weight is that of
row i. `d` is `(z_i - z_j) / temperature`. Each loss is `sum(w_i * l_ij)` over the number of pairs whose
weight is not 0, a float32 scalar, and exactly 0 without such a pair, with a zero gradient.

The pairs of a batch are visited in chunks of rows, each with its gradient, and never held together; only
`ohem_ratio` below 1 needs all of them at once, `[batch, batch]`. On several devices each one forms the pairs
of its own rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from easyssl.functional.chunked_softmax import CHUNK_ENTRIES, balanced, chunks_of, size_of
from easyssl.functional.sessions import session_index
from easyssl.losses.reduction import flat, hardest_mean

# From differences of scores and of margins `[rows, batch]` to losses, not negative.
PairLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def pairwise(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    sessions: tf.Tensor | None = None,
    *,
    margin: float = 0.0,
    temperature: float = 1.0,
) -> tf.Tensor:
    """`softplus(margin - d)` of each pair.

    Args:
        labels: `[batch]`, any numbers.
        logits: `[batch]` or `[batch, 1]`.
        weights: `[batch]`. Defaults to None.
        sessions: int `[batch]`; rows of equal numbers are a session. Defaults to None, which is one session.
        margin: Difference that a pair should keep. Defaults to 0.0.
        temperature: Divides the scores. Defaults to 1.0.

    Returns:
        float32 scalar.

    Example:
        >>> round(float(pairwise(tf.constant([1.0, 0.0]), tf.constant([2.0, 2.0]))), 6)  # log(2)
        0.693147

    References:
        Burges et al., "Learning to rank using gradient descent", ICML 2005.
    """
    scores = flat(logits) / temperature
    return _mean(lambda d, _: tf.nn.softplus(margin - d), scores, labels, weights, sessions)


def pairwise_logistic(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    sessions: tf.Tensor | None = None,
    *,
    temperature: float = 1.0,
    hinge_margin: float | None = None,
    ohem_ratio: float = 1.0,
    use_label_margin: bool = False,
) -> tf.Tensor:
    """`softplus(m - d)` of each pair, where m is a margin or the difference of the labels.

    Args:
        labels: `[batch]`, any numbers.
        logits: `[batch]` or `[batch, 1]`.
        weights: `[batch]`. Defaults to None.
        sessions: int `[batch]`; rows of equal numbers are a session. Defaults to None, which is one session.
        temperature: Divides the scores, and labels that are margins. Defaults to 1.0.
        hinge_margin: The margin m. Defaults to None, which is 0.
        ohem_ratio: Share of the pairs, those of the highest losses, that count; the mean is then over the
            positive losses among them. Defaults to 1.0.
        use_label_margin: Whether m is `(y_i - y_j) / temperature` instead. Defaults to False.

    Returns:
        float32 scalar.
    """
    scores = flat(logits) / temperature
    if use_label_margin:
        margins = flat(labels) / temperature
        return _mean(
            lambda d, m: tf.nn.softplus(m - d), scores, labels, weights, sessions, margins, ohem_ratio
        )
    margin = hinge_margin or 0.0
    return _mean(
        lambda d, _: tf.nn.softplus(margin - d), scores, labels, weights, sessions, ohem_ratio=ohem_ratio
    )


def pairwise_focal(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    sessions: tf.Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    hinge_margin: float | None = None,
    ohem_ratio: float = 1.0,
    temperature: float = 1.0,
) -> tf.Tensor:
    """`(1 - sigmoid(d))^gamma * alpha * softplus(-d)` of each pair with `d < hinge_margin`.

    Args:
        labels: `[batch]`, any numbers.
        logits: `[batch]` or `[batch, 1]`.
        weights: `[batch]`. Defaults to None.
        sessions: int `[batch]`; rows of equal numbers are a session. Defaults to None, which is one session.
        gamma: How strongly pairs that are ordered well lose weight. Defaults to 2.0.
        alpha: Factor. Defaults to None, which is 1.
        hinge_margin: Pairs that keep this difference are none. Defaults to None, which is all pairs.
        ohem_ratio: Share of the pairs, those of the highest losses, that count; the mean is then over the
            positive losses among them. Defaults to 1.0.
        temperature: Divides the scores. Defaults to 1.0.

    Returns:
        float32 scalar.

    References:
        Lin et al., "Focal loss for dense object detection", ICCV 2017.
    """
    factor = 1.0 if alpha is None else alpha

    def pair_loss(d: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        # exp of a logarithm: its gradient is finite where the power of a tiny number has none
        easy = tf.nn.softplus(d)
        return factor * tf.exp(-gamma * easy) * tf.nn.softplus(-d)

    scores = flat(logits) / temperature
    return _mean(pair_loss, scores, labels, weights, sessions, ohem_ratio=ohem_ratio, below=hinge_margin)


def pairwise_hinge(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    sessions: tf.Tensor | None = None,
    *,
    temperature: float = 1.0,
    margin: float = 1.0,
    ohem_ratio: float = 1.0,
    label_is_logits: bool = True,
    use_label_margin: bool = True,
    use_exponent: bool = False,
) -> tf.Tensor:
    """`max(0, m - d)` of each pair, where m is the difference of the labels or a margin.

    With `use_exponent` it is `max(0, exp(m - d) - 1)` of probabilities: `sigmoid(z / temperature)`, and for
    labels that are logits, `sigmoid(y / temperature)`.

    Args:
        labels: `[batch]`, any numbers.
        logits: `[batch]` or `[batch, 1]`.
        weights: `[batch]`. Defaults to None.
        sessions: int `[batch]`; rows of equal numbers are a session. Defaults to None, which is one session.
        temperature: Divides the scores. Defaults to 1.0.
        margin: The margin m, if it is not that of the labels. Defaults to 1.0.
        ohem_ratio: Share of the pairs, those of the highest losses, that count; the mean is then over the
            positive losses among them. Defaults to 1.0.
        label_is_logits: Whether the temperature divides the labels too. Defaults to True.
        use_label_margin: Whether m is `y_i - y_j`. Defaults to True.
        use_exponent: Whether the difference is that of probabilities, and grows exponentially. Defaults to
            False.

    Returns:
        float32 scalar.
    """
    scores = flat(logits) / temperature
    margins = flat(labels) / temperature if label_is_logits else flat(labels)
    if use_exponent:
        scores = tf.sigmoid(scores)
        margins = tf.sigmoid(margins) if label_is_logits else margins

    def pair_loss(d: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
        short = (m if use_label_margin else margin) - d
        return tf.nn.relu(tf.math.expm1(tf.clip_by_value(short, -88.0, 88.0)) if use_exponent else short)

    return _mean(pair_loss, scores, labels, weights, sessions, margins, ohem_ratio)


def _mean(
    pair_loss: PairLoss,
    scores: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor | None,
    sessions: tf.Tensor | None,
    margins: tf.Tensor | None = None,
    ohem_ratio: float = 1.0,
    below: float | None = None,
    chunk_entries: int = CHUNK_ENTRIES,
) -> tf.Tensor:
    """Averages a loss over pairs.

    Args:
        pair_loss: From the differences of scores and of margins to losses.
        scores: float32 `[batch]`.
        labels: `[batch]`; their order decides what a pair is.
        weights: `[batch]`, or None for ones.
        sessions: int `[batch]`, or None for one session.
        margins: float32 `[batch]`; the labels by default.
        ohem_ratio: Share of the pairs that count.
        below: Only pairs of a smaller difference of scores count.
        chunk_entries: How many pairs to visit at once, at least those of one row.
    """
    labels = flat(labels)
    margins = labels if margins is None else margins
    weights = tf.ones_like(labels) if weights is None else flat(weights)
    # As float32, which is padded on GPUs.
    sessions = tf.zeros_like(labels) if sessions is None else tf.cast(session_index(sessions)[0], tf.float32)
    columns = {"labels": labels, "margins": margins, "weights": weights, "sessions": sessions}

    def of_rows(own: tf.Tensor, all_scores: tf.Tensor, rows: dict[str, tf.Tensor]) -> Any:
        """Returns the losses `[rows, batch]` of rows as the first of a pair, and which pairs there are."""
        d = own[:, None] - all_scores[None, :]
        pairs = rows["labels"][:, None] > labels[None, :]
        pairs &= rows["sessions"][:, None] == sessions[None, :]
        pairs &= rows["weights"][:, None] != 0.0
        if below is not None:
            pairs &= d < below
        # What is no pair gets a difference of 0, so that nothing there overflows.
        losses = pair_loss(tf.where(pairs, d, 0.0), rows["margins"][:, None] - margins[None, :])
        return tf.where(pairs, losses * rows["weights"][:, None], 0.0), pairs

    if ohem_ratio < 1.0:
        losses, pairs = of_rows(scores, scores, columns)
        return hardest_mean(losses, pairs, ohem_ratio)

    @tf.custom_gradient
    def mean(scores: tf.Tensor) -> tuple[tf.Tensor, Any]:
        batch = size_of(scores)
        fitting = max(1, chunk_entries // max(1, batch)) if isinstance(batch, int) else None
        fitting = tf.maximum(1, chunk_entries // tf.maximum(1, batch)) if fitting is None else fitting
        count, size = balanced(batch, fitting)
        parts = {name: chunks_of(values, count, size) for name, values in columns.items()}
        own_parts = chunks_of(scores, count, size)

        def step(i: tf.Tensor, total: tf.Tensor, number: tf.Tensor, gradient: Any, own: Any) -> tuple:
            rows = {name: values[i] for name, values in parts.items()}
            first = own_parts[i]
            with tf.GradientTape() as tape:
                tape.watch([first, scores])
                losses, pairs = of_rows(first, scores, rows)
                value = tf.reduce_sum(losses)
            by_first, by_second = tape.gradient(value, [first, scores])
            number += tf.reduce_sum(tf.cast(pairs, tf.float32))
            return i + 1, total + value, number, gradient + by_second, own.write(i, by_first)

        _, total, number, gradient, own = tf.while_loop(
            lambda i, *_: i < count,
            step,
            (
                tf.constant(0),
                tf.constant(0.0),
                tf.constant(0.0),
                tf.zeros_like(scores),
                tf.TensorArray(tf.float32, size=count, element_shape=own_parts.shape[1:]),
            ),
            parallel_iterations=1,  # more would hold as many chunks
        )
        gradient += tf.reshape(own.stack(), [-1])[: tf.shape(scores)[0]]
        number = tf.maximum(number, 1.0)
        return total / number, lambda upstream: upstream * gradient / number

    return mean(scores)
