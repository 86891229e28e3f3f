"""Best F1 over all thresholds."""

from __future__ import annotations

import numpy as np

from easyssl.metrics.auc import run_starts
from easyssl.metrics.scored_rows import ScoredRows


class MaxF1(ScoredRows):
    """Largest F1 score `2 tp / (2 tp + fp + fn)` that some threshold on the probability reaches.

    Every distinct score is tried, so the value is exact. EasyRec tries 200 thresholds in [0, 1] and compares
    them with logits instead of probabilities; we depart from that on purpose, so numbers differ. 0.0 where
    no label is positive.

    Args:
        name: Key of the result.
        prediction: Key of the score: `[n]`, or `[n, 2]` of which column 1 is read.
    """

    def __init__(self, name: str = "max_f1", prediction: str = "probs") -> None:
        super().__init__(name, prediction)

    def result(self) -> float:  # noqa: D102
        scores, positives, negatives = self._rows()
        if positives.sum() == 0:
            return 0.0
        order = np.argsort(-scores, kind="stable")
        starts = run_starts(scores[order])
        true = np.cumsum(np.add.reduceat(positives[order], starts))
        false = np.cumsum(np.add.reduceat(negatives[order], starts))
        return float(np.max(2 * true / (true + false + positives.sum())))
