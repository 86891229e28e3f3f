"""Bringing the values of a checkpoint back into the variables that they are of."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from easyssl.errors import CheckpointError, nearest
from easyssl.training.checkpoint import MANIFEST, Checkpoint, CheckpointFolder, read_checkpoint


def restore_exactly(variables: Mapping[str, tf.Variable], stored: Any, where: pathlib.Path) -> None:
    """Sets every variable to its stored value.

    Args:
        variables: Variables by name.
        stored: Arrays by name, such as an open `.npz`.
        where: The file, for messages.

    Raises:
        CheckpointError: If a name or a shape on one side has no counterpart on the other.
    """
    missing = [name for name in variables if name not in stored]
    if missing:
        raise CheckpointError(f"{where}: '{missing[0]}' is not in it{nearest(missing[0], stored)}")
    surplus = [name for name in stored if name not in variables]
    if surplus:
        raise CheckpointError(
            f"{where}: it has '{surplus[0]}', which this model has not{nearest(surplus[0], variables)}"
        )
    for name, variable in variables.items():
        value = stored[name]
        if tuple(value.shape) != tuple(variable.shape):
            raise CheckpointError(
                f"{where}: '{name}' has shape {list(value.shape)}, this model needs "
                f"{variable.shape.as_list()}"
            )
        variable.assign(value)


def find_checkpoint(path: pathlib.Path, report: Callable[[str], None] = print) -> Checkpoint:
    """Returns the checkpoint that a path stands for.

    Args:
        path: A checkpoint, the folder of a run's checkpoints, or a model folder; of several checkpoints the
            newest whole one is taken.
        report: Called with a line for the user when a damaged one is passed over.

    Raises:
        CheckpointError: If there is none.
    """
    if (path / MANIFEST).exists():
        return read_checkpoint(path)
    for folder in (path / "ckpt", path):
        found = CheckpointFolder(folder, report=report).latest()
        if found is not None:
            return found
    raise CheckpointError(f"{path}: there is no checkpoint; train first")


def restore_for_inference(variables: Mapping[str, tf.Variable], checkpoint: Checkpoint) -> None:
    """Sets weights to what a checkpoint wants to be used with: moving averages where it has them.

    Args:
        variables: The model's variables by name.
        checkpoint: A checkpoint of the same model.

    Raises:
        CheckpointError: If model and checkpoint do not fit.
    """
    with checkpoint.arrays("weights") as stored:
        restore_exactly(variables, stored, checkpoint.path / "weights.npz")
    decay = checkpoint.document("state").get("average_decay")
    if decay is None:
        return
    with checkpoint.arrays("optimizer") as stored:
        step = int(stored["0/iterations"])
        for name, variable in variables.items():
            if f"average/{name}" not in stored:
                continue
            average = stored[f"average/{name}"]
            if f"average_step/{name}" in stored:
                behind = (step - stored[f"average_step/{name}"]).astype(np.float64)
                kept = (decay**behind).astype(average.dtype).reshape([-1] + [1] * (average.ndim - 1))
                average = kept * average + (1 - kept) * variable.numpy()
            variable.assign(average)
