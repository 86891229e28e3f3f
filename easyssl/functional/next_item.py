"""Losses of models that predict the next item from a state, one target per token.

A token is a step of a sequence that has a target; steps of a padded batch are laid end to end first, by
`easyssl.functional.packing`. All losses take

- `states`, `[tokens, dim]`, or several interests per token, `[tokens, num_interests, dim]`, of which the one
  that is most similar to the target is read out: hard, so that no other interest gets a gradient;
- `items`, `[items, dim]`, the candidates, such as an embedding table or the outputs of an item tower;
- `targets`, int `[tokens]`, rows of `items`. A target that is no row of it, such as -1, counts for nothing;
- `weights`, `[tokens]`, the weight of each token in the mean. No gradient flows into them.

They work in float32 for any input dtype and return a scalar, exactly 0 with zero gradient where no token
counts. Only losses of one kind can be compared: state which one stands behind a result.
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.chunked_softmax import CHUNK_ENTRIES, size_of, softmax_loss_sum
from easyssl.functional.masking import EXCLUDED, weighted_mean
from easyssl.functional.multi_interest import read_interest
from easyssl.functional.similarity import check_similarity, comparable


def full_softmax(
    states: tf.Tensor,
    items: tf.Tensor,
    targets: tf.Tensor,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    bias: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    chunk_entries: int = CHUNK_ENTRIES,
) -> tf.Tensor:
    """Cross entropy over all items: `-log softmax_j(sim(state, item_j) / temperature + bias_j)[target]`.

    The logits `[tokens, items]` are computed chunk by chunk and never held at once; see
    `easyssl.functional.chunked_softmax`. The gradient of `items` is dense. With one item the loss is 0.

    Args:
        states: `[tokens, dim]` or `[tokens, num_interests, dim]`.
        items: `[items, dim]`.
        targets: int `[tokens]`.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        bias: `[items]`, added to each item's logit. One of -1e30 takes an item, such as padding, out of the
            candidates. Defaults to None.
        weights: `[tokens]`. Defaults to None.
        chunk_entries: How many logits to hold at once. Defaults to 6291456.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or a number that is not positive.

    Example:
        >>> states, items = tf.constant([[2.0, 0.0], [0.0, 1.0]]), tf.eye(2)
        >>> loss = full_softmax(states, items, tf.constant([0, -1]))
        >>> round(float(loss), 6)  # log(e^2 + 1) - 2
        0.126928
    """
    if chunk_entries < 1:
        raise ValueError(f"`chunk_entries` must be positive. Received: {chunk_entries}")
    tokens = _Tokens(states, items, targets, weights, similarity, temperature)
    states, candidates = tokens.states, comparable(items, similarity)
    if bias is not None:
        # One more coordinate, 1 in each state.
        states = tf.concat([states, tf.ones_like(states[:, :1])], axis=1)
        candidates = tf.concat([candidates, tf.cast(bias, tf.float32)[:, None]], axis=1)
    several = tf.cast(size_of(items) > 1, tf.float32)
    total = softmax_loss_sum(states, candidates, tokens.labels, tokens.weights * several, chunk_entries)
    return total / tf.maximum(tf.reduce_sum(tokens.weights), 1.0)


def sampled_softmax(
    states: tf.Tensor,
    items: tf.Tensor,
    targets: tf.Tensor,
    negatives: tf.Tensor,
    *,
    log_probabilities: tf.Tensor | None = None,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cross entropy over the target and negatives that all tokens share.

    With `s_j = sim(state, item_j) / temperature - log q_j` it is
    `-log(exp(s_target) / (exp(s_target) + sum_j exp(s_j)))`, where j runs over the negatives. The term
    `log q_j` makes up for popular items being drawn more often; for uniform draws it cancels. A negative that
    is the token's own target, an accidental hit, does not count. Holds `[tokens, negatives]` numbers.

    Args:
        states: `[tokens, dim]` or `[tokens, num_interests, dim]`.
        items: `[items, dim]`.
        targets: int `[tokens]`.
        negatives: int `[negatives]`, drawn with replacement; see `easyssl.functional.negatives`. Entries
            below 0 do not count.
        log_probabilities: `[items]`, log q of every item; no gradient flows. Defaults to None, which is
            uniform.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        weights: `[tokens]`. Defaults to None.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or a temperature that is not positive.

    Example:
        >>> states, items = tf.constant([[2.0, 0.0]]), tf.eye(2)
        >>> loss = sampled_softmax(states, items, tf.constant([0]), tf.constant([1, 0, 1]))
        >>> round(float(loss), 6)  # log(e^2 + 2) - 2
        0.239545

    References:
        Bengio and Senecal, "Adaptive importance sampling to accelerate training of a neural probabilistic
        language model", IEEE Transactions on Neural Networks 19, 2008.
    """
    tokens = _Tokens(states, items, targets, weights, similarity, temperature)
    drawn = comparable(tf.gather(items, tf.maximum(negatives, 0)), similarity)
    own = tf.reduce_sum(tokens.states * tokens.positives, axis=1)
    logits = tf.matmul(tokens.states, drawn, transpose_b=True)
    if log_probabilities is not None:
        correction = tf.stop_gradient(tf.cast(log_probabilities, tf.float32))
        own -= tf.gather(correction, tokens.labels)
        logits -= tf.gather(correction, tf.maximum(negatives, 0))[None, :]
    logits = tf.where(tokens.count_as_negative(negatives[None, :]), logits, EXCLUDED)
    return weighted_mean(tf.nn.softplus(tf.reduce_logsumexp(logits, axis=1) - own), tokens.weights)


