"""Means, deviations and paired differences of a few runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

# Student's t: what is exceeded by 2.5 % at 1, 2, .. degrees of freedom.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def summary(values: Sequence[float]) -> str:
    """Returns mean and standard deviation of a sample; the mean alone of one number.

    Example:
        >>> summary([0.1, 0.3])
        '0.2000 ± 0.1414'
    """
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.4f}"


def paired_interval(
    reference: Mapping[int, float], other: Mapping[int, float]
) -> tuple[float, float, int] | None:
    """Returns how much larger numbers are than those of the same seed, on average.

    Args:
        reference: Numbers by seed.
        other: Numbers by seed.

    Returns:
        Mean difference, half of its 95 % confidence interval by Student's t, and the number of pairs; None
        with fewer than two seeds in common.

    Example:
        >>> mean, half, pairs = paired_interval({1: 0.10, 2: 0.12, 3: 0.11}, {1: 0.13, 2: 0.14, 3: 0.15})
        >>> round(mean, 4), round(half, 4), pairs
        (0.03, 0.0248, 3)
    """
    differences = [other[seed] - reference[seed] for seed in sorted(reference.keys() & other.keys())]
    if len(differences) < 2:
        return None
    quantile = _T[min(len(differences) - 1, len(_T)) - 1]
    half = quantile * statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.mean(differences), half, len(differences)
