"""What a config says about a MatchModel, checked without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from easyssl.backbone.plan_order import Node, targets
from easyssl.backbone.plan_types import MAIN, Plan
from easyssl.data.features.types import FeatureSpec
from easyssl.data.hard_negatives import HARD_NEGATIVES
from easyssl.data.sampler_config import hard_negatives_per_row, sampler_field, sampler_message
from easyssl.errors import nearest

LIST_WISE = "SOFTMAX_CROSS_ENTROPY"
"""The loss type in which each row has to find its item among those of the batch."""

_PARAMS = "model_config.model_params"
_FIELDS = (
    "user_tower_idx_in_output",
    "item_tower_idx_in_output",
    "simi_func",
    "temperature",
    "scale_simi",
    "item_id_feature",
    "mask_accidental_hits",
    "log_q_correction",
    "log_q_buckets",
    "log_q_rate",
)
_LOG_Q = ("log_q_correction", "log_q_buckets", "log_q_rate")


@dataclasses.dataclass(frozen=True)
class Tower:
    """One of the two towers.

    Attributes:
        side: `"user"` or `"item"`.
        index: Position among the backbone's outputs.
        block: Name of the block.
        columns: Raw columns that the features behind the block are made from, in the order of the config.
    """

    side: str
    index: int
    block: str
    columns: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class MatchPlan:
    """What a MatchModel computes from the vectors of its towers.

    Attributes:
        user: The user tower.
        item: The item tower.
        list_wise: Whether each row has to find its item among those of the batch; otherwise each pair has a
            label.
        similarity: `"cosine"` or `"dot"`.
        temperature: Divides the similarity.
        scale: Whether scale and offset of the similarity are learned.
        item_id: Feature that identifies an item; empty without.
        mask_accidental_hits: Whether items of the row's own id are no negatives.
        log_q_buckets: Buckets of the estimate of how often items come; 0 without the correction.
        log_q_rate: Weight of the newest gap in it.
        sampled: Columns to which a sampler appends negatives.
        hard: Negatives that a row may have for itself alone; 0 without them.
    """

    user: Tower
    item: Tower
    list_wise: bool
    similarity: str
    temperature: float
    scale: bool
    item_id: str
    mask_accidental_hits: bool
    log_q_buckets: int
    log_q_rate: float
    sampled: tuple[str, ...]
    hard: int

    @property
    def separate(self) -> bool:
        """Whether no column is behind both towers."""
        return not set(self.user.columns) & set(self.item.columns)


def is_list_wise(message: Any) -> bool:
    """Returns whether a `model_config` is a MatchModel's whose rows look for their items in the batch."""
    values = message.DESCRIPTOR.fields_by_name["loss_type"].enum_type.values_by_name
    kinds = [loss.loss_type for loss in message.losses] or [message.loss_type]
    return message.model_class == "MatchModel" and values[LIST_WISE].number in kinds


def plan_match(config: Any, plan: Plan, specs: Mapping[str, FeatureSpec]) -> MatchPlan:
    """Reads and checks what a MatchModel needs.

    Args:
        config: The config; fields without effect are added to its warnings.
        plan: The plan of its backbone.
        specs: Its features by name.

    Raises:
        ConfigError: At the field that is wrong.
    """
    model = config.message.model_config
    params = model.model_params
    list_wise = is_list_wise(model)
    user, item = (_tower(config, plan, specs, side) for side in ("user", "item"))
    similarity = "cosine" if params.simi_func == 0 else "dot"
    if not params.temperature > 0:
        raise config.error(f"{_PARAMS}.temperature", f"is {params.temperature:g}, expected a number above 0")
    if similarity == "dot" and params.temperature != 1:
        _warn(config, f"{_PARAMS}.temperature", "has no effect: it divides COSINE only")
    if list_wise and config.message.data_config.label_fields:
        _warn(
            config,
            "data_config.label_fields",
            f"has no effect: with {LIST_WISE} every row is a user and the item to find; rows that are not "
            "can have the weight 0 in the column of sample_weight",
        )
    _check_item_id(config, specs, list_wise)
    return MatchPlan(
        user,
        item,
        list_wise=list_wise,
        similarity=similarity,
        temperature=params.temperature if similarity == "cosine" else 1.0,
        scale=params.scale_simi,
        item_id=params.item_id_feature,
        mask_accidental_hits=bool(params.item_id_feature) and params.mask_accidental_hits,
        log_q_buckets=params.log_q_buckets if params.log_q_correction else 0,
        log_q_rate=params.log_q_rate,
        sampled=_sampled(config, user, item, specs, list_wise),
        hard=hard_negatives_per_row(config),
    )


def refuse_match(config: Any) -> None:
    """Refuses what only a MatchModel acts on.

    Raises:
        ConfigError: If such a field is set.
    """
    params = config.message.model_config.model_params
    for field in _FIELDS:
        if getattr(params, field) != params.DESCRIPTOR.fields_by_name[field].default_value:
            raise config.error(f"{_PARAMS}.{field}", "is for model_class MatchModel")
    sampler = sampler_field(config)
    if sampler is not None:
        raise config.error(sampler, f"is for model_class MatchModel with loss_type {LIST_WISE}")


