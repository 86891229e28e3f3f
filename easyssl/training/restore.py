"""Bringing stored values into the variables of a run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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


def warm_start(config: Any, variables: Mapping[str, tf.Variable], report: Callable[[str], None]) -> int:
    """Takes over weights from `train_config.fine_tune_checkpoint`.

    Without `fine_tune_ckpt_var_map` every weight of the same name is taken over, with it those that the file
    lists, one `<name here> <name there>` pair a line. Weights whose name or shape has no counterpart keep
    their initial values, and a line says so. `model_config.restore_filters` leaves out weights whose name
    contains one of its texts. Steps, optimizer and states of random layers always start afresh.

    Args:
        config: A `Config`.
        variables: The model's variables by name.
        report: Called with lines for the user.

    Returns:
        Number of weights taken over.

    Raises:
        ConfigError: If the file of pairs is wrong or nothing can be taken over.
        CheckpointError: If the checkpoint is damaged or missing.
    """
    train_config = config.message.train_config
    field = "train_config.fine_tune_checkpoint"
    path = pathlib.Path(config.resolve_path(train_config.fine_tune_checkpoint, field))
    filters = config.message.model_config.restore_filters
    weights = {
        name: variable
        for name, variable in variables.items()
        if variable.dtype.is_floating and not any(text in name for text in filters)
    }
    pairs = {name: name for name in weights}
    if train_config.fine_tune_ckpt_var_map:
        pairs = _read_pairs(config, weights)
    taken, left = 0, []
    with _open_arrays(path, report) as (names, read):
        for name, there in pairs.items():
            value = read(there) if there in names else None
            if value is None or tuple(value.shape) != tuple(weights[name].shape):
                shape = "is not in it" if value is None else f"has shape {list(value.shape)} in it"
                left.append(f"'{name}': '{there}' {shape}")
                continue
            weights[name].assign(value)
            taken += 1
    if not taken:
        raise config.error(field, f"none of {len(pairs)} weights can be taken over; first {left[0]}")
    for line in left:
        report(f"{path}: not taken over: {line}")
    return taken


def _read_pairs(config: Any, weights: Mapping[str, tf.Variable]) -> dict[str, str]:
    field = "train_config.fine_tune_ckpt_var_map"
    path = config.resolve_path(config.message.train_config.fine_tune_ckpt_var_map, field)
    pairs = {}
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise config.error(field, f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise config.error(field, f"{path}:{number}: expected two names, found {len(words)}")
        if words[0] not in weights:
            raise config.error(
                field, f"{path}:{number}: there is no weight '{words[0]}'{nearest(words[0], weights)}"
            )
        pairs[words[0]] = words[1]
    return pairs


@contextmanager
def _open_arrays(
    path: pathlib.Path, report: Callable[[str], None]
) -> Iterator[tuple[set[str], Callable[[str], np.ndarray]]]:
    """Opens the weights of one of our checkpoints, or the variables of one that TensorFlow wrote."""
    prefix = tf.train.latest_checkpoint(str(path)) if path.is_dir() else str(path)
    if prefix and pathlib.Path(f"{prefix}.index").exists():
        reader = tf.train.load_checkpoint(prefix)
        yield set(reader.get_variable_to_shape_map()), reader.get_tensor
    elif path.is_dir():
        with find_checkpoint(path, report).arrays("weights") as stored:
            yield set(stored), stored.__getitem__
    else:
        raise CheckpointError(f"{path}: there is no checkpoint")
