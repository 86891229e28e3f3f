"""Columns of hashed ids with a long tail, and what they say about a click."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyssl.data.prepare.draws import zipf

_TELLING = 40  # only the most frequent ids say anything: rows of rarer ones are too few to learn from
_HIDDEN = 4


@dataclass(frozen=True)
class HashedIds:
    """The ids of one column, the frequent ones first.

    Attributes:
        text: What stands in a cell, `[ids]`: eight hexadecimal digits, as in the public sets.
        share: How often each is drawn, `[ids]`; sums to 1.
        effect: Part of the logit of a click, `[ids]`.
        hidden: What decides how an id goes with ids of other columns, `[ids, 4]`.
    """

    text: np.ndarray
    share: np.ndarray
    effect: np.ndarray
    hidden: np.ndarray

    def draw(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        """Draws `rows` numbers of ids."""
        return rng.choice(len(self.share), rows, p=self.share)


def make_ids(rng: np.random.Generator, count: int, *, power: float = 1.0, weight: float = 0.3) -> HashedIds:
    """Draws `count` ids.

    Args:
        rng: Source of random numbers.
        count: How many.
        power: The share of the id of rank r falls as `r ** -power`.
        weight: Standard deviation of the effects; also of the hidden numbers, times 2.
    """
    telling = (np.arange(count) < _TELLING).astype(float)
    return HashedIds(
        text=np.array([f"{number:08x}" for number in distinct(rng, count, 1 << 32).tolist()]),
        share=zipf(count, power),
        effect=rng.normal(0, weight, count) * telling,
        hidden=rng.normal(0, 2 * weight, (count, _HIDDEN)) * telling[:, None],
    )


def distinct(rng: np.random.Generator, count: int, below: int) -> np.ndarray:
    """Returns `count` different numbers from 0 up to `below`, which may be too large to permute."""
    numbers = np.unique(rng.integers(0, below, 2 * count + 10))
    return rng.permutation(numbers)[:count]


def together(first: HashedIds, second: HashedIds, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns `[rows]` how the ids `a` of one column go with the ids `b` of another, around 0."""
    return (first.hidden[a] * second.hidden[b]).sum(axis=1)
