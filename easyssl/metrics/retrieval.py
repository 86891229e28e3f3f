"""How good ranked lists are: hit rate, recall, NDCG, MRR, MAP and coverage, overall and by slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from easyssl.errors import TrainingError

RANK_METRICS = ("hr", "recall", "ndcg", "mrr", "map")


class RetrievalMetrics:
    """Metrics of ranking all items, from the ranks of each user's targets.

    With the ranks r of a user's n targets, and m = min(n, k), each is a mean over users:

    - `hr@k`: 1 if a target is among the first k, else 0. With one target it equals recall;
    - `recall@k`: the share of targets among the first k;
    - `ndcg@k`: the sum of `1 / log2(r + 1)` over the targets among the first k, divided by the same sum for
      the ranks 1 to m, its largest value;
    - `mrr@k`: 1 / r of the first target, 0 if that is beyond k;
    - `map@k`: the sum over the targets among the first k of the share of targets among the first r, over m.

    `users` says how many users that is. `coverage@k` is the share of the catalogue that is on the list of the
    first k of at least one user. Users without targets count for coverage only. A target that is given twice
    counts once.

    Slices, each with the same metrics but coverage, as `<slice>/<metric>`:

    - by the lengths of histories: with edges `[5, 10]` there are `history_0_4`, `history_5_9` and
      `history_10_up`;
    - by popularity: `head_items` for the most popular items and `tail_items` for the others; with edges
      `[5]` there are `popularity_0_4` for items that are in the training data less than 5 times, and
      `popularity_5_up`. A user's targets of other slices are left out; ranks stay those among all items.

    Everything is kept, 12 bytes a target, and computed in float64 at the end, so that results do not depend
    on how users are cut into batches. State beside a result whether histories were excluded from the ranking.

    Args:
        ks: Lengths of lists, each at least 1.
        num_items: How many items are ranked; ids are below that.
        num_candidates: How many of them can be recommended, if some, such as padding, cannot: coverage and
            head items are shares of these. Defaults to None, which is all.
        history_edges: Where a slice by history length ends and the next one begins, increasing, from 1 on.
            Defaults to (), which is no slices.
        item_counts: `[items]`, how often each item is in the training data. Defaults to None, which is no
            slices by popularity.
        head_share: Share of items that are head items, between 0 and 1; the count is rounded, of equally
            popular items the first ones come first. None is no slices of head and tail. Defaults to 0.2.
        popularity_edges: Where a slice by popularity ends and the next one begins, increasing, from 1 on;
            needs `item_counts`. Defaults to (), which is no such slices.

    Raises:
        ValueError: For arguments out of range.

    Example:
        >>> metrics = RetrievalMetrics([2], num_items=4)
        >>> metrics.update(ranks=[[1], [3]], targets=[[3], [0]], lists=[[3, 1], [1, 2]])
        >>> for name, value in metrics.result().items():
        ...     print(name, value)
        users 2.0
        hr@2 0.5
        recall@2 0.5
        ndcg@2 0.5
        mrr@2 0.5
        map@2 0.5
        coverage@2 0.75

    References:
        Krichene and Rendle, "On sampled metrics for item recommendation", KDD 2020, on ranking all items.
    """

    def __init__(
        self,
        ks: Sequence[int],
        num_items: int,
        num_candidates: int | None = None,
        history_edges: Sequence[int] = (),
        item_counts: np.ndarray | None = None,
        head_share: float | None = 0.2,
        popularity_edges: Sequence[int] = (),
    ) -> None:
        self.ks = tuple(sorted(set(ks)))
        self.num_items = num_items
        self.num_candidates = num_items if num_candidates is None else num_candidates
        self.history_edges = tuple(history_edges)
        self.popularity_edges = tuple(popularity_edges)
        if not self.ks or self.ks[0] < 1:
            raise ValueError(f"ks must be numbers of at least 1. Received: {list(ks)}")
        if not 1 <= self.num_candidates <= num_items:
            raise ValueError(
                "num_items must be at least 1, num_candidates between 1 and num_items. "
                f"Received: {num_items}, {num_candidates}"
            )
        for name in ("history_edges", "popularity_edges"):
            edges = getattr(self, name)
            if not all(a < b for a, b in zip((0, *edges), edges, strict=False)):
                raise ValueError(f"{name} must increase, from 1 on. Received: {list(edges)}")
        if self.popularity_edges and item_counts is None:
            raise ValueError("popularity_edges need item_counts")
        if head_share is not None and not 0 < head_share < 1:
            raise ValueError(f"head_share must be between 0 and 1. Received: {head_share}")
        self._is_head: np.ndarray | None = None
        self._counts = None if item_counts is None else np.asarray(item_counts)
        if item_counts is not None:
            if np.shape(item_counts) != (num_items,):
                raise ValueError(
                    f"item_counts are not [{num_items}]. Received: {list(np.shape(item_counts))}"
                )
        if item_counts is not None and head_share is not None:
            self._is_head = np.zeros(num_items, bool)
            by_count = np.argsort(-np.asarray(item_counts, np.float64), kind="stable")
            self._is_head[by_count[: round(head_share * self.num_candidates)]] = True
        self.reset()

    def reset(self) -> None:
        """Forgets all users seen so far."""
        self._users = 0
        self._kept: list[tuple[np.ndarray, ...]] = []  # user, rank, target
        self._lengths: list[np.ndarray] = []
        # The best place that an item has on any list.
        self._place = np.full(self.num_items, np.iinfo(np.int32).max, np.int32)

    def update(
        self,
        ranks: np.ndarray,
        targets: np.ndarray,
        lists: np.ndarray,
        history_lengths: np.ndarray | None = None,
    ) -> None:
        """Adds a batch of users, such as `easyssl.functional.retrieval.rank_items` ranks them.

        Args:
            ranks: int `[users, targets]`, from 1 on.
            targets: int `[users, targets]`, ids of items; entries that are no items, such as -1, stand for
                none.
            lists: int `[users, n]`, the items recommended, best first, -1 where there are no more. For
                coverage n must be at least the largest k, or all items.
            history_lengths: `[users]`; needed for slices by history. Defaults to None.

        Raises:
            ValueError: If shapes do not fit, or history lengths are needed and not given.
            TrainingError: If a target's rank is beyond the number of items, as where scores are not finite.
        """
        ranks, targets, lists = np.asarray(ranks), np.asarray(targets), np.asarray(lists)
        if ranks.ndim != 2 or ranks.shape != targets.shape or lists.ndim != 2 or len(lists) != len(ranks):
            raise ValueError(
                "ranks and targets are [users, targets], lists are [users, n]. Received shapes: "
                f"{list(ranks.shape)}, {list(targets.shape)}, {list(lists.shape)}"
            )
        if lists.shape[1] < min(self.ks[-1], self.num_items):
            raise ValueError(f"lists have {lists.shape[1]} items; coverage@{self.ks[-1]} needs more")
        if self.history_edges:
            if history_lengths is None or np.shape(history_lengths) != (len(ranks),):
                raise ValueError("slices by history need history_lengths, one for each user")
        wanted = _first_of_each(targets, self.num_items)
        user, place = np.nonzero(wanted)
        own, target = ranks[user, place], targets[user, place]
        bad = np.count_nonzero((own < 1) | (own > self.num_items))
        if bad:
            raise TrainingError(
                f"{bad} of {len(own)} targets have no rank from 1 to {self.num_items}; are scores not finite?"
            )
        if self.history_edges:
            self._lengths.append(np.array(history_lengths, np.int64))
        self._kept.append(tuple(x.astype(np.int32) for x in (user + self._users, own, target)))
        self._users += len(ranks)
        for column, items in enumerate(lists.T):
            items = items[(items >= 0) & (items < self.num_items)]
            self._place[items] = np.minimum(self._place[items], column)

    def result(self) -> dict[str, float]:
        """Returns the metrics by name; 0.0 where there is no user to average over."""
        if not self._kept:
            user = rank = target = np.zeros(0, np.int32)
        else:
            user, rank, target = (np.concatenate(column) for column in zip(*self._kept, strict=True))
        found = ranking_values(user, rank, self.ks)
        for k in self.ks:
            found[f"coverage@{k}"] = np.count_nonzero(self._place < k) / self.num_candidates
        for name, chosen in self._slices(user, target):
            values = ranking_values(user[chosen], rank[chosen], self.ks)
            found.update({f"{name}/{key}": value for key, value in values.items()})
        return found

    def _slices(self, user: np.ndarray, target: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Yields the name of each slice and which targets `[targets]` belong to it."""
        if self.history_edges:
            lengths = np.concatenate(self._lengths) if self._lengths else np.zeros(0, np.int64)
            yield from _between("history", lengths, self.history_edges, user)
        if self._is_head is not None:
            yield "head_items", self._is_head[target]
            yield "tail_items", ~self._is_head[target]
        if self.popularity_edges and self._counts is not None:
            yield from _between("popularity", self._counts, self.popularity_edges, target)


