"""Share of rows whose class is predicted right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from easyssl.metrics.ratio import Ratio


class Accuracy(Ratio):
    """Share of rows predicted right.

    A probability `[n]` predicts the positive class above 0.5; scores `[n, num_class]` predict the class with
    the largest one (the first of equal ones), compared with integer labels.

    Args:
        name: Key of the result.
        prediction: Key of the probabilities.
    """

    def __init__(self, name: str = "accuracy", prediction: str = "probs") -> None:
        super().__init__(name, prediction)

    def _terms(
        self, labels: np.ndarray, predictions: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        values = self._read(predictions, len(labels))
        right = (values > 0.5) == (labels > 0) if values.ndim == 1 else np.argmax(values, axis=1) == labels
        return right.astype(np.float64), np.ones(len(labels))
