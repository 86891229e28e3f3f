"""Exact ranking of all items with and without those that a user is not given, from one float32 product.

A float32 score is within a known bound of the exact one. So most items are clearly above or below a target;
only those within the bound, and those that may be among the best, are scored again in float64. Where that is
not enough to be sure, as with items that all score alike, `rank_items` does it all in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from easyssl.functional.chunked_softmax import balanced, size_of
from easyssl.functional.retrieval import CHUNK_ITEMS, Ranking, rank_items
from easyssl.functional.xla import in_xla

_NEVER = float("-inf")
# How many items of a user may be left out, and how many beside the best ones are scored again.
_LEFT_OUT, _SPARE = 512, 8
# How many scores near that of a target are looked at once more, per user.
_NEAR = 64


def rank_twice(
    queries: tf.Tensor,
    items: tf.Tensor,
    targets: tf.Tensor,
    *,
    k: int,
    excluded: tf.Tensor,
    chunk_items: int = CHUNK_ITEMS,
) -> tuple[Ranking, Ranking]:
    """Ranks all items for each user, once with and once without the excluded ones.

    Each result is what `rank_items` gives, for less than half of the time where a processor is much slower in
    float64 and there are no near ties without end. On a GPU, whose float32 products may be rounded more
    coarsely, and under XLA `rank_items` does it.

    Args:
        queries: `[users, dim]`, or several interests per user, for which `rank_items` does it, too.
        items: `[items, dim]`.
        targets: int `[users, targets]`; see `rank_items`.
        k: Length of the list of best items, at least 1.
        excluded: int `[users, n]`; see `rank_items`.
        chunk_items: How many items to score at once, at most. Defaults to 8192.

    Returns:
        The ranking of all items, and that without the excluded ones; no gradient flows.

    Example:
        >>> items = tf.constant([[1.0], [4.0], [3.0], [2.0]])
        >>> kept, without = rank_twice(tf.constant([[1.0]]), items, tf.constant([[0]]), k=2,
        ...                            excluded=tf.constant([[1, -1]]))
        >>> kept.ranks.numpy().tolist(), without.ranks.numpy().tolist(), without.ids.numpy().tolist()
        ([[4]], [[3]], [[2, 3]])
    """

    def exact() -> tuple[Ranking, Ranking]:
        first, second = (
            rank_items(queries, items, targets, k=k, excluded=out, chunk_items=chunk_items)
            for out in (None, excluded)
        )
        return first, second

    if queries.shape.rank != 2 or in_xla() or tf.config.list_physical_devices("GPU"):
        return exact()
    queries, items = (tf.stop_gradient(tf.cast(x, tf.float32)) for x in (queries, items))
    targets, excluded = (tf.cast(x, tf.int32) for x in (targets, excluded))
    found, sure = _by_float32(_Task(queries, items, targets, k, excluded), chunk_items)
    return tf.cond(sure, lambda: found, exact)


class _Task(NamedTuple):
    queries: tf.Tensor
    items: tf.Tensor
    targets: tf.Tensor
    k: int
    excluded: tf.Tensor

    def scores(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Returns the exact scores of pairs, float32 like both arguments, `[...]`."""
        left, right = (
            tf.cast(tf.gather(*pair), tf.float64) for pair in ((self.queries, users), (self.items, items))
        )
        return tf.cast(tf.reduce_sum(left * right, axis=-1), tf.float32)

    def scores_of(self, items: tf.Tensor) -> tf.Tensor:
        """Returns each user's exact scores of some items, float32 `[users, n]`."""
        vectors = tf.cast(tf.gather(self.items, tf.maximum(items, 0)), tf.float64)
        found = tf.linalg.matvec(vectors, tf.cast(self.queries, tf.float64))
        return tf.cast(found, tf.float32)


