"""Output files: the right suffix, and complete or not there at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence

from easyssl.errors import UsageError


def suffix_of(flag: str, name: str, allowed: Sequence[str]) -> str:
    """Returns the suffix of a file name, without the dot.

    Raises:
        UsageError: If it is none of the allowed ones.
    """
    suffix = pathlib.Path(name).suffix.lower().lstrip(".")
    if suffix not in allowed:
        known = ", ".join(f".{s}" for s in allowed)
        raise UsageError(f"{flag} {name}: expected a file name that ends in one of {known}")
    return suffix


def check_writable(path: pathlib.Path) -> None:
    """Checks that a file could be there, for commands that have much to do before they write it.

    Raises:
        UsageError: If its folder is not there, or it is a folder itself.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise UsageError(f"{path}: this is a folder; expected the name of a file to write")


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the name of a temporary file that takes the place of `path` if the block ends well.

    Raises:
        UsageError: If the folder is not there.
    """
    check_writable(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file that is complete or not there at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")
