"""Base of metrics that need all scores at once: ranks cannot be computed from a running sum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from easyssl.metrics.metric import Metric, flat


class ScoredRows(Metric):
    """Keeps one score, one label bit and, if given, one weight per row.

    Memory is 5 bytes a row for float32 predictions (9 for float64), plus 8 with weights.
    """

    def reset(self) -> None:  # noqa: D102
        self._chunks: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []

    def update(  # noqa: D102
        self,
        labels: np.ndarray,
        predictions: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        columns: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        positive = flat(labels) > 0
        scores = self._scores(predictions, len(positive))
        kept = None if weights is None else flat(weights).astype(np.float64)
        # A copy, because the caller may reuse its buffer for the next batch.
        self._chunks.append((scores.copy(), positive, kept))

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns scores, the weight of each row as a positive and as a negative, all `[rows]`."""
        if not self._chunks:
            return np.zeros(0), np.zeros(0), np.zeros(0)
        scores = np.concatenate([scores for scores, _, _ in self._chunks])
        positive = np.concatenate([positive for _, positive, _ in self._chunks])
        weights = np.concatenate(
            [np.ones(len(p)) if w is None else w for _, p, w in self._chunks], dtype=np.float64
        )
        return scores, np.where(positive, weights, 0.0), np.where(positive, 0.0, weights)
