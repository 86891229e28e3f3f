"""What each tower of a MultiTaskModel is trained to predict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from easyssl.backbone.plan_match import refuse_match
from easyssl.backbone.plan_multi_task import ORDER, TaskTower, plan_multi_task
from easyssl.config import Config
from easyssl.data.loss_columns import LossColumn
from easyssl.errors import nearest
from easyssl.metrics.from_config import TWO_HEADED_LOSSES, VALUE_LOSSES, raw_column
from easyssl.models.loss_terms import python_float
from easyssl.models.tasks import Task, read_task
from easyssl.models.terms import TaskSpace

_SPACE_WEIGHTS = ("in_task_space_weight", "out_task_space_weight")


def tower_tasks(config: Config) -> tuple[Task, ...]:
    """Reads the tasks of a MultiTaskModel, in the order of its towers.

    Raises:
        ConfigError: For an unknown label, a loss that does not fit, or two losses of one name.
    """
    config.refuse("model_config")
    refuse_match(config)
    towers = plan_multi_task(config)
    messages = config.message.model_config.model_params.task_towers
    tasks: list[Task] = []
    for tower, message in zip(towers, messages, strict=True):
        path = tower.path
        weight = python_float(message, "weight")
        if not math.isfinite(weight):
            raise config.error(f"{path}.weight", f"is {weight:g}, expected a finite number")
        task = read_task(
            config,
            message,
            path,
            tower.label,
            suffix=tower.suffix,
            weight=weight,
            use_sample_weight=message.use_sample_weight,
            spaces=task_spaces(config, message, path),
            relations=[f"probs_{name}" for name in tower.relations],
        )
        _check_relations(config, tower, task, tasks)
        # Without a tower to compare with, there is nothing to lose.
        kept = tuple(term for term in task.losses if term.loss_type != ORDER or term.others)
        task = dataclasses.replace(task, losses=kept)
        taken = {term.name for other in tasks for term in other.losses}
        for term in task.losses:
            if term.name in taken:
                raise config.error(path, f"two losses are called '{term.name}'; rename one")
        tasks.append(task)
    return tuple(tasks)


def _check_relations(config: Config, tower: TaskTower, task: Task, before: Sequence[Task]) -> None:
    """Refuses to compare with the probability of a tower that has none, or one for each class."""
    if ORDER not in task.loss_types:
        return
    known = {other.suffix: other for other in before}
    for index, name in enumerate(tower.relations):
        other = known[f"_{name}"]
        single = other.num_class == 1 and not set(other.loss_types) <= VALUE_LOSSES
        if not single and not set(other.loss_types) & TWO_HEADED_LOSSES:
            raise config.error(
                f"{tower.path}.relation_tower_names[{index}]",
                f"{ORDER} compares with one probability a row, which '{name}' does not predict",
            )


def task_spaces(config: Config, message: Any, path: str) -> tuple[TaskSpace, ...]:
    """Reads which rows belong to a task, and what they and the others weigh.

    Args:
        config: The config.
        message: A task tower, or a distillation term, which has no indicator label.
        path: Its field path.

    Raises:
        ConfigError: If an indicator is not known, or a weight is negative.
    """
    label = getattr(message, "task_space_indicator_label", "")
    feature = message.task_space_indicator_name
    inside, outside = (python_float(message, field) for field in _SPACE_WEIGHTS)
    for field, weight in zip(_SPACE_WEIGHTS, (inside, outside), strict=True):
        if not 0 <= weight < math.inf:
            raise config.error(f"{path}.{field}", f"is {weight:g}, expected a number of at least 0")
    spaces = []
    if label:
        labels = list(config.message.data_config.label_fields)
        if label not in labels:
            place = f"{path}.task_space_indicator_label"
            raise config.error(place, f"'{label}' is not among label_fields{nearest(label, labels)}")
        spaces.append(TaskSpace(label, inside, outside))
    if feature:
        if not message.HasField("task_space_indicator_value"):
            raise config.error(path, "task_space_indicator_name needs task_space_indicator_value")
        name = raw_column(config, feature, f"{path}.task_space_indicator_name")
        column = LossColumn(name, message.task_space_indicator_value)
        spaces.append(TaskSpace(column.key, inside, outside, column))
    return tuple(spaces)
