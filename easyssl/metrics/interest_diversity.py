"""How much the interests of a user differ, in direction and in what they recommend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


class InterestDiversity:
    """Metrics of users that have several interests z_1 .. z_K.

    Both are means over users:

    - `interest_cosine`: the mean of `cos(z_i, z_j)` over all pairs of interests, 1 if they are alike and 0 if
      they are at right angles. Interests of zeros are in no pair, and users without a pair do not count;
    - `interests_used@k`: how many interests stand behind the first k items of a list, `exp(H)` with the
      entropy H of the shares of these items whose largest score `z_i . item` is that of interest i: 1 if one
      interest found them all, K if all found as many. Of interests that score alike, the first one found it.
      Users with an empty list do not count.

    Everything is computed in float64, and averaged at the end, so that results do not depend on how users are
    cut into batches.

    Args:
        ks: Lengths of lists, each at least 1.

    Example:
        >>> metrics = InterestDiversity([2])
        >>> items = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.0]])
        >>> metrics.update(np.array([[[2.0, 0.0], [0.0, 3.0]]]), items, {"kept": np.array([[1, 0]])})
        >>> metrics.result()
        {'interest_cosine': 0.0, 'interests_used@2_kept': 2.0}
    """

    def __init__(self, ks: Sequence[int]) -> None:
        self.ks = tuple(sorted(set(ks)))
        if not self.ks or self.ks[0] < 1:
            raise ValueError(f"ks must be numbers of at least 1. Received: {list(ks)}")
        self.reset()

    def reset(self) -> None:
        """Forgets all users seen so far."""
        self._values: dict[str, list[np.ndarray]] = {}

    def update(self, interests: np.ndarray, items: np.ndarray, lists: Mapping[str, np.ndarray]) -> None:
        """Adds a batch of users.

        Args:
            interests: `[users, num_interests, dim]`.
            items: `[items, dim]`; further columns, such as a bias that all interests meet, are ignored.
            lists: By what the names of results end in: int `[users, n]`, the items recommended, best first,
                -1 where there are no more.
        """
        interests = np.asarray(interests, np.float64)
        self._add("interest_cosine", mean_cosine(interests))
        items = np.asarray(items)[:, : interests.shape[2]]
        for ending, listed in lists.items():
            found = np.asarray(listed)[:, : self.ks[-1]]
            vectors = items[np.maximum(found, 0)].astype(np.float64)
            best = np.argmax(np.einsum("ukd,und->unk", interests, vectors), axis=2)
            finder = np.where(found >= 0, best, -1)
            for k in self.ks:
                shares = np.stack([np.sum(finder[:, :k] == i, 1) for i in range(interests.shape[1])], 1)
                self._add(f"interests_used@{k}_{ending}", effective_number(shares))

    def _add(self, name: str, values: np.ndarray) -> None:
        self._values.setdefault(name, []).append(values[~np.isnan(values)])

    def result(self) -> dict[str, float]:
        """Returns the metrics by name; those that no user counts for are left out."""
        found = {name: np.concatenate(parts) for name, parts in self._values.items()}
        return {name: float(np.mean(values)) for name, values in found.items() if len(values)}


def mean_cosine(interests: np.ndarray) -> np.ndarray:
    """Returns each user's mean cosine of two interests, float64 `[users]`, nan without a pair.

    Args:
        interests: float64 `[users, num_interests, dim]`.

    Example:
        >>> mean_cosine(np.array([[[2.0, 0.0], [-1.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]]))
        array([-1., nan])
    """
    norms = np.sqrt(np.sum(np.square(interests), axis=2, keepdims=True))
    there = norms[:, :, 0] > 0
    unit = interests / np.where(norms > 0, norms, 1.0)
    first, second = np.triu_indices(interests.shape[1], 1)
    pairs = there[:, first] & there[:, second]
    cosines = np.sum(np.einsum("upd,upd->up", unit[:, first], unit[:, second]) * pairs, axis=1)
    return np.where(pairs.any(axis=1), cosines / np.maximum(np.sum(pairs, axis=1), 1), np.nan)


def effective_number(counts: np.ndarray) -> np.ndarray:
    """Returns the exponential of the entropy of shares, float64 `[rows]`, nan where all counts are 0.

    Args:
        counts: `[rows, n]`, not negative.

    Example:
        >>> effective_number(np.array([[3, 3, 0], [5, 0, 0], [0, 0, 0]])).round(6)
        array([ 2.,  1., nan])
    """
    total = np.sum(counts, axis=1, keepdims=True)
    shares = counts / np.maximum(total, 1)
    entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=1)
    return np.where(total[:, 0] > 0, np.exp(entropy), np.nan)
