"""A trained model, ready for evaluation, prediction and export."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from tensorflow import keras

from easyssl.training.checkpoint import Checkpoint
from easyssl.training.fingerprint import check_unchanged, flatten
from easyssl.training.names import named_variables
from easyssl.training.restore import find_checkpoint, restore_for_inference
from easyssl.training.setup import build_model, check_keras


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model with the weights of a checkpoint.

    Attributes:
        model: The model.
        path: The checkpoint.
        step: Its step.
        digest: Its `Checkpoint.digest`.
        metrics: The last evaluation before it; empty without one.
    """

    model: keras.Model
    path: pathlib.Path
    step: int
    digest: str
    metrics: dict[str, float]


def chosen_checkpoint(
    config: Any,
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    best: bool = False,
    report: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Returns the checkpoint that `load_trained` takes the weights of; see there.

    Raises:
        CheckpointError: If there is none.
    """
    if report is None:
        report = _to_stderr
    folder = checkpoint
    if folder is None:
        folder = config.resolve_path(config.message.model_dir, "model_dir")
    found = find_checkpoint(pathlib.Path(folder), report)
    best_step = found.document("state")["run"]["best"]["step"]
    if best and best_step is not None and best_step != found.step:
        found = find_checkpoint(found.path.with_name(f"step-{best_step:08d}"), report)
    return found


def load_trained(
    config: Any,
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    best: bool = False,
    allow_config_change: bool = False,
    report: Callable[[str], None] | None = None,
) -> TrainedModel:
    """Builds the model of a config and gives it the weights of a checkpoint.

    Where training kept moving averages, the weights are those averages.

    Args:
        config: A `Config`.
        checkpoint: A checkpoint, or a folder with checkpoints of which the newest whole one is taken. By
            default the config's `model_dir`.
        best: Whether to take the checkpoint with the best evaluation, if there has been one, instead of the
            newest.
        allow_config_change: Whether the checkpoint may come from a config with other fields that change
            results.
        report: Called with lines for the user; by default they go to stderr.

    Returns:
        The model and where its weights are from.

    Raises:
        CheckpointError: If there is no checkpoint, or it does not fit the config.
        ConfigError: If the config does not describe a model.
    """
    check_keras()
    found = chosen_checkpoint(config, checkpoint, best=best, report=report)
    run = found.document("state")["run"]
    if not allow_config_change:
        check_unchanged(found.document("config"), flatten(config.message), str(found.path), inference=True)
    model = build_model(config)
    restore_for_inference(named_variables(model), found)
    metrics = run["metrics"] if run["evaluated"] == found.step else {}
    return TrainedModel(model, found.path, found.step, found.digest, metrics)


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)
