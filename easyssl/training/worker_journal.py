"""What a worker tells that does not write: only lines for the user."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TextIO

from easyssl.training.journal import Journal
from easyssl.training.state import RunState
from easyssl.training.step import StepResult


class WorkerJournal(Journal):
    """A journal that leaves the records to the chief.

    Args:
        name: The worker, put before its lines.
        stream: Where lines for the user go; by default stderr.
    """

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self._name = name
        self._stream = sys.stderr if stream is None else stream

    def start(self, step: int) -> None:
        """Does nothing."""

    def say(self, text: str) -> None:
        """Shows a line to the user."""
        self._stream.write(f"{self._name}: {text}\n")
        self._stream.flush()

    def step(self, state: RunState, result: StepResult, rows: int) -> None:
        """Does nothing."""

    def log(
        self,
        state: RunState,
        learning_rates: Sequence[float],
        loss_scale: float | None = None,
        malformed_rows: Mapping[str, int] | None = None,
        online: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Does nothing."""

    def evaluation(self, state: RunState, seconds: float) -> None:
        """Does nothing."""

    def expect(self, total_steps: int) -> None:
        """Does nothing."""

    def leave_out(self) -> None:
        """Does nothing."""

    def sync(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""
