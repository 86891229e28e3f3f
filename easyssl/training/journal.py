"""What a run tells while it goes on: to the user, to `metrics.jsonl` and to TensorBoard."""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TextIO

from easyssl.training.progress import Progress, number
from easyssl.training.records import Boards, Records
from easyssl.training.state import RunState
from easyssl.training.step import StepResult


class Journal:
    """Writes down how training goes.

    Args:
        model_dir: Gets `metrics.jsonl` and `logs/`.
        total_steps: Number of the last step, None if it is not known.
        stream: Where lines for the user go; by default stderr.
    """

    def __init__(
        self, model_dir: pathlib.Path, total_steps: int | None, stream: TextIO | None = None
    ) -> None:
        self.records = Records(model_dir / "metrics.jsonl")
        self.progress = Progress(total_steps, sys.stderr if stream is None else stream)
        self._logs = model_dir / "logs"
        self._boards: Boards | None = None

    def start(self, step: int) -> None:
        """Begins after a step; what was written about later steps is dropped, they will come again."""
        self.records.drop_after(step)
        self.progress.start(step)
        self._boards = Boards(self._logs)

    def say(self, text: str) -> None:
        """Shows a line to the user."""
        self.progress.say(text)

    def step(self, state: RunState, result: StepResult, rows: int) -> None:
        """Takes note of a step."""
        if not result.overflow:
            values = {f"losses/{name}": value for name, value in result.unweighted.items()}
            values |= {f"weighted/{name}": value for name, value in result.weighted.items()}
            values |= {f"metrics/{name}": value for name, value in result.metrics.items()}
            state.window.add({"loss": result.loss, "gradient_norm": result.norm, **values}, rows)
        self.progress.count(rows)
        latest = {f"eval {name}": value for name, value in state.metrics.items()}
        self.progress.live(state.step, {"loss": result.loss, **latest})

    def log(
        self,
        state: RunState,
        learning_rates: Sequence[float],
        loss_scale: float | None = None,
        malformed_rows: Mapping[str, int] | None = None,
        online: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Writes the means since the last record, and a line.

        Args:
            state: The run; its window is emptied.
            learning_rates: Rate of each group of variables in the last step.
            loss_scale: Factor on the float16 loss.
            malformed_rows: Rows that were left out so far, by reason.
            online: Metrics of the batch of this step.
        """
        means = state.window.take()
        losses, weighted = _below("losses/", means), _below("weighted/", means)
        metrics = {**_below("metrics/", means), **online}
        whole: dict[str, Any] = {name: means[name] for name in ("loss", "gradient_norm") if name in means}
        clock: dict[str, Any] = {"time": time.time(), "rows_per_second": self.progress.rows_per_second()}
        if malformed_rows:
            clock["malformed_rows"] = dict(malformed_rows)
        self.records.add(
            "train",
            state.step,
            epoch=state.epoch,
            rows=state.rows,
            **whole,
            losses=losses,
            weighted=weighted,
            **({"metrics": metrics} if metrics else {}),
            learning_rate=list(learning_rates),
            **({} if loss_scale is None else {"loss_scale": loss_scale}),
            clock=clock,
        )
        shown = {name: value for name, value in whole.items() if name == "loss"}
        for name, value in losses.items():
            shown[name] = value
            if weighted[name] != value:
                shown[f"weighted {name}"] = weighted[name]
        self.progress.log(state.step, shown, clock["rows_per_second"])
        self._board("train", state.step, {**whole, **losses, **metrics, "learning_rate": learning_rates[-1]})

    def evaluation(self, state: RunState, seconds: float) -> None:
        """Writes the metrics of an evaluation."""
        clock = {"time": time.time(), "seconds": seconds}
        self.records.add("eval", state.step, metrics=state.metrics, clock=clock)
        self._board("eval", state.step, state.metrics)
        values = "  ".join(f"{name} {number(value)}" for name, value in state.metrics.items())
        self.say(f"step {state.step} evaluation  {values}")

    def expect(self, total_steps: int) -> None:
        """Tells the progress line where the run will end."""
        self.progress.total_steps = total_steps

    def leave_out(self) -> None:
        """Keeps the time until now out of the next speed; call it after an evaluation."""
        self.progress.leave_out()

    def sync(self) -> None:
        """Makes sure that the records so far are on the disk."""
        self.records.sync()

    def _board(self, prefix: str, step: int, values: Mapping[str, float]) -> None:
        if self._boards is not None:
            self._boards.add(prefix, step, values)

    def close(self) -> None:
        """Ends the progress line and writes out what is buffered."""
        self.progress.close()
        if self._boards is not None:
            self._boards.close()


def _below(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {name[len(prefix) :]: value for name, value in values.items() if name.startswith(prefix)}
