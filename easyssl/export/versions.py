"""Versioned folders: written beside, published by one rename, never overwritten."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

MANIFEST = "assets.extra/easyssl_export.json"

_TEMPORARY = re.compile(r"next\.tmp-(?:(?P<host>.+)-)?(?P<pid>\d+)")
_DAY = 24 * 3600


def versions(folder: pathlib.Path) -> list[int]:
    """Returns the version numbers below a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir())


@contextlib.contextmanager
def unpublished(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a temporary folder beside the versions and removes what is left of it in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    temporary = folder / f"next.tmp-{socket.gethostname()}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Renames a finished folder to the next version number.

    Args:
        temporary: What `unpublished` gave, now complete.
        folder: The folder of the versions.

    Returns:
        The new version's folder.
    """
    _sync(temporary)
    number = max(versions(folder), default=0) + 1
    while True:
        target = folder / str(number)
        try:
            # A directory can only be renamed onto an empty one, so a version that another process has just
            # published is never replaced; an existing empty one is skipped for the same reason.
            if target.exists():
                raise OSError(errno.EEXIST, "exists", str(target))
            temporary.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            number += 1
        else:
            _sync_folder(folder)
            return target


def prune(folder: pathlib.Path, keep: int) -> list[pathlib.Path]:
    """Deletes all but the newest versions that we wrote.

    Args:
        folder: The folder of the versions.
        keep: How many to keep; 0 or less keeps all.

    Returns:
        What was deleted.
    """
    if keep <= 0:
        return []
    ours = [folder / str(n) for n in versions(folder) if (folder / str(n) / MANIFEST).is_file()]
    deleted = ours[:-keep]
    for path in deleted:
        shutil.rmtree(path)
    return deleted


def find(folder: pathlib.Path, facts: Mapping[str, Any]) -> pathlib.Path | None:
    """Returns the newest version whose manifest has all of `facts`, None if there is none."""
    for number in reversed(versions(folder)):
        path = folder / str(number)
        try:
            manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        except (OSError, ValueError):  # not one of ours
            continue
        if (path / "saved_model.pb").is_file() and facts.items() <= manifest.items():
            return path
    return None


def write_manifest(folder: pathlib.Path, content: dict[str, Any]) -> None:
    """Writes the manifest: the given content and the size and sha256 of every other file of the folder."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        files[path.relative_to(folder).as_posix()] = {
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    target = folder / MANIFEST
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({**content, "files": files}, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _remove_leftovers(folder: pathlib.Path) -> None:
    """Removes what killed exports left: of processes that are gone, or, if made elsewhere, a day old."""
    for path in folder.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        if match is None:
            continue
        ours = match["host"] in (None, socket.gethostname())
        with contextlib.suppress(FileNotFoundError):  # its process has just published or removed it
            stale = not _is_alive(int(match["pid"])) if ours else time.time() - path.stat().st_mtime > _DAY
            if stale:
                shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's process, or no process number at all
        return True
    return True


def _sync(folder: pathlib.Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            _sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: pathlib.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
