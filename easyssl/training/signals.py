"""Stopping a run from outside."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

EXIT_CODE = 143


class Preempted(Exception):
    """A signal stopped the run after a checkpoint was written; the same command goes on from there."""


class StopSignals:
    """Turns SIGTERM and SIGINT into a request inside a `with` block; a second one ends the process at once.

    Outside the main thread, where Python cannot handle signals, it does nothing.

    Example:
        >>> with StopSignals() as stop:
        ...     while not stop.requested:
        ...         break
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        """Takes over the two signals."""
        self.take_over()
        return self

    def take_over(self) -> None:
        """Takes over the two signals, also from who has taken them since."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                handler = signal.signal(number, self._handle)
                self._previous.setdefault(number, handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Puts the previous handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            os._exit(EXIT_CODE)
        self.requested = True
