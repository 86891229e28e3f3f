"""Turns the file names of a config into absolute paths, inside a folder that bounds them."""

from __future__ import annotations

import os
import re

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def resolve(name: str, root: str, *, bounded: bool) -> str:
    """Returns an absolute path.

    An absolute name says openly where it leads and is kept. A relative name is looked up in `root`; if
    `bounded`, it may not leave that folder, neither with `..` nor over a symbolic link, so that a config from
    elsewhere reads nothing but what came with it.

    Args:
        name: File name or glob pattern.
        root: Folder that relative names start from.
        bounded: Whether a relative name must stay inside `root`.

    Raises:
        ValueError: If the name is empty or remote, or leaves the folder.

    Example:
        >>> resolve("data/train.csv", "/srv", bounded=True)
        '/srv/data/train.csv'
    """
    if not name:
        raise ValueError("expected a file name, found an empty string")
    if "\0" in name:
        raise ValueError("a file name cannot hold the character NUL")
    if _REMOTE.match(name):
        raise ValueError(f"'{name}' is not on this machine; copy the files and give a local name")
    if os.path.isabs(name):
        return os.path.normpath(name)
    root = os.path.abspath(root)
    path = os.path.normpath(os.path.join(root, name))
    if bounded:
        if not _inside(path, root):
            raise ValueError(
                f"'{name}' leaves the folder '{root}'; give an absolute name or another --data-root"
            )
        real = os.path.realpath(path)
        if not _inside(real, os.path.realpath(root)):
            raise ValueError(
                f"'{name}' is a link that leaves the folder '{root}'; give the absolute name '{real}' "
                "or another --data-root"
            )
    return path


def _inside(path: str, root: str) -> bool:
    return os.path.commonpath([path, root]) == root
