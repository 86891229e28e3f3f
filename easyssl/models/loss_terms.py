"""Losses with their weights and parameters, read from a message with `loss_type` or `losses`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from easyssl.backbone.plan_match import LIST_WISE, is_list_wise
from easyssl.backbone.plan_multi_task import ORDER
from easyssl.config import Config
from easyssl.config.bind import bind, python_value
from easyssl.config.signatures import signature_of_function
from easyssl.data.label_functions import function_of_one_value
from easyssl.data.loss_columns import LossColumn
from easyssl.errors import ConfigError
from easyssl.losses import RANKING, SUPERVISED_LOSSES, SupervisedLoss, parameter_error
from easyssl.metrics.from_config import VALUE_LOSSES, raw_column
from easyssl.models.terms import LossTerm

_ALONE = ("JRC_LOSS", "ZILN_LOSS")


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

        def error(name: str, text: str) -> ConfigError:
            return config.error(f"{path}.{field}.{name}" if name else f"{path}.{field}", text)

        found = bind(signature_of_function(kind.function, loss_type), params, error)
        for name, value in found.items():
            text = parameter_error(name, value)
            if text:
                raise error(name, text)
        if "transform_fn" in found:
            place = f"{path}.{field}.transform_fn"
            found["transform_fn"] = function_of_one_value(config, found["transform_fn"], place)
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