def _by_float32(task: _Task, chunk_items: int) -> tuple[tuple[Ranking, Ranking], tf.Tensor]:
    """Returns both rankings, and whether they are right."""
    total, users = size_of(task.items), tf.shape(task.queries)[0]
    left_out = task.excluded[:, :_LEFT_OUT]
    sure = tf.shape(task.excluded)[1] <= _LEFT_OUT
    wanted = (task.targets >= 0) & (task.targets < total)
    goals = task.scores_of(tf.where(wanted, task.targets, 0))
    sure &= tf.reduce_all(tf.math.is_finite(goals))
    goals = tf.where(wanted, goals, _NEVER)
    bound = _bound(task.queries, task.items)
    sure &= tf.reduce_all(tf.math.is_finite(bound))

    counts, candidates, rough, few = _scan(task, goals, bound, task.k + tf.shape(left_out)[1], chunk_items)
    sure &= few
    order = tf.argsort(candidates)  # of equals, those with lower ids come first
    candidates, rough = (tf.gather(x, order, batch_dims=1) for x in (candidates, rough))
    scores = task.scores_of(candidates)
    sure &= tf.reduce_all((candidates < 0) | (tf.abs(rough - scores) <= bound[:, None]))
    scores = tf.where(candidates >= 0, scores, _NEVER)
    # No other item scores higher than that.
    rest = tf.where(tf.shape(candidates)[1] >= total, _NEVER, tf.reduce_min(rough, axis=1) + bound)

    left_out = tf.sort(left_out, axis=1)
    new = tf.concat([tf.ones([users, 1], tf.bool), left_out[:, 1:] != left_out[:, :-1]], axis=1)
    new = new[:, : tf.shape(left_out)[1]] & (left_out >= 0) & (left_out < total)
    new &= ~_among(left_out, tf.where(wanted, task.targets, -1))
    beating = (task.scores_of(tf.where(new, left_out, 0))[:, None] >= goals[:, :, None]) & new[:, None]
    fewer = counts - tf.reduce_sum(tf.cast(beating, tf.int32), axis=2)
    out = _among(candidates, tf.where(new, left_out, -1)) & (candidates >= 0)

    rankings = []
    for number, allowed in ((counts, scores), (fewer, tf.where(out, _NEVER, scores))):
        missing = tf.maximum(0, task.k - tf.shape(allowed)[1])
        best, place = tf.math.top_k(tf.pad(allowed, [[0, 0], [0, missing]], constant_values=_NEVER), task.k)
        padded = tf.pad(candidates, [[0, 0], [0, missing]], constant_values=-1)
        ids = tf.where(best == _NEVER, -1, tf.gather(padded, place, batch_dims=1))
        sure &= tf.reduce_all((best[:, -1] > rest) | (rest == _NEVER))
        rankings.append(Ranking(tf.where(wanted, number, 0), ids, best))
    return (rankings[0], rankings[1]), sure


def _bound(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Returns how far float32 scores of each user may be from the exact ones, twice over, `[users]`."""
    longest = tf.reduce_max(tf.norm(items, axis=1))
    return tf.norm(queries, axis=1) * longest * ((items.shape[1] + 8) * 2.0**-23) + 1e-30


def _scan(
    task: _Task, goals: tf.Tensor, bound: tf.Tensor, best: tf.Tensor, chunk_items: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns how many items are as good as each target, itself among them; the best by float32 scores.

    Returns:
        int32 `[users, targets]`; the ids of a few more than `best` items and their scores, in no order, -1
        and -inf where there are no more; and whether few enough had to be looked at once more.
    """
    total, users = size_of(task.items), tf.shape(task.queries)[0]
    count, size = balanced(total, chunk_items)
    wide = tf.minimum(best + _SPARE, total)
    limit = _NEAR * users
    numbers = tf.range(users, dtype=tf.int64)

    def step(i: tf.Tensor, counts: tf.Tensor, few: tf.Tensor, ids: tf.Tensor, rough: tf.Tensor) -> tuple:
        first = i * size
        found = tf.matmul(task.queries, task.items[first : first + size], transpose_b=True)

        def as_good(given: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            goal, target = given
            above = tf.reduce_sum(tf.cast(found > (goal + bound)[:, None], tf.int32), axis=1)
            pairs = tf.where(tf.abs(found - goal[:, None]) <= bound[:, None])
            enough = tf.shape(pairs)[0] <= limit
            user, item = pairs[:limit, 0], tf.cast(pairs[:limit, 1], tf.int32) + first
            good = (task.scores(user, item) >= tf.gather(goal, user)) | (item == tf.gather(target, user))
            own = tf.searchsorted(tf.boolean_mask(user, good), tf.concat([numbers, [tf.int64.max]], 0))
            return above + own[1:] - own[:-1], enough

        if task.targets.shape[1] != 0:  # a map over nothing does not know the number of rows
            each, enough = tf.map_fn(
                as_good,
                (tf.transpose(goals), tf.transpose(task.targets)),
                fn_output_signature=(tf.int32, tf.bool),
                parallel_iterations=1,
            )
            counts += tf.reshape(tf.transpose(each), tf.shape(counts))
            few &= tf.reduce_all(enough)
        new, place = tf.math.top_k(found, tf.minimum(wide, tf.shape(found)[1]), sorted=False)
        rough, ids = tf.concat([rough, new], axis=1), tf.concat([ids, place + first], axis=1)
        rough, place = tf.math.top_k(rough, tf.minimum(wide, tf.shape(rough)[1]), sorted=False)
        return i + 1, counts, few, tf.gather(ids, place, batch_dims=1), rough

    nothing = tf.zeros([users, 0])
    start = (
        tf.constant(0),
        tf.zeros_like(task.targets),
        tf.constant(True),
        tf.cast(nothing, tf.int32),
        nothing,
    )
    open_shape = tf.TensorShape([None, None])
    _, counts, few, ids, rough = tf.while_loop(
        lambda i, *_: i < count,
        step,
        start,
        shape_invariants=(tf.TensorShape([]), open_shape, tf.TensorShape([]), open_shape, open_shape),
        parallel_iterations=1,
    )
    return counts, ids, rough, few


def _among(values: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Returns which of each row's values are among its ids, bool `[rows, n]`; -1 is no id."""
    ids = tf.sort(tf.concat([ids, tf.fill([tf.shape(ids)[0], 1], tf.int32.max)], axis=1), axis=1)
    found = tf.gather(ids, tf.searchsorted(ids, values), batch_dims=1)
    return (found == values) & (values >= 0)
