"""Base of metrics that are a ratio of two running sums."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import numpy as np

from easyssl.metrics.metric import Metric, flat


class Ratio(Metric):
    """A weighted share or mean: `numerator / denominator`, 0.0 while the denominator is 0."""

    def reset(self) -> None:  # noqa: D102
        self._numerator = 0.0
        self._denominator = 0.0

    def update(  # noqa: D102
        self,
        labels: np.ndarray,
        predictions: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        columns: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        labels = flat(labels)
        values, counted = self._terms(labels, predictions)
        weight = np.ones(len(labels)) if weights is None else flat(weights).astype(np.float64)
        self._numerator += float(np.sum(values * counted * weight))
        self._denominator += float(np.sum(counted * weight))

    def result(self) -> float:  # noqa: D102
        return self._numerator / self._denominator if self._denominator else 0.0

    @abc.abstractmethod
    def _terms(
        self, labels: np.ndarray, predictions: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the value of each row and whether it counts, both `[n]`."""
