"""Sentences as means of static word vectors."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from easyssl.errors import UsageError


class WordLlamaEncoder:
    """Encodes by WordLlama: token vectors distilled from large language models, averaged; 256 numbers.

    It is small and fast, needs no GPU, and its weights are in its package. It knows no word order.

    Raises:
        UsageError: If the package is not installed.

    References:
        Miller, "WordLlama: recycled token embeddings from large language models", 2024.
    """

    def __init__(self) -> None:
        try:
            import wordllama
        except ImportError as error:
            raise UsageError(
                "the encoder 'wordllama' is not installed; run: pip install 'easyssl[text]'"
            ) from error
        # Never from the network: the weights of the default size are in the package.
        folder = pathlib.Path(wordllama.__file__).parent
        self._model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
        self.identity = f"wordllama {wordllama.__version__}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 `[texts, 256]`."""
        return np.asarray(self._model.embed(list(texts)), np.float32)
