"""Area under the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from easyssl.metrics.metric import Metric, flat
from easyssl.metrics.scored_rows import ScoredRows


class AUC(ScoredRows):
    """Exact ROC AUC: the share of (positive, negative) pairs in the right order, ties counting half.

    `sum_ij w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / sum_ij w_i w_j` over positives i and negatives j,
    computed from sorted scores. 0.0 where all labels are of one class.

    Args:
        name: Key of the result.
        prediction: Key of the score: `[n]`, or `[n, 2]` of which column 1 is read.
    """

    def __init__(self, name: str = "auc", prediction: str = "probs") -> None:
        super().__init__(name, prediction)

    def result(self) -> float:  # noqa: D102
        scores, positives, negatives = self._rows()
        if positives.sum() == 0 or negatives.sum() == 0:
            return 0.0
        order = np.argsort(scores, kind="stable")
        starts = run_starts(scores[order])
        positives = np.add.reduceat(positives[order], starts)
        negatives = np.add.reduceat(negatives[order], starts)
        below = np.cumsum(negatives) - negatives
        area = np.sum(positives * (below + negatives / 2))
        return float(area / (positives.sum() * negatives.sum()))


class ThresholdedAUC(Metric):
    """ROC AUC by the trapezoidal rule over fixed thresholds in [0, 1]; constant memory.

    The thresholds are `i / (num_thresholds - 1)`, the outermost two moved outwards by 1e-7 so that scores of
    exactly 0 and 1 are counted; a row counts as predicted positive when its score is above the threshold.
    Differs from `AUC` where many scores fall between two thresholds. 0.0 where all labels are of one class.

    Args:
        num_thresholds: At least 2.
        name: Key of the result.
        prediction: Key of the probability: `[n]`, or `[n, 2]` of which column 1 is read.

    Raises:
        ValueError: If `num_thresholds` is below 2.
    """

    def __init__(self, num_thresholds: int, name: str = "auc", prediction: str = "probs") -> None:
        if num_thresholds < 2:
            raise ValueError(f"num_thresholds must be at least 2. Received: {num_thresholds}")
        self._thresholds = np.arange(num_thresholds, dtype=np.float64) / (num_thresholds - 1)
        self._thresholds[[0, -1]] += [-1e-7, 1e-7]
        super().__init__(name, prediction)

    def reset(self) -> None:  # noqa: D102
        # Bin k holds the rows whose score is above exactly k thresholds.
        self._positives = np.zeros(len(self._thresholds) + 1)
        self._negatives = np.zeros(len(self._thresholds) + 1)

    def update(  # noqa: D102
        self,
        labels: np.ndarray,
        predictions: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        columns: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        positive = flat(labels) > 0
        scores = self._scores(predictions, len(positive))
        weight = np.ones(len(positive)) if weights is None else flat(weights).astype(np.float64)
        bins = np.searchsorted(self._thresholds, scores, side="left")
        size = len(self._positives)
        self._positives += np.bincount(bins[positive], weight[positive], size)
        self._negatives += np.bincount(bins[~positive], weight[~positive], size)

    def result(self) -> float:  # noqa: D102
        if self._positives.sum() == 0 or self._negatives.sum() == 0:
            return 0.0
        # From the highest threshold down, both rates grow from 0 to 1.
        true_rate = np.cumsum(self._positives[::-1]) / self._positives.sum()
        false_rate = np.cumsum(self._negatives[::-1]) / self._negatives.sum()
        return float(np.sum(np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2))


def run_starts(*keys: np.ndarray) -> np.ndarray:
    """Returns where runs of equal keys start in sorted arrays `[rows]`; at least one row."""
    changed = np.zeros(len(keys[0]), dtype=bool)
    changed[0] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)