def _between(
    name: str, values: np.ndarray, edges: Sequence[int], of: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name of each slice between edges and which of `values[of]` are in it."""
    bins = np.digitize(values, edges)[of]
    for i, first in enumerate((0, *edges)):
        last = "up" if i == len(edges) else edges[i] - 1
        yield f"{name}_{first}_{last}", bins == i


def ranking_values(user: np.ndarray, rank: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    """Averages the metrics of `RetrievalMetrics` over users.

    Args:
        user: int `[targets]`, whose target it is.
        rank: int `[targets]`, its rank, from 1 on.
        ks: Lengths of lists.

    Returns:
        `users`, how many there are, and the metrics by name, 0.0 without users.

    Example:
        >>> ranking_values(np.array([0, 0, 1]), np.array([1, 3, 9]), [2])["recall@2"]
        0.25
    """
    found = {"users": float(len(np.unique(user)))}
    if len(user) == 0:
        return {**found, **{f"{name}@{k}": 0.0 for k in ks for name in RANK_METRICS}}
    order = np.lexsort((rank, user))
    user, rank = user[order], rank[order].astype(np.float64)
    first = np.flatnonzero(np.append(True, user[1:] != user[:-1]))
    counts = np.diff(np.append(first, len(user)))
    # How many targets of the user are at this rank or before it: up to the end of a run of equal ranks.
    ends = np.flatnonzero(np.append((user[1:] != user[:-1]) | (rank[1:] != rank[:-1]), True))
    last = ends[np.searchsorted(ends, np.arange(len(user)))]
    precision = (last + 1 - np.repeat(first, counts)) / rank
    gain = 1.0 / np.log2(rank + 1.0)
    best = np.cumsum(1.0 / np.log2(np.arange(2, max(ks) + 2, dtype=np.float64)))

    for k in ks:
        listed = rank <= k
        hits = np.add.reduceat(listed.astype(np.float64), first)
        possible = np.minimum(counts, k)
        values = {
            "hr": hits > 0,
            "recall": hits / counts,
            "ndcg": np.add.reduceat(gain * listed, first) / best[possible - 1],
            "mrr": (hits > 0) / rank[first],
            "map": np.add.reduceat(precision * listed, first) / possible,
        }
        found.update({f"{name}@{k}": float(np.mean(values[name])) for name in RANK_METRICS})
    return found


def _first_of_each(targets: np.ndarray, num_items: int) -> np.ndarray:
    """Returns which entries are items that the row does not have further to the left."""
    order = np.argsort(targets, axis=1, kind="stable")
    ordered = np.take_along_axis(targets, order, axis=1)
    fresh = np.ones(targets.shape, bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(fresh)
    np.put_along_axis(first, order, fresh, axis=1)
    return first & (targets >= 0) & (targets < num_items)
