"""How much fields of rows tell about each other, counted in one pass over the rows.

NumPy only. Every pair of values that occurs is counted, none that does not: memory grows with the number of
different pairs of values in the rows, never with the product of vocabularies.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

_MAX_EXPANDED = 1 << 21  # pairs of values that are formed at once
_MIN_WAITING = 1 << 16  # new pairs that are kept aside before they are merged


class MutualInformation:
    """Counts values and pairs of values, chunk by chunk.

    The mutual information of fields f and g is `sum_ab p(a, b) log(p(a, b) / (p(a) p(b)))` in nats, over the
    values that occur; that of a field with itself is its entropy. For two fields with one value a row it is
    what `sklearn.metrics.mutual_info_score` computes.

    A row weighs 1 whatever it holds. Of a field with several values a row, each of the n values in a row
    weighs 1 / n, and each of the n m pairs with another field's m values 1 / (n m). A row without a value
    counts as one that has a value of its own, "missing".

    Args:
        num_fields: Number of fields, at least 1.

    Raises:
        ValueError: If there is no field.

    Example:
        >>> counts = MutualInformation(2)
        >>> counts.add([np.array([0, 0, 1]), np.array([5, 5, 7])])
        >>> counts.add([np.array([1]), np.array([7])])
        >>> counts.matrix().round(3).tolist()
        [[0.693, 0.693], [0.693, 0.693]]

    References:
        Yao et al., "Self-supervised learning for large-scale item recommendations", CIKM 2021, section 4.1.
    """

    def __init__(self, num_fields: int) -> None:
        if num_fields < 1:
            raise ValueError(f"`num_fields` must be at least 1. Received: num_fields={num_fields}")
        self.rows = 0
        self._codes = [_Codes() for _ in range(num_fields)]
        self._singles = [_Counts() for _ in range(num_fields)]
        self._pairs = {pair: _Counts() for pair in itertools.combinations(range(num_fields), 2)}

    def add(self, fields: Sequence[np.ndarray]) -> None:
        """Counts rows.

        Args:
            fields: Per field whole numbers `[rows]`, or `[rows, n]` with several values a row. Negative
                numbers are no value.

        Raises:
            ValueError: If the number of fields is another one, or fields differ in their number of rows.
        """
        arrays = [np.asarray(field) for field in fields]
        if len(arrays) != len(self._codes):
            raise ValueError(f"expected {len(self._codes)} fields, received {len(arrays)}")
        if len({len(array) for array in arrays}) > 1:
            raise ValueError(f"fields have different numbers of rows: {[len(array) for array in arrays]}")
        if any(array.dtype.kind not in "iub" or array.ndim not in (1, 2) for array in arrays):
            raise ValueError("a field must be whole numbers [rows] or [rows, n]")
        rows = len(arrays[0])
        arrays = [_with_missing(array.astype(np.int64, copy=False)) for array in arrays]
        widths = sorted(array.shape[1] for array in arrays)
        most = widths[-1] * widths[-2 if len(widths) > 1 else -1]
        step = max(1, _MAX_EXPANDED // max(1, most))
        for start in range(0, rows, step):
            self._add([array[start : start + step] for array in arrays])
        self.rows += rows

    def _add(self, arrays: list[np.ndarray]) -> None:
        codes = [table(array) for table, array in zip(self._codes, arrays, strict=True)]
        weights = []
        for single, code in zip(self._singles, codes, strict=True):
            present = code >= 0
            weights.append(present / present.sum(axis=1, keepdims=True))
            single.add(code[present], weights[-1][present])
        for (f, g), pairs in self._pairs.items():
            # Codes are below 2^31, as every one of them stands for a value that was seen.
            keys = codes[f][:, :, None] << 32 | codes[g][:, None, :]
            shares = weights[f][:, :, None] * weights[g][:, None, :]
            present = shares > 0
            pairs.add(keys[present], shares[present])

    def num_values(self) -> list[int]:
        """Returns how many different values each field has, "missing" included."""
        return [len(single.weights()) for single in self._singles]

    def entropies(self) -> np.ndarray:
        """Returns the entropy of each field in nats, float64 `[fields]`."""
        return np.array([_entropy(single.weights(), self.rows) for single in self._singles])

    def matrix(self, normalized: bool = False) -> np.ndarray:
        """Returns the mutual information of all pairs of fields.

        Args:
            normalized: Whether to divide by the square root of the product of both entropies, so that fields
                with many values do not seem to tell most; 0 where an entropy is 0. Defaults to False.

        Returns:
            float64 `[fields, fields]`, symmetric, not negative; on the diagonal the entropies, or,
            normalized, 1 for every field that is not constant.
        """
        entropies = self.entropies()
        result = np.diag(entropies)
        for (f, g), pairs in self._pairs.items():
            result[f, g] = result[g, f] = self._information(f, g, pairs)
        if normalized:
            scale = np.sqrt(np.outer(entropies, entropies))
            result = np.divide(result, scale, out=np.zeros_like(result), where=scale > 0)
        return result

    def _information(self, f: int, g: int, pairs: _Counts) -> float:
        keys, joint = pairs.items()
        of_f, of_g = self._singles[f].weights(), self._singles[g].weights()
        product = of_f[keys >> 32] * of_g[keys & 0xFFFFFFFF]
        # Rounding may leave independent fields a little below 0.
        return max(0.0, float(np.sum(joint * np.log(joint * self.rows / product))) / max(1, self.rows))


def mutual_information(fields: Sequence[np.ndarray], normalized: bool = False) -> np.ndarray:
    """Returns the mutual information of all pairs of fields, see `MutualInformation`.

    Args:
        fields: Per field whole numbers `[rows]`, or `[rows, n]` padded with negative numbers.
        normalized: Whether to divide by the square root of the product of both entropies. Defaults to False.

    Returns:
        float64 `[fields, fields]`, in nats.

    Example:
        >>> x, y = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 1, 0])
        >>> mutual_information([x, y]).round(4).tolist()
        [[1.0986, 0.4621], [0.4621, 0.6931]]
    """
    counts = MutualInformation(len(fields))
    counts.add(fields)
    return counts.matrix(normalized)


class _Codes:
    """Numbers the values of a field in the order in which they turn up."""

    def __init__(self) -> None:
        self._values = np.empty(0, np.int64)  # sorted
        self._codes = np.empty(0, np.int64)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns the code of each value; -1 stays -1, which is no value."""
        present = values != _NOTHING
        unique, inverse = np.unique(values[present], return_inverse=True)
        places = np.searchsorted(self._values, unique)
        known = np.zeros(len(unique), bool)
        inside = places < len(self._values)
        known[inside] = self._values[places[inside]] == unique[inside]
        new = np.arange(len(self._values), len(self._values) + np.count_nonzero(~known))
        codes = np.empty(len(unique), np.int64)
        codes[known] = self._codes[places[known]]
        codes[~known] = new
        self._values = np.insert(self._values, places[~known], unique[~known])
        self._codes = np.insert(self._codes, places[~known], new)
        result = np.full(values.shape, -1, np.int64)
        result[present] = codes[inverse]
        return result


