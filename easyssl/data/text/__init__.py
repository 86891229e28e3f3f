"""Texts to vectors by encoders that are not trained here. No TensorFlow is imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from easyssl.errors import UsageError, nearest

__all__ = ["ENCODERS", "NO_TEXT", "TextEncoder", "make_encoder"]

NO_TEXT = "."
"""What is encoded in place of an empty text, as UniSRec does, so that no item is without a vector."""

ENCODERS = ("wordllama",)
"""Encoders by name; others are folders."""


class TextEncoder(Protocol):
    """Turns texts into vectors.

    Attributes:
        identity: Text that is the same only for encoders that give the same vectors.
    """

    identity: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 `[texts, dim]`."""


def make_encoder(name: str) -> TextEncoder:
    """Returns an encoder.

    Args:
        name: One of `ENCODERS`, or the folder of a sentence-transformers model.

    Raises:
        UsageError: If there is no such encoder, or its package is not installed.

    Example:
        >>> make_encoder("wordllama").encode(["a paint brush"]).shape  # doctest: +SKIP
        (1, 256)
    """
    if name == "wordllama":
        from easyssl.data.text.word_llama import WordLlamaEncoder

        return WordLlamaEncoder()
    if os.path.isdir(name):
        from easyssl.data.text.sentence_transformer import SentenceTransformerEncoder

        return SentenceTransformerEncoder(name)
    raise UsageError(
        f"there is no encoder '{name}', and no folder of that name with a sentence-transformers model"
        f"{nearest(name, ENCODERS)}"
    )
