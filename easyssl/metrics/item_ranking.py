"""The metrics of ranking all items, as evaluation computes them batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from easyssl.metrics.interest_diversity import InterestDiversity
from easyssl.metrics.metric import Metric
from easyssl.metrics.retrieval import RetrievalMetrics

if TYPE_CHECKING:
    from easyssl.config import Config

EXCLUDED, KEPT = "excluded", "kept"
_PATH = "eval_config.metrics_set"


class ItemRanking(Metric):
    """`RetrievalMetrics` of a NextItemModel, with histories left out of the ranking, or not, or both.

    The names of results end in `_excluded` or `_kept`; `users` and the names of slices are those of
    `RetrievalMetrics`. Users with several interests have those of `InterestDiversity`, too.

    Args:
        protocols: `"excluded"`, `"kept"` or both.
        ks: Lengths of lists.
        history_edges: See `RetrievalMetrics`.
        by_popularity: Whether there are slices by popularity.
        head_share: See `RetrievalMetrics`.
        popularity_edges: See `RetrievalMetrics`.
    """

    def __init__(
        self,
        protocols: Sequence[str],
        ks: Sequence[int],
        history_edges: Sequence[int] = (),
        by_popularity: bool = False,
        head_share: float = 0.2,
        popularity_edges: Sequence[int] = (),
    ) -> None:
        self.protocols = tuple(protocols)
        self.ks = tuple(ks)
        self.history_edges = tuple(history_edges)
        self.head_share = head_share
        self.by_popularity = by_popularity
        self.popularity_edges = tuple(popularity_edges)
        super().__init__("item_ranking", "ranks")

    @property
    def longest(self) -> int:
        """How many items the lists need to have."""
        return max(self.ks)

    @property
    def reads_popularity(self) -> bool:
        """Whether how popular items are is needed."""
        return self.by_popularity or bool(self.popularity_edges)

    def reset(self) -> None:
        """Forgets all rows seen so far."""
        self._metrics: dict[str, RetrievalMetrics] = {}
        self._diversity = InterestDiversity(self.ks)

    def update(
        self,
        labels: np.ndarray,
        predictions: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        columns: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Adds one batch of rankings; see `Metric`."""
        if not self._metrics:
            counts = predictions["popularity"] if self.reads_popularity else None
            items = len(predictions["items"])
            self._metrics = {
                name: RetrievalMetrics(
                    self.ks,
                    items,
                    history_edges=self.history_edges,
                    item_counts=counts,
                    head_share=self.head_share if self.by_popularity else None,
                    popularity_edges=self.popularity_edges,
                )
                for name in self.protocols
            }
        for name, metric in self._metrics.items():
            lists = predictions[f"lists_{name}"]
            lengths = predictions["history_lengths"]
            metric.update(predictions[f"ranks_{name}"], predictions["targets"], lists, lengths)
        if "interests" in predictions:
            recommended = {name: predictions[f"lists_{name}"] for name in self.protocols}
            self._diversity.update(predictions["interests"], predictions["items"], recommended)

    def result(self) -> float:
        """Returns the first result."""
        return next(iter(self.results().values()))

    def results(self) -> dict[str, float]:
        """Returns all results by name."""
        found: dict[str, float] = {}
        for protocol, metric in self._metrics.items():
            for name, value in metric.result().items():
                found[name if name.rpartition("/")[2] == "users" else f"{name}_{protocol}"] = value
        return {**found, **self._diversity.result()}


def ranking_from_config(config: Config) -> ItemRanking:
    """Returns the metric of the config's `item_ranking`, that of its defaults without one.

    Args:
        config: The config of a NextItemModel.

    Raises:
        ConfigError: If a field does not fit, or there is another metric or a second ranking.
    """
    metrics = config.message.eval_config.metrics_set
    for i, metric in enumerate(metrics):
        kind = metric.WhichOneof("metric")
        if kind != "item_ranking":
            raise config.error(
                f"{_PATH}[{i}]", f"{kind or 'no metric'} is no metric of a NextItemModel; use item_ranking"
            )
        if i:
            raise config.error(f"{_PATH}[{i}]", "a second item_ranking; list all of topk in the first one")
    path = f"{_PATH}[0].item_ranking"
    message: Any = metrics[0].item_ranking if metrics else None
    if message is None:
        return ItemRanking((EXCLUDED,), (5, 10, 20))
    if min(message.topk, default=1) < 1:
        raise config.error(f"{path}.topk", "a k is 0; expected at least 1")
    for field in ("history_edges", "popularity_edges"):
        edges = list(getattr(message, field))
        if any(a >= b for a, b in zip([0, *edges], edges, strict=False)):
            raise config.error(f"{path}.{field}", f"found {edges}; expected increasing numbers from 1 on")
    if not 0 < message.head_share < 1:
        raise config.error(f"{path}.head_share", f"is {message.head_share:g}, expected a number in (0, 1)")
    for field in ("by_popularity", "popularity_edges"):
        if getattr(message, field) and not config.message.data_config.item_corpus.popularity:
            raise config.error(f"{path}.{field}", "needs data_config.item_corpus.popularity")
    protocols = {message.EXCLUDED: (EXCLUDED,), message.KEPT: (KEPT,), message.BOTH: (EXCLUDED, KEPT)}
    return ItemRanking(
        protocols[message.history],
        tuple(message.topk) or (5, 10, 20),
        tuple(message.history_edges),
        message.by_popularity,
        message.head_share,
        tuple(message.popularity_edges),
    )
