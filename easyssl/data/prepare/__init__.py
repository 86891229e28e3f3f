"""Data to train on: made by ourselves, or public sets turned from their own formats into our rows.

`easyssl data` calls `generate` and `prepare`; both are plain functions. No TensorFlow is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from easyssl.data.prepare.files import Prepared
from easyssl.data.prepare.movielens import prepare_ml1m
from easyssl.data.prepare.taobao import generate_taobao
from easyssl.errors import UsageError, nearest

__all__ = ["GENERATORS", "PREPARERS", "Prepared", "generate", "prepare"]

GENERATORS: dict[str, Callable[..., Prepared]] = {"taobao": generate_taobao}
PREPARERS: dict[str, Callable[..., Prepared]] = {"ml1m": prepare_ml1m}


def generate(name: str, out: str | os.PathLike[str], **options: Any) -> Prepared:
    """Makes data of our own.

    Args:
        name: One of `GENERATORS`.
        out: Folder to write to.
        **options: Keyword arguments of that generator, such as `rows` and `seed`.

    Returns:
        What was written.

    Raises:
        UsageError: If there is no such generator.
        DataError: If an option is out of range or a file cannot be written.
    """
    if name not in GENERATORS:
        raise UsageError(f"no generator is called '{name}'{nearest(name, GENERATORS)}")
    return GENERATORS[name](out, **options)


def prepare(
    name: str, source: str | os.PathLike[str], out: str | os.PathLike[str], **options: Any
) -> Prepared:
    """Turns a public data set, in the files it is published in, into our rows.

    Args:
        name: One of `PREPARERS`.
        source: Folder with the files.
        out: Folder to write to.
        **options: Keyword arguments of that preparer, such as `train_rows` and `seed`.

    Returns:
        What was written.

    Raises:
        UsageError: If there is no such preparer.
        DataError: If a file is missing or malformed, an option is out of range, or a file cannot be written.
    """
    if name not in PREPARERS:
        raise UsageError(f"no data set is called '{name}'{nearest(name, PREPARERS)}")
    return PREPARERS[name](source, out, **options)
