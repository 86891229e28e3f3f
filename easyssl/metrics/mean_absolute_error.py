"""Mean absolute error."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from easyssl.metrics.ratio import Ratio


class MeanAbsoluteError(Ratio):
    """Mean of `|label - prediction|`, summed in float64.

    Args:
        name: Key of the result.
        prediction: Key of the predicted value `[n]`.
    """

    def __init__(self, name: str = "mean_absolute_error", prediction: str = "y") -> None:
        super().__init__(name, prediction)

    def _terms(
        self, labels: np.ndarray, predictions: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        error = labels.astype(np.float64) - self._read(predictions, len(labels))
        return np.abs(error), np.ones(len(labels))
