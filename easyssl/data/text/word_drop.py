"""Texts with words left out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def drop_words(name: str, text: str, rate: float, seed: int = 0) -> str:
    """Leaves each word out with a probability, independently of the others.

    What is drawn is a function of the seed, the item and the number of words, so that it does not depend on
    the order of items or on where a run was interrupted.

    Args:
        name: The id of the item.
        text: Words separated by white space.
        rate: The probability, from 0 to below 1.
        seed: Of the random numbers. Defaults to 0.

    Returns:
        The words that are kept, separated by single spaces; maybe none.

    Example:
        >>> drop_words("7", "a  red paint brush", 0.0)
        'a red paint brush'
    """
    words = text.split()
    key = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
    draws = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little"))).random(len(words))
    return " ".join(_kept(words, draws >= rate))


def _kept(words: Sequence[str], keep: np.ndarray) -> list[str]:
    return [word for word, chosen in zip(words, keep.tolist(), strict=True) if chosen]
