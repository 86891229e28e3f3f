"""What a run writes down about itself: `metrics.jsonl` and TensorBoard files."""

from __future__ import annotations

import importlib.util
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from easyssl.training.files import replace_text, sync_file


class Records:
    """Appends one JSON object per line to a file.

    Every record has `step` and `kind` (`train` or `eval`). What differs between two runs of the same config,
    such as speed, is below the key `clock`; everything else is a function of config and data.

    A run that goes on from the checkpoint of step n first drops the records of later steps, and a last line
    that a crash cut: it will write them again. So each step and kind is in the file once.

    Args:
        path: The file.

    Example:
        >>> records = Records(pathlib.Path("metrics.jsonl"))  # doctest: +SKIP
        >>> records.add("eval", 200, metrics={"auc": 0.61})  # doctest: +SKIP
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def drop_after(self, step: int) -> None:
        """Removes the records of steps after `step`, and what is no record."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if (found := _step_of(line)) is not None and found <= step]
        if len(kept) != len(lines):
            replace_text(self.path, "".join(f"{line}\n" for line in kept))

    def add(self, kind: str, step: int, **values: Any) -> None:
        """Appends a record; it is handed to the operating system before this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        record = {"kind": kind, "step": step, **values}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def sync(self) -> None:
        """Makes the records survive a power failure; call it before a checkpoint that counts on them."""
        if self.path.exists():
            sync_file(self.path)


def _step_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


class Boards:
    """Writes scalars for TensorBoard, if TensorBoard is installed; otherwise does nothing.

    Args:
        folder: Folder of the event files.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        installed = importlib.util.find_spec("tensorboard") is not None
        self._writer = tf.summary.create_file_writer(str(folder)) if installed else None

    def add(self, prefix: str, step: int, values: Mapping[str, float]) -> None:
        """Writes each value as `prefix/name`."""
        if self._writer is None:
            return
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(f"{prefix}/{name}", value, step=step)

    def close(self) -> None:
        """Writes out what is buffered."""
        if self._writer is not None:
            self._writer.close()