def groups_behind(plan: Plan, blocks: Iterable[str]) -> set[str]:
    """Returns the feature groups that blocks of the main graph depend on.

    Args:
        plan: The plan.
        blocks: Names of blocks of the main graph.
    """
    graphs = {graph.name: graph for graph in plan.graphs}
    pending: list[Node] = [(MAIN, name) for name in blocks]
    seen: set[Node] = set()
    groups = set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        scope, name = node
        if name is None:
            pending += [(scope, output) for output in graphs[scope].outputs]
            continue
        block = graphs[scope].block(name)
        if block.group is not None:
            groups.add(block.group)
        pending += [target for source in block.inputs for target in targets(source)]
    return groups


def _tower(config: Any, plan: Plan, specs: Mapping[str, FeatureSpec], side: str) -> Tower:
    main = plan.main
    if plan.top_mlp is not None:
        path, text = plan.top_mlp.path, "makes one vector of both towers; put dense layers into the towers"
        raise config.error(path, f"a MatchModel compares two vectors, and top_mlp {text}")
    if not main.output_as_list or len(main.outputs) < 2:
        found = ", ".join(main.outputs)
        raise config.error(
            main.path,
            "a MatchModel needs the vectors of both towers; list their blocks in output_blocks (the output "
            f"is {found})",
        )
    field = f"{side}_tower_idx_in_output"
    index = getattr(config.message.model_config.model_params, field)
    if not 0 <= index < len(main.outputs):
        found = ", ".join(main.outputs)
        raise config.error(
            f"{_PARAMS}.{field}", f"is {index}, expected 0 to {len(main.outputs) - 1} ({found})"
        )
    other = config.message.model_config.model_params.user_tower_idx_in_output
    if side == "item" and index == other:
        raise config.error(f"{_PARAMS}.{field}", f"is {index}, and so is user_tower_idx_in_output")
    block = main.outputs[index]
    groups = [plan.groups[name] for name in groups_behind(plan, [block])]
    names = {name for group in groups for name in (*group.features, *group.attention_features)}
    columns = [column for name, spec in specs.items() if name in names for column in spec.inputs]
    return Tower(side, index, block, tuple(dict.fromkeys(columns)))


def _check_item_id(config: Any, specs: Mapping[str, FeatureSpec], list_wise: bool) -> None:
    params = config.message.model_config.model_params
    name, path = params.item_id_feature, f"{_PARAMS}.item_id_feature"
    if params.log_q_correction and not name:
        raise config.error(f"{_PARAMS}.log_q_correction", "needs item_id_feature, which tells items apart")
    for field in _LOG_Q[1:]:
        if params.HasField(field) and not params.log_q_correction:
            _warn(config, f"{_PARAMS}.{field}", "has no effect without log_q_correction")
    if params.log_q_buckets < 1:
        raise config.error(f"{_PARAMS}.log_q_buckets", "is 0, expected at least 1")
    if not 0 < params.log_q_rate <= 1:
        raise config.error(f"{_PARAMS}.log_q_rate", f"is {params.log_q_rate:g}, expected a number in (0, 1]")
    if not name:
        return
    ids = [feature for feature, spec in specs.items() if spec.kind == "id"]
    if name not in specs:
        raise config.error(path, f"no feature is called '{name}'{nearest(name, ids)}")
    if specs[name].kind != "id":
        raise config.error(path, f"'{name}' is not an IdFeature{nearest(name, ids)}")
    if not specs[name].used:
        raise config.error(path, f"the feature '{name}' is in no feature group, so it is not read")
    if not list_wise:
        _warn(config, path, f"has no effect without loss_type {LIST_WISE}")


def _sampled(
    config: Any, user: Tower, item: Tower, specs: Mapping[str, FeatureSpec], list_wise: bool
) -> tuple[str, ...]:
    """Returns the columns of the sampler, checked to be those of the item tower alone."""
    path = sampler_field(config)
    if path is None:
        return ()
    if not list_wise:
        raise config.error(path, f"sampled items have no label; set loss_type to {LIST_WISE}")
    columns = tuple(sampler_message(config).attr_fields)
    if HARD_NEGATIVES in specs and hard_negatives_per_row(config):
        text = f"tells the model its '{HARD_NEGATIVES}', so that no feature may be called that"
        raise config.error(path, text)
    path = f"{path}.attr_fields"
    missing = [column for column in item.columns if column not in columns]
    if missing:
        raise config.error(path, f"lacks '{missing[0]}', which the item tower '{item.block}' reads")
    shared = [column for column in user.columns if column in columns]
    if shared:
        raise config.error(
            path, f"holds '{shared[0]}', which the user tower '{user.block}' reads; users are not sampled"
        )
    item_id = config.message.model_config.model_params.item_id_feature
    for name, spec in specs.items():
        inside = _inside(spec.inputs, columns)
        if spec.used and spec.kind != "none" and (inside is None or (name == item_id and not inside)):
            raise config.error(path, f"does not hold all columns of the feature '{name}'")
    return columns


def _inside(inputs: Iterable[str], columns: Collection[str]) -> bool | None:
    """Returns whether all inputs are among the columns; None if only some are."""
    found = {name in columns for name in inputs}
    return found.pop() if len(found) == 1 else None


def _warn(config: Any, path: str, text: str) -> None:
    warning = f"{config.where(path)}: {path} {text}"
    if warning not in config.warnings:
        config.warnings.append(warning)
