"""Share of predicted positives that are positive."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from easyssl.metrics.ratio import Ratio


class Precision(Ratio):
    """`tp / (tp + fp)` with a probability above 0.5 as the positive prediction; 0.0 if there is none.

    Args:
        name: Key of the result.
        prediction: Key of the probability: `[n]`, or `[n, 2]` of which column 1 is read.
    """

    def __init__(self, name: str = "precision", prediction: str = "probs") -> None:
        super().__init__(name, prediction)

    def _terms(
        self, labels: np.ndarray, predictions: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        return labels > 0, self._scores(predictions, len(labels)) > 0.5