def binary_cross_entropy(
    states: tf.Tensor,
    items: tf.Tensor,
    targets: tf.Tensor,
    negatives: tf.Tensor,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """Tells the target from negatives: `-log sigmoid(s_target) - sum_j log(1 - sigmoid(s_j))`.

    With one negative per token, drawn from the items that the user has never met, this is the loss of SASRec.

    Args:
        states: `[tokens, dim]` or `[tokens, num_interests, dim]`.
        items: `[items, dim]`.
        targets: int `[tokens]`.
        negatives: int `[tokens, negatives]`, or `[negatives]` for all tokens the same. The token's own target
            and entries below 0 do not count.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        weights: `[tokens]`. Defaults to None.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity or a temperature that is not positive.

    Example:
        >>> states, items = tf.constant([[2.0, 0.0]]), tf.eye(2)
        >>> loss = binary_cross_entropy(states, items, tf.constant([0]), tf.constant([[1]]))
        >>> round(float(loss), 6)  # log(1 + e^-2) + log(2)
        0.820075

    References:
        Kang and McAuley, "Self-attentive sequential recommendation", arXiv 1808.09781.
    """
    tokens = _Tokens(states, items, targets, weights, similarity, temperature)
    positive, negative = _binary_losses(tokens, items, negatives, similarity)
    return weighted_mean(positive + negative, tokens.weights)


def generalized_binary_cross_entropy(
    states: tf.Tensor,
    items: tf.Tensor,
    targets: tf.Tensor,
    negatives: tf.Tensor,
    *,
    calibration: float = 0.75,
    num_negative_items: int | None = None,
    similarity: str = "dot",
    temperature: float = 1.0,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """The loss of gSASRec, which makes up for the overconfidence that few negatives bring about.

    `-(beta * log sigmoid(s_target) + sum_j log(1 - sigmoid(s_j))) / (k + 1)` with k uniform negatives and the
    beta of `positive_power`.

    Args:
        states: `[tokens, dim]` or `[tokens, num_interests, dim]`.
        items: `[items, dim]`.
        targets: int `[tokens]`.
        negatives: int `[tokens, k]`, or `[k]` for all tokens the same. The token's own target and entries
            below 0 do not count, but k stays k.
        calibration: t, from 0, the plain binary cross entropy divided by k + 1, to 1, whose scores are
            calibrated probabilities. Defaults to 0.75.
        num_negative_items: How many items a negative is drawn from. Defaults to None, which is all items but
            one; give it where `items` has rows, such as padding, that are never drawn.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.
        weights: `[tokens]`. Defaults to None.

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown similarity, a number out of range, or a number of items or negatives that
            is not known beforehand.

    Example:
        >>> states, items = tf.constant([[2.0, 0.0]]), tf.eye(2)
        >>> loss = generalized_binary_cross_entropy(states, items, tf.constant([0]), tf.constant([[1]]))
        >>> round(float(loss), 6)  # (log(1 + e^-2) + log(2)) / 2: one item, one negative, so beta = 1
        0.410038

    References:
        Petrov and Macdonald, "gSASRec: reducing overconfidence in sequential recommendation trained with
        negative sampling", arXiv 2308.07192.
    """
    tokens = _Tokens(states, items, targets, weights, similarity, temperature)
    drawn, known = negatives.shape[-1], items.shape[0]
    pool = num_negative_items if num_negative_items is not None else known and known - 1
    if drawn is None or pool is None:
        raise ValueError(
            "the numbers of negatives and items must be known beforehand. "
            f"Received shapes: negatives={negatives.shape}, items={items.shape}"
        )
    power = positive_power(drawn, pool, calibration)
    positive, negative = _binary_losses(tokens, items, negatives, similarity)
    return weighted_mean((power * positive + negative) / (drawn + 1.0), tokens.weights)


def positive_power(num_negatives: int, num_negative_items: int, calibration: float) -> float:
    """Returns gSASRec's exponent of the positive probability.

    `beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)` with the sampling rate
    `alpha = num_negatives / num_negative_items`: 1 for t = 0, alpha for t = 1.

    Args:
        num_negatives: Negatives per target, at least 1.
        num_negative_items: How many items they are drawn from, at least 1.
        calibration: t in [0, 1].

    Raises:
        ValueError: For a number out of range.

    Example:
        >>> positive_power(256, 3415, 0.0), round(positive_power(256, 3415, 0.75), 6)
        (1.0, 0.306223)
    """
    if num_negatives < 1 or num_negative_items < 1:
        raise ValueError(
            f"there must be negatives, and items to draw them from. Received: {num_negatives} negatives of "
            f"{num_negative_items} items"
        )
    if not 0 <= calibration <= 1:
        raise ValueError(f"`calibration` must be in [0, 1]. Received: {calibration}")
    alpha = num_negatives / num_negative_items
    return alpha * calibration + (1.0 - calibration)


class _Tokens:
    """What all losses make of their arguments."""

    def __init__(
        self,
        states: tf.Tensor,
        items: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor | None,
        similarity: str,
        temperature: float,
    ) -> None:
        check_similarity(similarity, temperature)
        targets = tf.cast(targets, tf.int32)
        known = (targets >= 0) & (targets < tf.shape(items)[0])
        given = tf.ones_like(targets, tf.float32) if weights is None else tf.cast(weights, tf.float32)
        self.weights = tf.where(known, tf.stop_gradient(given), 0.0)
        self.labels = tf.where(known, targets, 0)
        self.positives = comparable(tf.gather(items, self.labels), similarity)
        # A token that does not count is 0, whatever is there.
        counts = tf.reshape(self.weights != 0.0, [-1] + [1] * (states.shape.rank - 1))
        vectors = comparable(tf.where(counts, tf.cast(states, tf.float32), 0.0), similarity)
        if states.shape.rank == 3:
            vectors = read_interest(vectors, self.positives[:, None])[:, 0]
        self.states = vectors / temperature

    def count_as_negative(self, negatives: tf.Tensor) -> tf.Tensor:
        """Returns which negatives `[tokens or 1, n]` count, `[tokens, n]`."""
        return (negatives >= 0) & (tf.cast(negatives, tf.int32) != self.labels[:, None])


def _binary_losses(
    tokens: _Tokens, items: tf.Tensor, negatives: tf.Tensor, similarity: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the loss of the positive and the summed loss of the negatives, both `[tokens]`."""
    drawn = comparable(tf.gather(items, tf.maximum(negatives, 0)), similarity)
    if negatives.shape.rank == 1:
        negatives = negatives[None, :]
        scores = tf.matmul(tokens.states, drawn, transpose_b=True)
    else:
        scores = tf.einsum("td,tnd->tn", tokens.states, drawn)
    losses = tf.where(tokens.count_as_negative(negatives), tf.nn.softplus(scores), 0.0)
    positive = tf.nn.softplus(-tf.reduce_sum(tokens.states * tokens.positives, axis=1))
    return positive, tf.reduce_sum(losses, axis=1)
