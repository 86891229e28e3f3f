"""Share of rows whose class is among the k best scored ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from easyssl.metrics.ratio import Ratio


class RecallAtTopK(Ratio):
    """Share of rows for which fewer than `topk` classes score above the labelled one.

    Args:
        topk: How many classes count as retrieved, at least 1.
        name: Key of the result; `recall@<topk>` if None.
        prediction: Key of the scores `[n, num_class]`.

    Raises:
        ValueError: If `topk` is below 1.
    """

    def __init__(self, topk: int, name: str | None = None, prediction: str = "logits") -> None:
        if topk < 1:
            raise ValueError(f"topk must be at least 1. Received: {topk}")
        self.topk = topk
        super().__init__(f"recall@{topk}" if name is None else name, prediction)

    def _terms(
        self, labels: np.ndarray, predictions: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = self._read(predictions, len(labels))
        own = np.take_along_axis(scores, labels.astype(np.int64)[:, None], axis=1)
        found = np.count_nonzero(scores > own, axis=1) < self.topk
        return found.astype(np.float64), np.ones(len(labels))
