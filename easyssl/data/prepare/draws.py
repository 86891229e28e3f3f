"""Small tools to draw with."""

from __future__ import annotations

import numpy as np


def choose(weights: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Returns choices `[rows, n]` from row-wise weights `[rows, k]` by inverting their cumulative sum."""
    edges = np.cumsum(weights, axis=1)
    edges /= edges[:, -1:]
    chosen = np.zeros(uniform.shape, dtype=np.int64)
    for k in range(edges.shape[1] - 1):
        chosen += uniform > edges[:, k : k + 1]
    return chosen


def intercept(logit: np.ndarray, rate: float) -> float:
    """Returns the shift of the logits at which the mean probability is `rate`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        if sigmoid(logit + middle).mean() < rate:
            low = middle
        else:
            high = middle
    return middle


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Returns `1 / (1 + exp(-x))`."""
    return 1 / (1 + np.exp(-x))


def zipf(count: int, power: float) -> np.ndarray:
    """Returns `count` shares that fall as `rank ** -power` and sum to 1."""
    weights = np.arange(1, count + 1, dtype=np.float64) ** -power
    return weights / weights.sum()


def public_ids(rng: np.random.Generator, count: int, largest: int) -> np.ndarray:
    """Returns `count` different ids between 1 and `largest`, in no order."""
    return rng.choice(largest, count, replace=False) + 1
