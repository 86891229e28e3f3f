"""Where a run is: all that a checkpoint holds besides variables."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any


@dataclasses.dataclass
class Best:
    """The best evaluation so far and how long ago it was.

    Attributes:
        metric: Key of the metric.
        bigger_is_better: Its direction.
        value: The best value, None before the first evaluation.
        step: Its step.
        stale: Evaluations since then.
    """

    metric: str
    bigger_is_better: bool = True
    value: float | None = None
    step: int | None = None
    stale: int = 0

    def update(self, value: float, step: int) -> bool:
        """Takes note of an evaluation and returns whether it is the best one."""
        better = self.value is None or (value > self.value if self.bigger_is_better else value < self.value)
        if better:
            self.value, self.step, self.stale = value, step, 0
        else:
            self.stale += 1
        return better


@dataclasses.dataclass
class Window:
    """Means of what steps reported since the last log record, weighted by rows.

    Attributes:
        sums: Sum of each value times its rows, in float64.
        rows: Number of rows.
    """

    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    rows: int = 0

    def add(self, values: dict[str, float], rows: int) -> None:
        """Adds a step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * rows
        self.rows += rows

    def take(self) -> dict[str, float]:
        """Returns the means and starts again."""
        means = {name: total / self.rows for name, total in self.sums.items()} if self.rows else {}
        self.sums, self.rows = {}, 0
        return means


@dataclasses.dataclass
class RunState:
    """Where a run is.

    Attributes:
        step: Number of steps done.
        cursor: Position in the data after them, as the data set's cursor gives it; None at the start.
        rows: Rows trained on.
        overflows: Steps left out because float16 gradients overflowed.
        evaluated: Step of the last evaluation.
        metrics: Its result.
        best: The best evaluation.
        window: What was reported since the last log record.
    """

    best: Best
    step: int = 0
    cursor: dict[str, Any] | None = None
    rows: int = 0
    overflows: int = 0
    evaluated: int | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    window: Window = dataclasses.field(default_factory=Window)

    @property
    def epoch(self) -> int:
        """Number of full passes over the data."""
        return 0 if self.cursor is None else int(self.cursor["epoch"])

    def as_dict(self) -> dict[str, Any]:
        """Returns a JSON value."""
        return dataclasses.asdict(self)

    def load(self, saved: dict[str, Any]) -> None:
        """Takes over what `as_dict` returned.

        The best evaluation is forgotten if another metric, or the other direction, is asked for now.
        """
        best = Best(**saved["best"])
        if (best.metric, best.bigger_is_better) == (self.best.metric, self.best.bigger_is_better):
            self.best = best
        self.window = Window(**saved["window"])
        for name in ("step", "cursor", "rows", "overflows", "evaluated", "metrics"):
            setattr(self, name, saved[name])


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: Number of steps done, earlier runs included.
        reason: `steps`, `data`, `early_stopping` or `dead_line`.
        metrics: The last evaluation.
        best: The best value of the metric that is compared, and its step; None without evaluation.
        checkpoint: The last checkpoint.
        chief: Whether this process wrote it; False in all but one of several workers, which have no metrics.
    """

    step: int
    reason: str
    metrics: dict[str, float]
    best: tuple[float, int] | None
    checkpoint: pathlib.Path
    chief: bool = True
