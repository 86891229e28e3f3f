"""AUC within groups, such as users (gauc) or sessions (session_auc)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from easyssl.metrics.auc import run_starts
from easyssl.metrics.scored_rows import ScoredRows

REDUCTIONS = ("mean", "mean_by_sample_num", "mean_by_positive_num")


class GroupedAUC(ScoredRows):
    """Mean of the exact AUC of each group of rows that share a value of a raw column.

    Groups of one class have no AUC and are left out; 0.0 if no group is left. All groups are computed in one
    pass over the rows sorted by (group, score).

    Args:
        group_column: Raw column whose value, before any hashing, names the group.
        reduction: `"mean"` weighs groups equally, `"mean_by_sample_num"` by their rows and
            `"mean_by_positive_num"` by their positive rows (sums of weights, where there are weights).
        name: Key of the result.
        prediction: Key of the score: `[n]`, or `[n, 2]` of which column 1 is read.

    Raises:
        ValueError: If `reduction` is none of the three.

    Example:
        >>> metric = GroupedAUC("user_id")
        >>> metric.update([0, 1, 1], {"probs": [0.2, 0.9, 0.4]}, columns={"user_id": [b"a", b"a", b"b"]})
        >>> metric.result()
        1.0
    """

    def __init__(
        self, group_column: str, reduction: str = "mean", name: str = "gauc", prediction: str = "probs"
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}. Received: {reduction!r}")
        self.group_column = group_column
        self.reduction = reduction
        super().__init__(name, prediction)

    def reset(self) -> None:  # noqa: D102
        super().reset()
        self._codes: dict[object, int] = {}
        self._groups: list[np.ndarray] = []

    def update(  # noqa: D102
        self,
        labels: np.ndarray,
        predictions: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
        columns: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        if columns is None or self.group_column not in columns:
            raise ValueError(f"{self.name}: the batch has no raw column '{self.group_column}'")
        super().update(labels, predictions, weights)
        codes = self._codes
        values = np.asarray(columns[self.group_column]).tolist()
        self._groups.append(np.array([codes.setdefault(v, len(codes)) for v in values], dtype=np.int32))

    def result(self) -> float:  # noqa: D102
        scores, positives, negatives = self._rows()
        if len(scores) == 0:
            return 0.0
        groups = np.concatenate(self._groups)
        order = np.lexsort((scores, groups))
        starts = run_starts(groups[order], scores[order])
        positives = np.add.reduceat(positives[order], starts)
        negatives = np.add.reduceat(negatives[order], starts)

        # From here on one entry per distinct (group, score); `first` is where each group starts.
        first = run_starts(groups[order][starts])
        sizes = np.diff(np.append(first, len(starts)))
        before = np.cumsum(negatives) - negatives
        below = before - np.repeat(before[first], sizes)
        area = np.add.reduceat(positives * (below + negatives / 2), first)
        positive_sum = np.add.reduceat(positives, first)
        negative_sum = np.add.reduceat(negatives, first)

        both = (positive_sum > 0) & (negative_sum > 0)
        if not both.any():
            return 0.0
        positive_sum, negative_sum = positive_sum[both], negative_sum[both]
        auc = area[both] / (positive_sum * negative_sum)
        importance = {
            "mean": np.ones_like(auc),
            "mean_by_sample_num": positive_sum + negative_sum,
            "mean_by_positive_num": positive_sum,
        }[self.reduction]
        return float(np.average(auc, weights=importance))
