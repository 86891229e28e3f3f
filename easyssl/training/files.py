"""Files that exist completely or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

_BLOCK = 1 << 20


def sync_folder(folder: pathlib.Path) -> None:
    """Makes the folder's entries survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: pathlib.Path) -> None:
    """Makes the file's content survive a power failure."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sha256(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file that others can read; fails on numbers that JSON cannot hold."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def replace_text(path: pathlib.Path, text: str) -> None:
    """Replaces a file's content: a reader sees the old content or the new one, never a part."""
    new = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_folder(path.parent)


def put_aside(folder: pathlib.Path, names: tuple[str, ...]) -> pathlib.Path | None:
    """Moves entries of a folder into a new folder `before-<n>` inside it.

    Args:
        folder: The folder.
        names: Entries to move; those that are not there are passed over.

    Returns:
        The new folder, None if there was nothing to move.
    """
    present = [folder / name for name in names if (folder / name).exists()]
    if not present:
        return None
    number = 1
    while (folder / f"before-{number}").exists():
        number += 1
    target = folder / f"before-{number}"
    target.mkdir()
    for path in present:
        os.rename(path, target / path.name)
    return target


def remove_folder(folder: pathlib.Path) -> None:
    """Removes a folder so that a reader sees it whole or not at all."""
    doomed = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    os.rename(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)
