"""What is due after a step: saving, stopping, ending."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from easyssl.training.early_stopping import early_stopping_from_config
from easyssl.training.setup import deadline
from easyssl.training.signals import StopSignals
from easyssl.training.state import RunState

_REASONS = ("steps", "early_stopping", "dead_line")


class Due:
    """What `train_config` says about when to save and when to end.

    Args:
        config: A `Config`.

    Attributes:
        early_stopping: The rule that ends training after an evaluation; None without one.

    Raises:
        ConfigError: If what ends training is not well described.
    """

    def __init__(self, config: Any) -> None:
        self._train_config = config.message.train_config
        self._deadline = deadline(config)
        self.early_stopping = early_stopping_from_config(config)

    def after(self, state: RunState, step: int, last_save: float, stop: StopSignals) -> dict[str, bool]:
        """Returns what is due after a step, by name.

        Args:
            state: The state of the run.
            step: Number of the step.
            last_save: When the last checkpoint was written, `time.monotonic`.
            stop: Whether a signal came.
        """
        save = self._time_to_save(last_save, step)
        return {**self.reasons_to_end(state, step), "stop": stop.requested, "save": save}

    def reasons_to_end(self, state: RunState, step: int) -> dict[str, bool]:
        """Returns which reasons there are to end, by name.

        Args:
            state: The state of the run.
            step: Number of the last step.
        """
        limit, rule = self._train_config.num_steps, self.early_stopping
        return {
            "steps": bool(limit and step >= limit),
            "early_stopping": rule is not None and rule.is_over(state.best, state.evaluated),
            "dead_line": self._deadline is not None and time.time() >= self._deadline,
        }

    def _time_to_save(self, last_save: float, step: int) -> bool:
        every, seconds = self._train_config.save_checkpoints_steps, self._train_config.save_checkpoints_secs
        by_seconds = self._train_config.HasField("save_checkpoints_secs")
        by_steps = self._train_config.HasField("save_checkpoints_steps") or not by_seconds
        if by_steps and every and step % every == 0:
            return True
        return bool(by_seconds and seconds and time.monotonic() - last_save >= seconds)


def first_reason(said: Mapping[str, float]) -> str | None:
    """Returns the reason to end that comes first, None without any."""
    return next((reason for reason in _REASONS if said[reason]), None)
