"""Root of the mean squared error."""

from __future__ import annotations

import math

from easyssl.metrics.mean_squared_error import MeanSquaredError


class RootMeanSquaredError(MeanSquaredError):
    """Square root of `MeanSquaredError` over all rows, not a mean of roots per batch.

    Args:
        name: Key of the result.
        prediction: Key of the predicted value `[n]`.
    """

    def __init__(self, name: str = "root_mean_squared_error", prediction: str = "y") -> None:
        super().__init__(name, prediction)

    def result(self) -> float:  # noqa: D102
        return math.sqrt(super().result())