class _Counts:
    """Sums of weights by key. New keys wait until there are as many as old ones, so that merging is cheap."""

    def __init__(self) -> None:
        self._keys = np.empty(0, np.int64)
        self._sums = np.empty(0)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = 0

    def add(self, keys: np.ndarray, weights: np.ndarray) -> None:
        """Adds weights `[n]` to keys `[n]`."""
        unique, sums = _summed(keys, weights)
        self._waiting.append((unique, sums))
        self._count += len(unique)
        if self._count > max(_MIN_WAITING, len(self._keys)):
            self._merge()

    def items(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the keys in increasing order and their sums."""
        self._merge()
        return self._keys, self._sums

    def weights(self) -> np.ndarray:
        """Returns the sums in order of the keys, which are codes 0, 1, 2, ..."""
        return self.items()[1]

    def _merge(self) -> None:
        if self._waiting:
            keys = np.concatenate([self._keys, *(keys for keys, _ in self._waiting)])
            sums = np.concatenate([self._sums, *(sums for _, sums in self._waiting)])
            self._keys, self._sums = _summed(keys, sums)
            self._waiting, self._count = [], 0


_MISSING, _NOTHING = -1, -2
"""The value of a row without any, and what is not a value at all."""


def _with_missing(array: np.ndarray) -> np.ndarray:
    """Returns `[rows, n]` with `_NOTHING` for padding, and `_MISSING` in rows without a value."""
    array = array[:, None] if array.ndim == 1 else array
    if array.shape[1] == 0:
        return np.full([len(array), 1], _MISSING)
    array = np.where(array < 0, _NOTHING, array)
    array[(array < 0).all(axis=1), 0] = _MISSING
    return array


def _summed(keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unique, inverse = np.unique(keys, return_inverse=True)
    return unique, np.bincount(inverse, weights=weights, minlength=len(unique))


def _entropy(weights: np.ndarray, rows: int) -> float:
    shares = weights / max(1, rows)
    return max(0.0, -float(np.sum(shares * np.log(shares))))
