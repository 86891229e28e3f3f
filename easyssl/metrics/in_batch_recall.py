"""Share of rows whose item is among the k best of the batch's items."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from easyssl.metrics.ratio import Ratio

_NAMES = {"all": "recall", "batch": "recall_in_batch", "sampled": "recall_neg_sam"}


class InBatchRecall(Ratio):
    """Share of rows i for which fewer than `topk` of the items they are compared with score above item i.

    It depends on the size of the batches, so that only results of one batch size can be compared; rows are
    weighted.

    Args:
        topk: How many items count as retrieved, at least 1.
        columns: What item i is compared with: "batch" for the items of other rows, "sampled" for sampled
            negatives, "all" for both.
        name: Key of the result; `recall@<topk>`, `recall_in_batch@<topk>` or `recall_neg_sam@<topk>` if None.
        prediction: Key of the scores `[n, n + negatives]`; item i is the own one of row i.

    Raises:
        ValueError: If `topk` is below 1 or `columns` is unknown.

    Example:
        >>> metric = InBatchRecall(1, "batch")
        >>> metric.update([1, 1], {"logits": np.array([[0.9, 0.1, 2.0], [0.8, 0.2, 0.0]])})
        >>> metric.name, metric.result()
        ('recall_in_batch@1', 0.5)
    """

    weighted = True

    def __init__(
        self, topk: int, columns: str = "all", name: str | None = None, prediction: str = "logits"
    ) -> None:
        if topk < 1:
            raise ValueError(f"topk must be at least 1. Received: {topk}")
        if columns not in _NAMES:
            raise ValueError(f"columns must be one of {', '.join(_NAMES)}. Received: {columns}")
        self.topk = topk
        self.columns = columns
        super().__init__(f"{_NAMES[columns]}@{topk}" if name is None else name, prediction)

    def _terms(
        self, labels: np.ndarray, predictions: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = len(labels)
        scores = self._read(predictions, rows).reshape(rows, -1)
        own = np.diagonal(scores)[:, None]
        compared = {"all": scores, "batch": scores[:, :rows], "sampled": scores[:, rows:]}[self.columns]
        found = np.count_nonzero(compared > own, axis=1) < self.topk
        return found.astype(np.float64), np.ones(rows)
