"""What a config says about the towers of a MultiTaskModel, checked without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from easyssl.backbone.plan_dnn import read_dnn
from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import LayerPlan, Plan
from easyssl.config.labels import read_label
from easyssl.errors import nearest

TOWERS = "model_config.model_params.task_towers"
"""Place of the towers in a config."""

ORDER = "ORDER_CALIBRATE_LOSS"
"""The loss that compares a tower's probability with those of its relation towers."""

_MODEL = "MultiTaskModel"
# Fields of model_config that each tower has for itself.
_OF_TOWERS = ("loss_type", "num_class", "label_name")
# Fields of towers that say what rows weigh inside and outside of a task space.
_OF_SPACES = ("in_task_space_weight", "out_task_space_weight", "task_space_indicator_value")


@dataclasses.dataclass(frozen=True)
class TaskTower:
    """One task: what it reads, and how that becomes logits.

    Attributes:
        name: Unique; predictions, losses and metrics end with `suffix`.
        path: Place in the config.
        label: Label column.
        num_class: Number of logits.
        dnn: Dense layers of the task, or None.
        relations: Earlier towers whose features are read, or whose probabilities are compared with.
        relates: Whether other towers' features are read, and these here may be read by later towers.
        relation_dnn: Dense layers on the task's own features and those of `relations`, or None.
    """

    name: str
    path: str
    label: str
    num_class: int = 1
    dnn: LayerPlan | None = None
    relations: tuple[str, ...] = ()
    relates: bool = False
    relation_dnn: LayerPlan | None = None

    @property
    def suffix(self) -> str:
        """What the names of predictions, losses and metrics end with."""
        return f"_{self.name}"


def plan_multi_task(config: Any, plan: Plan | None = None) -> tuple[TaskTower, ...]:
    """Reads and checks the towers of a MultiTaskModel.

    Args:
        config: The config; settings without effect are added to its warnings.
        plan: The plan of its backbone, to compare the number of outputs with that of towers.

    Raises:
        ConfigError: At the field that is wrong.
    """
    messages = config.message.model_config.model_params.task_towers
    if not messages:
        raise config.error("model_config", f"a {_MODEL} needs model_params.task_towers, one for each task")
    reader = Reader(config)
    towers: list[TaskTower] = []
    for index, message in enumerate(messages):
        path = f"{TOWERS}[{index}]"
        label = read_label(config, message.label_name, f"{path}.label_name", index)
        towers.append(_tower(reader, message, path, label, towers))
        if not message.task_space_indicator_label and not message.task_space_indicator_name:
            reason = "the tower has neither task_space_indicator_label nor task_space_indicator_name"
            reader.warn_without_effect(message, _OF_SPACES, path, reason)
    if plan is not None:
        _check_outputs(reader, plan, towers)
    _warn_of_idle_fields(reader, config)
    config.warnings.extend(warning for warning in reader.warnings if warning not in config.warnings)
    return tuple(towers)


def is_multi_task(message: Any) -> bool:
    """Returns whether a `model_config` is a MultiTaskModel's."""
    return bool(message.model_class == _MODEL)


def refuse_multi_task(config: Any) -> None:
    """Refuses towers in the config of another model.

    Raises:
        ConfigError: If there are any.
    """
    if config.message.model_config.model_params.task_towers:
        raise config.error(f"{TOWERS}[0]", f"is for model_class {_MODEL}")


def _tower(reader: Reader, message: Any, path: str, label: str, before: Sequence[TaskTower]) -> TaskTower:
    name = message.tower_name
    if not name:
        raise reader.error(path, "tower_name is missing; predictions and metrics of the task end with it")
    if name in {other.name for other in before}:
        raise reader.error(f"{path}.tower_name", f"two towers are called '{name}'")
    return TaskTower(
        name,
        path,
        label,
        message.num_class,
        _dnn(reader, message, "dnn", path),
        _relations(reader, message, before, path),
        message.HasField("relation_dnn"),
        _dnn(reader, message, "relation_dnn", path),
    )


def _dnn(reader: Reader, message: Any, field: str, path: str) -> LayerPlan | None:
    """Returns the dense layers of a field, or None if it is not set or stands for no layer."""
    if not message.HasField(field):
        return None
    path = f"{path}.{field}"
    kwargs = read_dnn(reader, getattr(message, field), path)
    return None if kwargs is None else LayerPlan("keras_layer", field, path, "MLP", kwargs, params_path=path)


def _relations(reader: Reader, message: Any, before: Sequence[TaskTower], path: str) -> tuple[str, ...]:
    """Returns the names in `relation_tower_names`, checked to be those of earlier towers."""
    reads = message.HasField("relation_dnn")
    kinds = message.DESCRIPTOR.fields_by_name["loss_type"].enum_type.values_by_name
    compares = kinds[ORDER].number in [loss.loss_type for loss in message.losses]
    names = list(message.relation_tower_names)
    known = {tower.name: tower for tower in before}
    for index, name in enumerate(names):
        place = f"{path}.relation_tower_names[{index}]"
        if name not in known:
            raise reader.error(place, f"no earlier tower is called '{name}'{nearest(name, known)}")
        if name in names[:index]:
            raise reader.error(place, f"'{name}' is there twice")
        if reads and not known[name].relates:
            raise reader.error(place, f"the tower '{name}' has no relation_dnn, so it has nothing to read")
    if compares and not names:
        first = [loss.loss_type for loss in message.losses].index(kinds[ORDER].number)
        reader.warn(f"{path}.losses[{first}]", f"has no effect: {ORDER} needs relation_tower_names")
    if names and not (reads or compares):
        reader.warn(
            f"{path}.relation_tower_names", f"has no effect without relation_dnn or a loss of {ORDER}"
        )
    return tuple(names)


def _check_outputs(reader: Reader, plan: Plan, towers: Sequence[TaskTower]) -> None:
    """Refuses an output list of another length than there are towers, as far as the plan tells."""
    main = plan.main
    if plan.top_mlp is None and main.output_as_list and len(main.outputs) != len(towers):
        raise reader.error(
            main.path,
            f"output_blocks names {len(main.outputs)} blocks ({', '.join(main.outputs)}) for {len(towers)} "
            f"task_towers ({', '.join(tower.name for tower in towers)}); name one for each tower, in their "
            "order, or use concat_blocks for one that all of them read",
        )


def _warn_of_idle_fields(reader: Reader, config: Any) -> None:
    """Warns of what the towers have instead of the model."""
    model, evaluation = config.message.model_config, config.message.eval_config
    reason = f"each tower of a {_MODEL} has its own"
    reader.warn_without_effect(model, _OF_TOWERS, "model_config", reason)
    for message, field, path in (
        (model, "losses", "model_config"),
        (evaluation, "metrics_set", "eval_config"),
    ):
        if getattr(message, field):
            reader.warn(f"{path}.{field}", f"has no effect: {reason}")
