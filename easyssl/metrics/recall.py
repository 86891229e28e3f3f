"""Share of positives that are predicted positive."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from easyssl.metrics.ratio import Ratio


class Recall(Ratio):
    """`tp / (tp + fn)` with a probability above 0.5 as the positive prediction; 0.0 without positive labels.

    Args:
        name: Key of the result.
        prediction: Key of the probability: `[n]`, or `[n, 2]` of which column 1 is read.
    """

    def __init__(self, name: str = "recall", prediction: str = "probs") -> None:
        super().__init__(name, prediction)

    def _terms(
        self, labels: np.ndarray, predictions: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._scores(predictions, len(labels)) > 0.5, labels > 0
