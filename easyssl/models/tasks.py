"""What a model is trained to predict, read from `model_config`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from easyssl.backbone.plan_match import LIST_WISE, is_list_wise, refuse_match
from easyssl.backbone.plan_multi_task import ORDER, refuse_multi_task
from easyssl.config import Config
from easyssl.config.bind import bind, python_value
from easyssl.config.labels import read_label
from easyssl.config.signatures import signature_of_function
from easyssl.data.loss_columns import LossColumn
from easyssl.losses import RANKING, SUPERVISED_LOSSES, SupervisedLoss, parameter_error
from easyssl.metrics.from_config import VALUE_LOSSES, raw_column
from easyssl.models.terms import LossTerm, TaskSpace

_POINT_WISE = ("CLASSIFICATION", "L2_LOSS")
_ALONE = ("JRC_LOSS", "ZILN_LOSS")

REG_POS = "reg_pos_loss"
"""The second term of the list-wise loss of a MatchModel, both its type and its name."""


@dataclass(frozen=True)
class Task:
    """One label and how it is predicted.

    Attributes:
        label: Name of the label column; empty if no loss reads one.
        num_class: Width of the model's output.
        losses: What is minimised; together they decide what is predicted.
        suffix: Ends the names of its predictions, losses and metrics.
    """

    label: str
    num_class: int
    losses: tuple[LossTerm, ...]
    suffix: str = ""

    @property
    def loss_types(self) -> tuple[str, ...]:
        """The types of its losses."""
        return tuple(term.loss_type for term in self.losses)


def rank_task(config: Config) -> Task:
    """Reads the task of a RankModel.

    Raises:
        ConfigError: For an unknown label, a loss that a RankModel cannot have, or a number of classes that
            does not fit the loss.
    """
    config.refuse("model_config")
    refuse_match(config)
    refuse_multi_task(config)
    message = config.message.model_config
    label = read_label(config, message.label_name, "model_config.label_name")
    return read_task(config, message, "model_config", label)


def read_task(
    config: Config,
    message: Any,
    path: str,
    label: str,
    *,
    suffix: str = "",
    weight: float = 1.0,
    use_sample_weight: bool = True,
    spaces: Sequence[TaskSpace] = (),
    relations: Sequence[str] | None = None,
) -> Task:
    """Reads what a message with `loss_type`, `num_class` and `losses` asks for.

    Args:
        config: The config.
        message: `model_config` or one of its task towers.
        path: Field path of the message.
        label: The label column.
        suffix: Ends the names of predictions and losses. Defaults to "".
        weight: Multiplies the weight of each loss. Defaults to 1.0.
        use_sample_weight: Whether the weights of rows act. Defaults to True.
        spaces: Further weights of rows. Defaults to none.
        relations: The probabilities that ORDER_CALIBRATE_LOSS compares with. Defaults to None: there is no
            such loss.

    Raises:
        ConfigError: For a loss that needs another model, number of classes or parameters, and for losses that
            cannot share one output.
    """
    num_class = message.num_class
    if num_class < 1:
        raise config.error(f"{path}.num_class", f"found {num_class}; expected at least 1")

    def check(loss_type: str, place: str) -> None:
        owner = config.message.model_config.model_class
        known = [kind for kind in SUPERVISED_LOSSES if kind != ORDER or relations is not None]
        if loss_type not in known:
            listed = ", ".join(known)
            raise config.error(
                f"{place}.loss_type", f"{loss_type} is no loss of a {owner}; expected one of {listed}"
            )
        fewest, most = SUPERVISED_LOSSES[loss_type].num_class
        if num_class < fewest or (most is not None and num_class > most):
            needed = f"{fewest}" if most == fewest else f"of at least {fewest}"
            raise config.error(
                f"{place}.loss_type", f"{loss_type} needs num_class {needed}; found {num_class}"
            )

    shared = LossTerm(
        "",
        weight,
        suffix,
        label,
        suffix,
        num_class,
        use_sample_weight=use_sample_weight,
        spaces=tuple(spaces),
    )
    losses = read_losses(config, message, path, shared, check)
    if relations:
        losses = tuple(
            dataclasses.replace(term, others=tuple(relations)) if term.loss_type == ORDER else term
            for term in losses
        )
    return Task(label, num_class, losses, suffix)


def match_task(config: Config) -> Task:
    """Reads the task of a MatchModel.

    A list-wise task has no label; its loss has a second term, `reg_pos_loss`, of the same weight.

    Raises:
        ConfigError: For an unknown label, a loss that a MatchModel cannot have, or several classes.
    """
    config.refuse("model_config")
    refuse_multi_task(config)
    model = config.message.model_config
    if model.num_class != 1:
        raise config.error(
            "model_config.num_class", f"found {model.num_class}; a MatchModel has one score for a pair"
        )
    supported = (LIST_WISE, *_POINT_WISE)

    def check(loss_type: str, path: str) -> None:
        if loss_type not in supported:
            raise config.error(
                f"{path}.loss_type",
                f"{loss_type} is no loss of a MatchModel; expected {', '.join(supported)}",
            )

    if is_list_wise(model) and model.kd:
        raise config.error(
            "model_config.kd[0]", f"is not for {LIST_WISE}, which compares rows with each other"
        )
    label = "" if is_list_wise(model) else read_label(config, model.label_name, "model_config.label_name")
    losses = read_losses(config, model, "model_config", LossTerm("", 1.0, "", label, ""), check)
    if label:
        return Task(label, 1, losses)
    taken = {loss.name for loss in losses}
    if REG_POS in taken:
        raise config.error("model_config.losses", f"the name {REG_POS} is taken by a part of {LIST_WISE}")
    weight = sum(loss.weight for loss in losses)
    return Task("", 1, (*losses, LossTerm(REG_POS, weight, REG_POS)))


def read_losses(
    config: Config, message: Any, path: str, shared: LossTerm, check: Callable[[str, str], None]
) -> tuple[LossTerm, ...]:
    """Reads `losses`, or `loss_type` if there are none.

    Args:
        config: The config.
        message: Has these fields.
        path: Field path of the message.
        shared: What the terms have in common; its weight multiplies theirs, and its name and prediction are
            suffixes of theirs.
        check: Called with the type and place of each; raises where the type does not fit.

    Raises:
        ConfigError: For parameters that do not fit the loss, two losses of one name, and losses that cannot
            share one output.
    """
    places = [(loss, f"{path}.losses[{i}]") for i, loss in enumerate(message.losses)] or [(message, path)]
    strategy = weight_strategy(config)
    terms: list[LossTerm] = []
    for loss, place in places:
        loss_type = enum_name(loss, "loss_type")
        check(loss_type, place)
        kind = SUPERVISED_LOSSES[loss_type]
        own = loss is not message
        name = ((loss.loss_name if own else "") or kind.name) + shared.name
        if name in {other.name for other in terms}:
            raise config.error(place, f"two losses are called '{name}'; give each a loss_name of its own")
        if own:
            _check_weight(config, loss, place, strategy)
        parameters, session = read_parameters(config, loss if own else None, place, loss_type, kind)
        terms.append(
            dataclasses.replace(
                shared,
                loss_type=loss_type,
                weight=shared.weight * (python_float(loss, "weight") if own else 1.0),
                name=name,
                prediction=kind.reads + shared.prediction,
                parameters=parameters,
                session=session,
                learn_weight=own and loss.learn_loss_weight,
            )
        )
    _check_output([term.loss_type for term in terms], shared.num_class, config, path)
    return tuple(terms)


def read_parameters(
    config: Config, message: Any, path: str, loss_type: str, kind: SupervisedLoss
) -> tuple[dict[str, Any], LossColumn | None]:
    """Returns the keyword arguments of a loss, and its session column.

    Args:
        config: The config.
        message: A message with the oneof `loss_param`, or None.
        path: Its field path.
        loss_type: Type of the loss.
        kind: What there is to know of the type.

    Raises:
        ConfigError: For the parameters of another loss, one out of its range, a session that is neither a
            feature nor an input field, and a missing session where one is needed.
    """
    field = None if message is None else message.WhichOneof("loss_param")
    if field is not None and field != kind.parameters:
        instead = (
            f"its parameters are called {kind.parameters}" if kind.parameters else "it has no parameters"
        )
        raise config.error(f"{path}.{field}", f"does not belong to {loss_type}; {instead}")
    found: dict[str, Any] = {}
    session = None
    if field is not None:
        params = type(getattr(message, field))()
        params.CopyFrom(getattr(message, field))
        name = getattr(params, "session_name", "")
        if name:
            place = f"{path}.{field}.session_name"
            session = LossColumn(raw_column(config, name, place))
        if kind.session:
            params.ClearField("session_name")

        def error(name: str, text: str) -> Exception:
            return config.error(f"{path}.{field}.{name}" if name else f"{path}.{field}", text)

        found = bind(signature_of_function(kind.function, loss_type), params, error)
        for name, value in found.items():
            text = parameter_error(name, value)
            if text:
                raise error(name, text)
    if kind.session == "required" and session is None:
        raise config.error(
            f"{path}.{field}" if field else path,
            f"{loss_type} needs {kind.parameters} {{ session_name }}, the feature whose value is the session",
        )
    return found, session


def _check_weight(config: Config, loss: Any, place: str, strategy: str) -> None:
    """Raises for a learned weight with another strategy, and warns of a weight that does not act."""
    if loss.learn_loss_weight and strategy != "Uncertainty":
        raise config.error(
            f"{place}.learn_loss_weight", "needs model_config.loss_weight_strategy: Uncertainty"
        )
    if loss.weight != 1 and (strategy == "Random" or loss.learn_loss_weight):
        why = "weights are drawn" if strategy == "Random" else "this one is learned"
        warning = str(config.error(f"{place}.weight", f"has no effect: {why}"))
        if warning not in config.warnings:
            config.warnings.append(warning)


def weight_strategy(config: Config) -> str:
    """Returns how several losses are weighted: Fixed, Uncertainty or Random."""
    return enum_name(config.message.model_config, "loss_weight_strategy")


def enum_name(message: Any, field: str) -> str:
    """Returns the name of an enum field's value."""
    descriptor = message.DESCRIPTOR.fields_by_name[field].enum_type
    return descriptor.values_by_number[getattr(message, field)].name


