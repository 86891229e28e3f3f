"""Exact ranking of all items, chunk by chunk.

Scores are added up in float64 and then rounded to float32. A float32 matrix product depends in its last bits
on the shapes of its operands, so that near ties, and items with equal vectors, would come in another order
with another size of batch or chunk; this way they do not.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from easyssl.functional.chunked_softmax import balanced, chunks_of, size_of
from easyssl.functional.similarity import check_similarity, comparable

CHUNK_ITEMS = 8192
_NEVER = float("-inf")


class Ranking(NamedTuple):
    """What `rank_items` finds.

    Attributes:
        ranks: int32 `[users, targets]`, from 1 on; 0 where there is no target.
        ids: int32 `[users, k]`, the best items, best first; -1 where there are no more.
        scores: float32 `[users, k]`, their scores; -inf where there are no more.
    """

    ranks: tf.Tensor
    ids: tf.Tensor
    scores: tf.Tensor


def rank_items(
    queries: tf.Tensor,
    items: tf.Tensor,
    targets: tf.Tensor | None = None,
    *,
    k: int,
    excluded: tf.Tensor | None = None,
    similarity: str = "dot",
    bias: tf.Tensor | None = None,
    chunk_items: int = CHUNK_ITEMS,
) -> Ranking:
    """Ranks all items for each user: the places of the targets, and the best k.

    A target's rank is 1 plus the number of other candidates that score as high or higher: of equals it takes
    the last place. So a model that scores all items alike finds nothing, instead of as much as the order of
    its items gives it, and a score that is not a number beats nobody. Between items that are listed, the one
    with the lower id comes first. All other targets of a user are candidates like any item. A target is a
    candidate even if it is excluded, as when a user meets an item again.

    One matrix product per chunk of items; `[users, chunk_items]` scores (with several interests, that many
    times more) are held at once.

    Args:
        queries: `[users, dim]`, or several interests per user, `[users, num_interests, dim]`; an item's score
            is then the largest one, `max_k sim(z_k, item)`.
        items: `[items, dim]`.
        targets: int `[users, targets]` rows of `items`, or `[users]`; entries that are no items, such as -1,
            stand for none. Defaults to None, which is for users without targets.
        k: Length of the list of best items, at least 1.
        excluded: int `[users, n]`, items that a user is not given, such as the history; entries that are no
            items stand for none. An item that nobody is to be given, such as padding, can be taken out by
            `bias`. Defaults to None, which excludes nothing.
        similarity: "dot" or "cosine". Defaults to "dot".
        bias: `[items]`, added to each item's score; -inf takes an item out. Defaults to None.
        chunk_items: How many items to score at once, at most. Defaults to 8192.

    Returns:
        The ranking; no gradient flows.

    Raises:
        ValueError: For an unknown similarity, or a number below 1.

    Example:
        >>> items = tf.constant([[1.0], [4.0], [3.0], [2.0]])
        >>> found = rank_items(tf.constant([[1.0]]), items, tf.constant([[2, 0, -1]]), k=3,
        ...                    excluded=tf.constant([[1, -1]]))
        >>> found.ranks.numpy().tolist(), found.ids.numpy().tolist(), found.scores.numpy().tolist()
        ([[1, 3, 0]], [[2, 3, 0]], [[3.0, 2.0, 1.0]])
    """
    check_similarity(similarity, 1.0)
    for name, value in (("k", k), ("chunk_items", chunk_items)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {value}")
    queries, items = (tf.stop_gradient(_exact(x, similarity)) for x in (queries, items))
    total, users = size_of(items), tf.shape(queries)[0]
    # One more coordinate: 1 in each query, the bias in each item, and -inf in what fills up the last chunk.
    bias = tf.zeros([total], tf.float64) if bias is None else tf.cast(bias, tf.float64)
    queries = tf.concat([queries, tf.ones_like(queries[..., :1])], axis=-1)
    items = tf.concat([items, bias[:, None]], axis=1)
    targets = tf.zeros([users, 0], tf.int32) if targets is None else tf.cast(targets, tf.int32)
    targets = targets[:, None] if targets.shape.rank == 1 else targets
    excluded = tf.zeros([users, 0], tf.int32) if excluded is None else tf.cast(excluded, tf.int32)

    wanted = (targets >= 0) & (targets < total)
    rows = tf.where(wanted, targets, 0)
    goals = tf.cast(_score_own(queries, tf.gather(items, rows)), tf.float32)
    goals = tf.where(wanted, goals, _NEVER)

    count, size = balanced(total, chunk_items)
    nothing = tf.one_hot(size_of(items, 1) - 1, size_of(items, 1), _NEVER, 0.0, dtype=tf.float64)
    filler = tf.tile(nothing[None], [count * size - total, 1])
    vectors = chunks_of(tf.concat([items, filler], axis=0), count, size)
    # One more place in each chunk, for what belongs into other chunks.
    vectors = tf.concat([vectors, tf.tile(nothing[None, None], [count, 1, 1])], axis=1)
    # What is put into a chunk: -inf for excluded items, and then for targets the very score they are
    # compared with.
    changed = tf.concat([excluded, tf.where(wanted, targets, -1)], axis=1)
    values = tf.concat([tf.fill(tf.shape(excluded), _NEVER), goals], axis=1)
    row = tf.broadcast_to(tf.range(users)[:, None], tf.shape(changed))

    def step(i: tf.Tensor, beating: tf.Tensor, ids: tf.Tensor, scores: tf.Tensor) -> tuple:
        first = i * size
        found = tf.cast(_score_all(queries, vectors[i]), tf.float32)
        here = (changed >= first) & (changed < first + size)
        place, value = tf.where(here, changed - first, size), tf.where(here, values, _NEVER)
        for part in (slice(0, size_of(excluded, 1)), slice(size_of(excluded, 1), None)):
            index = tf.stack([row[:, part], place[:, part]], axis=-1)
            found = tf.tensor_scatter_nd_update(found, index, value[:, part])

        def as_good(goal: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(tf.cast(~(found < goal[:, None]), tf.int32), axis=1)

        counts = tf.zeros_like(targets)
        if targets.shape[1] != 0:  # a map over nothing does not know the number of rows
            each = tf.map_fn(
                as_good, tf.transpose(goals), fn_output_signature=tf.int32, parallel_iterations=1
            )
            counts = tf.reshape(tf.transpose(each), tf.shape(targets))
        new_scores, new_ids = _best(found, k)
        new_ids = tf.where(new_scores == _NEVER, -1, new_ids + first)
        # Earlier items stand first, and so come first among equals.
        scores, order = _best(tf.concat([scores, new_scores], axis=1), k)
        ids = tf.gather(tf.concat([ids, new_ids], axis=1), order, batch_dims=1)
        return i + 1, beating + counts, ids, scores

    _, beating, ids, scores = tf.while_loop(
        lambda i, *_: i < count,
        step,
        (tf.constant(0), tf.zeros_like(targets), tf.fill([users, k], -1), tf.fill([users, k], _NEVER)),
        parallel_iterations=1,
    )
    # A target is as good as itself.
    return Ranking(tf.where(wanted, beating, 0), ids, scores)


def _exact(vectors: tf.Tensor, similarity: str) -> tf.Tensor:
    return tf.cast(comparable(vectors, similarity), tf.float64)


def _score_all(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Returns float64 `[users, items]`."""
    if queries.shape.rank == 2:
        return tf.matmul(queries, items, transpose_b=True)
    flat = tf.matmul(tf.reshape(queries, [-1, size_of(queries, 2)]), items, transpose_b=True)
    by_interest = tf.reshape(flat, [tf.shape(queries)[0], size_of(queries, 1), size_of(items)])
    return tf.reduce_max(by_interest, axis=1)


def _score_own(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Returns float64 `[users, n]` for items `[users, n, dim]`."""
    if queries.shape.rank == 2:
        return tf.einsum("ud,und->un", queries, items)
    return tf.reduce_max(tf.einsum("ukd,und->unk", queries, items), axis=2)


def _best(scores: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the k largest entries `[users, k]` and where they are, first ones of equals first."""
    missing = tf.maximum(0, k - tf.shape(scores)[1])
    padded = tf.pad(scores, [[0, 0], [0, missing]], constant_values=_NEVER)
    best, place = tf.math.top_k(padded, k)
    return best, place
