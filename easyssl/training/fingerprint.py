"""Whether a run may go on with a config that has been edited since its checkpoint."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from easyssl.config.effects import find_effects
from easyssl.config.places import is_inside
from easyssl.errors import CheckpointError

# Fields that say where, how long or how loudly to run. They do not change what a step computes.
_FREE = re.compile(
    r"(model_dir"
    r"|\w*(train|eval)_input(_path)?(\..*)?"
    r"|eval_config\..*"
    r"|export_config\..*"
    r"|model_config\.model_name"
    r"|train_config\.(num_steps|dead_line|log_step_count_steps|save_\w+|keep_checkpoint_max|write_graph"
    r"|is_profiling|(inter|intra)_op_parallelism_threads|num_gpus_per_worker|fine_tune_\w+"
    r"|force_restore_shape_compatible|early_stopping\..*)"
    r"|data_config\.(num_epochs|prefetch_size|num_parallel_calls|eval_batch_size))$"
)
# Of the rest, what decides how a trained model reads its columns and what it computes from them.
_OF_MODEL = re.compile(r"(model_config|feature_configs?|data_config\.(input_fields|length_buckets))\b")


def flatten(message: Any) -> dict[str, Any]:
    """Returns every field of a protobuf message that differs from its default, by its path.

    Args:
        message: Any message.

    Returns:
        Path such as `data_config.label_fields[0]` -> number, string or bool; enum values by name. A message
        that is set but has only defaults is there as `{}`, because to choose it means something. Fields
        without effect are left out.
    """
    found: dict[str, Any] = {}
    _flatten(message, "", found)
    idle = [effect.path for effect in find_effects(message) if not effect.refused]
    return {path: value for path, value in found.items() if not any(is_inside(path, p) for p in idle)}


def _flatten(message: Any, prefix: str, found: dict[str, Any]) -> None:
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in sorted(value):
                _put(field, value[key], f"{path}[{key}]", found, map_value=True)
        elif isinstance(value, str | bytes) or hasattr(value, "ListFields") or not hasattr(value, "__len__"):
            # A Struct has a length too: it is a message that acts like a dict.
            _put(field, value, path, found)
        else:
            for index, item in enumerate(value):
                _put(field, item, f"{path}[{index}]", found, repeated=True)


def _put(
    field: Any, value: Any, path: str, found: dict[str, Any], repeated: bool = False, map_value: bool = False
) -> None:
    if hasattr(value, "ListFields"):
        if not value.ListFields():
            found[path] = "{}"
        _flatten(value, f"{path}.", found)
    elif map_value or repeated or value != field.default_value:
        if field.enum_type is not None and not map_value:
            value = field.enum_type.values_by_number[value].name
        found[path] = value


def fingerprint(values: dict[str, Any]) -> str:
    """Returns the SHA-256 of those fields of a flattened config that change what a run computes."""
    kept = {path: value for path, value in values.items() if not _FREE.match(path)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Returns a line for each field that changes results and differs between two flattened configs."""
    paths = sorted(path for path in {*old, *new} if old.get(path) != new.get(path) and not _FREE.match(path))
    return [f"{path}: {_show(old.get(path))} -> {_show(new.get(path))}" for path in paths]


def _show(value: Any) -> str:
    return "default" if value is None else json.dumps(value)


def check_unchanged(old: dict[str, Any], new: dict[str, Any], where: str, inference: bool = False) -> None:
    """Refuses to go on when the config says something else than the one the checkpoint was made with.

    Args:
        old: The checkpoint's flattened config.
        new: The present one.
        where: The checkpoint, for the message.
        inference: Whether the model is not trained on: how it was trained and how rows are stored may differ.

    Raises:
        CheckpointError: If a field that changes results differs; the message lists them.
    """
    if inference:
        old, new = ({k: v for k, v in values.items() if _OF_MODEL.match(k)} for values in (old, new))
    differences = changes(old, new)
    if differences:
        instead = "" if inference else "start over with --fresh, "
        raise CheckpointError(
            f"{where}: the config has changed since this checkpoint: {'; '.join(differences)}; undo that, "
            f"{instead}or go on with --allow-config-change"
        )
