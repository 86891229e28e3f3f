"""Starting with the weights of another run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from easyssl.errors import CheckpointError, nearest
from easyssl.training.names import names_of
from easyssl.training.restore import find_checkpoint

_FIELD = "train_config.fine_tune_checkpoint"
_SHOWN = 5
_OF_TENSORFLOW = {"_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"}


@dataclass
class WarmStart:
    """Which weights were taken over from another run, and why the others were not.

    Attributes:
        path: The checkpoint.
        taken: Name there by name here, of all weights that were taken over.
        cut: Of these, what was done to those of another shape, by name here.
        left: Why a weight keeps its initial values, by name here.
        unused: Names in the checkpoint that no weight here has.
    """

    path: pathlib.Path
    taken: dict[str, str] = field(default_factory=dict)
    cut: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Returns what a user wants to know, at most a few names of each kind."""
        total = len(self.taken) + len(self.left)
        lines = [f"{len(self.taken)} of {total} weights taken over from {self.path}"]
        for title, texts in (
            ("another shape", [f"'{name}' {text}" for name, text in self.cut.items()]),
            ("not taken over", [f"'{name}' {text}" for name, text in self.left.items()]),
            ("not used", [f"'{name}'" for name in self.unused]),
        ):
            if texts:
                more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
                lines.append(f"{title}: {'; '.join(texts[:_SHOWN])}{more}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Returns a JSON value with every name."""
        return {
            "checkpoint": str(self.path),
            "taken": self.taken,
            "cut": self.cut,
            "left": self.left,
            "unused": self.unused,
        }


def warm_start(
    config: Any,
    variables: Mapping[str, tf.Variable],
    report: Callable[[str], None] = print,
    fixed: Collection[str] = (),
) -> WarmStart:
    """Takes over weights from `train_config.fine_tune_checkpoint`.

    Without `fine_tune_ckpt_var_map` every weight of the same name is taken over, with it those that the file
    lists, one `<name here> <name there>` pair a line. `model_config.restore_filters` leaves out weights whose
    name contains one of its texts. A weight whose name has no counterpart keeps its initial values, and so
    does one of another shape, unless `force_restore_shape_compatible` is set: then the part that both shapes
    have is taken over, and the rest keeps its initial values. Steps, optimizer and states of random layers
    always start afresh.

    Args:
        config: A `Config`.
        variables: The model's variables by name.
        report: Called with a line for the user when a damaged checkpoint is passed over.
        fixed: Names of the variables that come from files of their own; these are left out.

    Returns:
        What was done.

    Raises:
        ConfigError: If the file of pairs is wrong or nothing can be taken over.
        CheckpointError: If the checkpoint is damaged or missing.
    """
    train_config = config.message.train_config
    path = pathlib.Path(config.resolve_path(train_config.fine_tune_checkpoint, _FIELD))
    weights = {
        name: variable
        for name, variable in variables.items()
        if variable.dtype.is_floating and name not in fixed
    }
    start = WarmStart(path)
    pairs = {name: name for name in weights}
    if train_config.fine_tune_ckpt_var_map:
        pairs = _read_pairs(config, weights)
    with _open_arrays(path, report) as (names, read):
        for name, there in pairs.items():
            filters = config.message.model_config.restore_filters
            found = next((text for text in filters if any(text in each for each in names_of(name))), None)
            if found is not None:
                start.left[name] = f"contains '{found}' of restore_filters"
            elif there not in names:
                start.left[name] = "is not in it" if there == name else f"is not in it as '{there}'"
            else:
                _take(start, name, there, weights[name], read(there), train_config)
        used = set(pairs.values())
        start.unused = sorted(names - used - set(variables) - _OF_TENSORFLOW)
        if not start.taken:
            raise config.error(_FIELD, _nothing(start, names))
    if train_config.fine_tune_ckpt_var_map:
        start.left |= {name: "is not in the var map" for name in weights if name not in pairs}
    start.left |= {name: "comes from its pretrained_vectors" for name in fixed}
    return start


def _take(
    start: WarmStart, name: str, there: str, variable: Any, value: np.ndarray, train_config: Any
) -> None:
    """Sets a variable, as far as its shape allows."""
    ours, theirs = tuple(variable.shape), tuple(value.shape)
    if ours != theirs:
        shapes = f"has shape {list(theirs)} in it and {list(ours)} here"
        if not train_config.force_restore_shape_compatible:
            start.left[name] = shapes
            return
        if len(ours) != len(theirs):
            start.left[name] = f"{shapes}, which have no part in common"
            return
        both = tuple(slice(min(pair)) for pair in zip(ours, theirs, strict=True))
        whole = np.array(variable)
        whole[both] = value[both]
        value = whole
        start.cut[name] = f"{shapes}: the part that both have was taken over"
    variable.assign(value)
    start.taken[name] = there


def _nothing(start: WarmStart, names: Collection[str]) -> str:
    """Returns the text of the error when no weight can be taken over."""
    name, reason = next(iter(start.left.items()), ("", ""))
    first = f"; first, '{name}' {reason}{nearest(name, names)}" if name else ""
    return f"none of {len(start.left)} weights can be taken over{first}"


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
    elif (path / "saved_model.pb").exists():
        raise CheckpointError(f"{path}: this is a SavedModel, which cannot be trained on; name a checkpoint")
    elif path.is_dir():
        with find_checkpoint(path, report).arrays("weights") as stored:
            yield set(stored), stored.__getitem__
    elif path.is_file():
        raise CheckpointError(f"{path}: this is no checkpoint; name a model folder or a checkpoint's folder")
    else:
        raise CheckpointError(f"{path}: there is no checkpoint")
