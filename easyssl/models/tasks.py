"""What a model is trained to predict, read from `model_config`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from easyssl.backbone.plan_match import LIST_WISE, is_list_wise, refuse_match
from easyssl.backbone.plan_multi_task import ORDER, refuse_multi_task
from easyssl.config import Config
from easyssl.config.labels import read_label
from easyssl.losses import SUPERVISED_LOSSES
from easyssl.models.loss_terms import read_losses
from easyssl.models.terms import LossTerm, TaskSpace

_POINT_WISE = ("CLASSIFICATION", "L2_LOSS")

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
