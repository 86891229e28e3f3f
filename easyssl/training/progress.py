"""The line that tells how training goes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TextIO

_REFRESH_SECONDS = 0.2


class Progress:
    """Shows step, loss, metrics, rows per second and the time that is left.

    On a terminal the line is rewritten several times a second; elsewhere a line is printed whenever the run
    logs.

    Args:
        total_steps: Number of the last step, None if it is not known.
        stream: Where to write.
    """

    def __init__(self, total_steps: int | None, stream: TextIO) -> None:
        self.total_steps = total_steps
        self.stream = stream
        self._interactive = stream.isatty()
        self._shown = 0.0
        self._open = False
        self.start(0)

    def start(self, step: int) -> None:
        """Begins after a step."""
        self._start_step = step
        self._begin = self._mark = time.monotonic()
        self._rows = self._mark_rows = 0
        self._counted = False

    def count(self, rows: int) -> None:
        """Adds the rows of a step. The first step builds the graph; the time is taken from its end on."""
        if not self._counted:
            self._counted = True
            self._begin = self._mark = time.monotonic()
            self._start_step += 1
            return
        self._rows += rows

    def rows_per_second(self) -> float:
        """Returns the speed since the last call or the last `leave_out`."""
        speed = (self._rows - self._mark_rows) / max(time.monotonic() - self._mark, 1e-9)
        self.leave_out()
        return speed

    def leave_out(self) -> None:
        """Keeps the time until now out of the next speed; call it after an evaluation."""
        self._mark, self._mark_rows = time.monotonic(), self._rows

    def live(self, step: int, values: Mapping[str, float]) -> None:
        """Refreshes the line on a terminal."""
        now = time.monotonic()
        if self._interactive and now - self._shown > _REFRESH_SECONDS:
            self._shown = now
            speed = self._rows / max(now - self._begin, 1e-9)
            self.stream.write(f"\r{self.line(step, values, speed)}\x1b[K")
            self.stream.flush()
            self._open = True

    def log(self, step: int, values: Mapping[str, float], speed: float) -> None:
        """Prints a line that stays; on a terminal the live line is enough."""
        if not self._interactive:
            self.say(self.line(step, values, speed))

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        if self._open:
            self.stream.write("\r\x1b[K")
            self._open = False
        self.stream.write(f"{text}\n")
        self.stream.flush()

    def close(self) -> None:
        """Leaves the last live line standing."""
        if self._open:
            self.stream.write("\n")
            self.stream.flush()
            self._open = False

    def line(self, step: int, values: Mapping[str, float], speed: float) -> str:
        """Returns the text, such as `step 200/1000  loss 0.6120  9,120 rows/s  0:05 left`."""
        of = f"/{self.total_steps}" if self.total_steps else ""
        parts = [f"step {step}{of}", *(f"{name} {number(value)}" for name, value in values.items())]
        parts.append(f"{speed:,.0f} rows/s")
        done = step - self._start_step
        if self.total_steps and done > 0:
            seconds = (time.monotonic() - self._begin) / done * (self.total_steps - step)
            parts.append(f"{duration(seconds)} left")
        return "  ".join(parts)


def number(value: float) -> str:
    """Returns a number with four significant digits, so that small ones do not look like zero.

    Example:
        >>> number(0.612), number(0.0000213), number(20480.0)
        ('0.6120', '2.130e-05', '20480.0')
    """
    return f"{value:.1f}" if abs(value) >= 999.95 else f"{value:#.4g}"


def duration(seconds: float) -> str:
    """Returns a time as `m:ss` or `h:mm:ss`.

    Example:
        >>> duration(65), duration(3700)
        ('1:05', '1:01:40')
    """
    minutes, second = divmod(int(round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
