"""Sentences by a model of sentence-transformers that is on disk."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from easyssl.errors import UsageError


class SentenceTransformerEncoder:
    """Encodes by a model of sentence-transformers.

    Args:
        folder: The folder of the model; nothing is downloaded.

    Raises:
        UsageError: If the package is not installed or the folder holds no model.
    """

    def __init__(self, folder: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise UsageError(
                f"'{folder}' is read by sentence-transformers; run: pip install sentence-transformers"
            ) from error
        try:
            self._model = SentenceTransformer(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UsageError(f"'{folder}' holds no model of sentence-transformers: {error}") from None
        self.identity = f"sentence-transformers {_digest(folder)}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 `[texts, dim]`."""
        vectors = self._model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)


def _digest(folder: str) -> str:
    """Returns a text that changes with names and sizes of the files."""
    files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    text = "\n".join(f"{path.relative_to(folder)} {os.path.getsize(path)}" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()
