"""What every metric shares: streaming updates, a result, and reading scores out of predictions."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import numpy as np

from easyssl.errors import TrainingError


class Metric(abc.ABC):
    """A number about predictions, built up batch by batch with NumPy only.

    Rows count once each unless `weights` is handed in. A row is positive when its label is above 0.

    Args:
        name: Key of the result, such as `"auc"`.
        prediction: Key of the prediction that is read, such as `"probs"`.

    Example:
        >>> from easyssl.metrics import AUC
        >>> metric = AUC()
        >>> metric.update([0, 1, 1], {"probs": [0.2, 0.9, 0.4]})
        >>> metric.result()
        1.0
    """

    weighted = False
    """Whether evaluation hands in the weights of rows."""

    label = ""
    """The label column that evaluation hands in; empty for the model's first one."""

    def __init__(self, name: str, prediction: str) -> None:
        self.name = name
        self.prediction = prediction
        self.reset()

    @abc.abstractmethod
    def reset(self) -> None:
        """Forgets all rows seen so far."""

    @abc.abstractmethod
    def update(
        self,
        labels: np.ndarray,
        predictions: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        columns: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Adds one batch.

        Args:
            labels: `[n]` numbers.
            predictions: Prediction name to array, `[n]` or `[n, num_class]`.
            weights: `[n]` non-negative numbers, or None to count every row once.
            columns: Raw column name to array `[n]`; only grouped metrics read it.

        Raises:
            TrainingError: If the prediction has values that are not finite.
            ValueError: If shapes do not fit.
        """

    @abc.abstractmethod
    def result(self) -> float:
        """Returns the value over all rows since the last `reset`."""

    def results(self) -> dict[str, float]:
        """Returns the values by name; most metrics have one."""
        return {self.name: self.result()}

    def _read(self, predictions: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        """Returns the prediction as a float array of `rows` rows, checked to be finite."""
        values = np.asarray(predictions[self.prediction])
        if values.dtype.kind != "f":
            values = values.astype(np.float64)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim not in (1, 2) or values.shape[0] != rows:
            raise ValueError(
                f"{self.name}: prediction '{self.prediction}' is {list(values.shape)} for {rows} labels"
            )
        bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise TrainingError(
                f"{self.name}: {bad} of {values.size} values of prediction '{self.prediction}' are not finite"
            )
        return values

    def _scores(self, predictions: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        """Returns the score `[rows]` of the positive class: the prediction itself, or column 1 of two."""
        values = self._read(predictions, rows)
        if values.ndim == 1:
            return values
        if values.shape[1] == 2:
            return values[:, 1]
        raise ValueError(
            f"{self.name}: prediction '{self.prediction}' has {values.shape[1]} columns; expected 1 or 2"
        )


def flat(values: np.ndarray) -> np.ndarray:
    """Returns labels or weights `[n]` or `[n, 1]` as `[n]`."""
    array = np.asarray(values)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
