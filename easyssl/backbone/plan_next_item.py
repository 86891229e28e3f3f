"""What a config says about a NextItemModel, checked without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from easyssl.backbone.plan_lengths import sequence_limits
from easyssl.backbone.plan_match import groups_behind
from easyssl.backbone.plan_types import Plan
from easyssl.config.bind import python_value
from easyssl.data.features.types import FeatureSpec
from easyssl.data.item_corpus import corpus_columns
from easyssl.errors import nearest

NEXT_ITEM = "NextItemModel"
_PLACE = "model_config.next_item"
_DRAWN = ("SAMPLED_SOFTMAX", "BINARY_CROSS_ENTROPY", "GENERALIZED_BINARY_CROSS_ENTROPY")
_SOFTMAX_OF_SOME = ("SAMPLED_SOFTMAX", "IN_BATCH_SOFTMAX")


@dataclasses.dataclass(frozen=True)
class NextItemPlan:
    """What a NextItemModel computes from the vectors of its blocks.

    Attributes:
        user: Position of the user block among the backbone's outputs.
        item: Position of the item block.
        history: Name of the feature with the items of a history.
        corpus: Columns of the item corpus.
        item_id: The one that identifies an item.
        targets: `"EVERY_STEP"`, `"NEXT_STEP"`, `"RANDOM_STEP"` or `"HIDDEN_STEPS"`.
        loss: Name of the loss.
        num_negatives: Negatives that are drawn.
        negatives: `"UNIFORM"`, `"POPULARITY"` or `"LOG_UNIFORM"`.
        log_q_correction: Whether log probabilities are taken from scores.
        calibration: Of the generalized binary cross entropy.
        similarity: `"cosine"` or `"dot"`.
        temperature: Divides the similarity in the loss.
        item_bias: Whether each item has a learned bias.
        loss_weight: Weight of the loss.
        top_k: Items on a list.
        exclude_history: Whether lists leave out the history.
        interest_power: Exponent of label-aware attention; None for a hard choice among interests.
        category: Column with the category of an item, `""` for none.
        diversity: What an item of another category adds on a list; 0 leaves lists as they are.
        diversity_candidates: From how many items such a list is chosen.
        streams: Groups with items drawn uniformly, and how many.
    """

    user: int
    item: int
    history: str
    corpus: tuple[str, ...]
    item_id: str
    targets: str
    loss: str
    num_negatives: int
    negatives: str
    log_q_correction: bool
    calibration: float
    similarity: str
    temperature: float
    item_bias: bool
    loss_weight: float
    top_k: int
    exclude_history: bool
    interest_power: float | None
    category: str
    diversity: float
    diversity_candidates: int
    streams: tuple[tuple[str, int], ...] = ()

    @property
    def drawn(self) -> bool:
        """Whether the loss draws negatives."""
        return self.loss in _DRAWN


def refuse_next_item(config: Any) -> None:
    """Refuses what only a NextItemModel acts on.

    Raises:
        ConfigError: If such a field is set.
    """
    message = config.message
    for owner, path in ((message.model_config, ("next_item",)), (message.data_config, _OF_DATA)):
        for field in path:
            if owner.HasField(field):
                where = f"{'model_config' if owner is message.model_config else 'data_config'}.{field}"
                raise config.error(where, f"is for model_class {NEXT_ITEM}")


_OF_DATA = ("item_corpus", "sequence_split")


def plan_next_item(config: Any, plan: Plan, specs: Mapping[str, FeatureSpec]) -> NextItemPlan:
    """Reads and checks what a NextItemModel needs.

    Args:
        config: The config.
        plan: The plan of its backbone.
        specs: Its features by name.

    Raises:
        ConfigError: At the field that is wrong.
    """
    message = config.message.model_config.next_item
    for owner, field in (("model_config", "next_item"), ("data_config", "item_corpus")):
        if not getattr(config.message, owner).HasField(field):
            raise config.error(owner, f"a {NEXT_ITEM} needs {field}")
    columns = tuple(corpus_columns(config))
    user, item = _outputs(config, plan)
    _check_sides(config, plan, specs, user, item, columns)
    loss, targets, negatives, similarity = (
        _name(message, field) for field in ("loss", "targets", "negatives", "similarity")
    )
    _check_numbers(config, message, loss)
    popularity = config.message.data_config.item_corpus.popularity
    if not popularity:
        asks = "negatives" if negatives != "UNIFORM" and loss in _DRAWN else ""
        asks = "log_q_correction" if message.log_q_correction and loss == "IN_BATCH_SOFTMAX" else asks
        if asks:
            raise config.error(f"{_PLACE}.{asks}", "needs data_config.item_corpus.popularity")
    if message.log_q_correction and loss not in _SOFTMAX_OF_SOME:
        raise config.error(
            f"{_PLACE}.log_q_correction", f"is for {' and '.join(_SOFTMAX_OF_SOME)}, not {loss}"
        )
    if message.item_bias and similarity == "COSINE":
        raise config.error(f"{_PLACE}.item_bias", "needs similarity DOT; a cosine has no bias")
    _check_lists(config, message, columns)
    _check_history(config, plan, specs, message.history, targets)
    return NextItemPlan(
        user=user,
        item=item,
        history=message.history,
        corpus=columns,
        item_id=config.message.data_config.item_corpus.item_id,
        targets=targets,
        loss=loss,
        num_negatives=message.num_negatives,
        negatives=negatives,
        log_q_correction=message.log_q_correction,
        calibration=_float(message, "calibration"),
        similarity=similarity.lower(),
        temperature=_float(message, "temperature"),
        item_bias=message.item_bias,
        loss_weight=_float(message, "loss_weight"),
        top_k=message.top_k,
        exclude_history=message.exclude_history,
        interest_power=_float(message, "interest_power") if message.HasField("interest_power") else None,
        category=message.category,
        diversity=_float(message, "diversity"),
        diversity_candidates=message.diversity_candidates,
        streams=_streams(config, plan, specs, columns),
    )


def _outputs(config: Any, plan: Plan) -> tuple[int, int]:
    main, params = plan.main, config.message.model_config.model_params
    if plan.top_mlp is not None:
        raise config.error(
            plan.top_mlp.path, "makes one vector of user and items; put layers into the blocks"
        )
    if not main.output_as_list or len(main.outputs) < 2:
        raise config.error(
            main.path,
            f"a {NEXT_ITEM} needs a block of the user and one of the items; list both in output_blocks (the "
            f"output is {', '.join(main.outputs)})",
        )
    places = []
    for side in ("user", "item"):
        field = f"{side}_tower_idx_in_output"
        index = getattr(params, field)
        if not 0 <= index < len(main.outputs) or index in places:
            found = ", ".join(main.outputs)
            raise config.error(
                f"model_config.model_params.{field}",
                f"is {index}, expected a place of its own from 0 to {len(main.outputs) - 1} ({found})",
            )
        places.append(index)
    return places[0], places[1]


def _check_sides(
    config: Any, plan: Plan, specs: Mapping[str, FeatureSpec], user: int, item: int, columns: tuple[str, ...]
) -> None:
    """Checks that rows and items do not meet before they are compared."""
    for name, spec in specs.items():
        inside = {column in columns for column in spec.inputs}
        if len(inside) == 2:
            raise config.error(spec.path, f"the feature '{name}' reads columns of rows and of items")
    for place, of_items in ((user, False), (item, True)):
        block = plan.main.outputs[place]
        for group in groups_behind(plan, [block]):
            for name in plan.groups[group].features:
                if (set(specs[name].inputs) <= set(columns)) != of_items:
                    side, other = ("items", "rows") if of_items else ("the user", "items")
                    raise config.error(
                        plan.main.block(block).path,
                        f"'{block}' is the block of {side}, but reads '{name}', a feature of {other}",
                    )


def _check_numbers(config: Any, message: Any, loss: str) -> None:
    if not message.temperature > 0:
        raise config.error(f"{_PLACE}.temperature", f"is {message.temperature:g}, expected a number above 0")
    if not 0 <= message.calibration <= 1:
        raise config.error(
            f"{_PLACE}.calibration", f"is {message.calibration:g}, expected a number from 0 to 1"
        )
    for field in ("top_k", *(("num_negatives",) if loss in _DRAWN else ())):
        if getattr(message, field) < 1:
            raise config.error(f"{_PLACE}.{field}", "is 0, expected at least 1")


def _check_lists(config: Any, message: Any, columns: tuple[str, ...]) -> None:
    for field in ("interest_power", "diversity"):
        if not 0 <= getattr(message, field) < float("inf"):
            found = f"is {getattr(message, field):g}, expected a number from 0 on"
            raise config.error(f"{_PLACE}.{field}", found)
    if message.category and message.category not in columns:
        known = nearest(message.category, columns)
        raise config.error(
            f"{_PLACE}.category",
            f"'{message.category}' is not among data_config.item_corpus.input_fields{known}",
        )
    if message.diversity and not message.category:
        raise config.error(f"{_PLACE}.diversity", "needs next_item.category, a column of the item corpus")
    if message.diversity and message.diversity_candidates < message.top_k:
        raise config.error(
            f"{_PLACE}.diversity_candidates",
            f"is {message.diversity_candidates}, expected at least top_k, which is {message.top_k}",
        )


def _check_history(
    config: Any, plan: Plan, specs: Mapping[str, FeatureSpec], name: str, targets: str
) -> None:
    sequences = [feature for feature, spec in specs.items() if spec.kind == "id_sequence"]
    if name not in sequences:
        found = (
            f"'{name}' is not a SequenceFeature of ids{nearest(name, sequences)}" if name else "is not set"
        )
        raise config.error(f"{_PLACE}.history", found)
    spec = specs[name]
    if not spec.used:
        raise config.error(f"{_PLACE}.history", f"the feature '{name}' is in no feature group")
    split = config.message.data_config.sequence_split
    if config.message.data_config.HasField("sequence_split") and split.items != spec.inputs[0]:
        raise config.error(
            "data_config.sequence_split.items",
            f"is '{split.items}', but the feature '{name}' of next_item.history reads '{spec.inputs[0]}'",
        )
    limit = sequence_limits(plan, specs).get(name)
    if targets in ("NEXT_STEP", "RANDOM_STEP"):
        return
    if limit is not None and not 0 < spec.max_seq_len <= limit.limit:
        raise config.error(
            spec.path,
            f"'{name}' may be longer than what {limit} takes, so that its steps would have no place among "
            f"the targets; set max_seq_len: {limit.limit} and keep_steps: LAST_STEPS",
        )


def _streams(
    config: Any, plan: Plan, specs: Mapping[str, FeatureSpec], columns: tuple[str, ...]
) -> tuple[tuple[str, int], ...]:
    found: dict[str, int] = {}
    for i, stream in enumerate(config.message.data_config.item_corpus.streams):
        place, name = f"data_config.item_corpus.streams[{i}]", stream.feature_group
        if name not in plan.groups:
            raise config.error(
                f"{place}.feature_group", f"no group is called '{name}'{nearest(name, plan.groups)}"
            )
        if name in found:
            raise config.error(f"{place}.feature_group", f"'{name}' has a stream already")
        for feature in plan.groups[name].features:
            if not set(specs[feature].inputs) <= set(columns):
                raise config.error(
                    f"{place}.feature_group", f"'{name}' has '{feature}', which reads no column of the corpus"
                )
        if stream.batch_size < 1:
            raise config.error(f"{place}.batch_size", "is 0, expected at least 1")
        found[name] = stream.batch_size
    return tuple(found.items())


def _name(message: Any, field: str) -> str:
    return str(python_value(message.DESCRIPTOR.fields_by_name[field], getattr(message, field)))


def _float(message: Any, field: str) -> float:
    return float(python_value(message.DESCRIPTOR.fields_by_name[field], getattr(message, field)))
