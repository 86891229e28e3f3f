"""One run for each model folder."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import socket
from types import TracebackType

from easyssl.errors import UsageError


class ModelDirLock:
    """Holds `<model_dir>/.lock` inside a `with` block.

    The lock belongs to the open file: when the process ends, however it ends, the kernel gives it back, so
    that the file of a dead process never blocks a new run.

    Args:
        model_dir: The folder; made if it is not there.

    Raises:
        UsageError: On entering, if another process holds the lock or the folder cannot be written.
    """

    def __init__(self, model_dir: pathlib.Path) -> None:
        self.path = model_dir / ".lock"
        self._descriptor: int | None = None

    def __enter__(self) -> ModelDirLock:
        """Takes the lock."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(f"{self.path.parent}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise UsageError(
                f"{self.path.parent}: {holder} is training into this folder; wait for it or choose another "
                "model_dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _holder(descriptor: int) -> str:
    try:
        content = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {content['pid']} on {content['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