def python_float(message: Any, field: str) -> float:
    """Returns a 32-bit number as the shortest decimal that reads back as the same."""
    return python_value(message.DESCRIPTOR.fields_by_name[field], getattr(message, field))


def _check_output(kinds: Sequence[str], num_class: int, config: Config, path: str) -> None:
    """Raises where losses would need different predictions from one output."""
    listed = " and ".join(kinds)
    list_wise = is_list_wise(config.message.model_config)
    others = [kind for kind in kinds if kind != ORDER]
    families = {_family(kind, list_wise) for kind in others} - {"ranking"}
    alone = [kind for kind in others if kind in _ALONE]
    if len(families) > 1 or (alone and len(others) > 1):
        raise config.error(f"{path}.losses[1]", f"{listed} cannot share one output")
    if len(others) == len(kinds):
        return
    scored = alone or (num_class == 1 and (set(others) & RANKING or "probability" in families))
    if not scored:
        raise config.error(
            f"{path}.losses", f"{ORDER} needs a loss beside it that predicts one probability a row"
        )


def _family(kind: str, list_wise: bool) -> str:
    if kind in RANKING:
        return "ranking"
    alone = kind in (*VALUE_LOSSES, *_ALONE) or (list_wise and kind == LIST_WISE)
    return kind if alone else "probability"
