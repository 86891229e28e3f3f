"""What a model is trained to predict, read from `model_config`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from easyssl.backbone.plan_match import LIST_WISE, is_list_wise, refuse_match
from easyssl.config import Config
from easyssl.errors import nearest
from easyssl.models.heads import LOSS_NAMES

_MULTI_CLASS = ("CLASSIFICATION", "SOFTMAX_CROSS_ENTROPY")
_POINT_WISE = ("CLASSIFICATION", "L2_LOSS")

REG_POS = "reg_pos_loss"
"""The second term of the list-wise loss of a MatchModel, both its type and its name."""


@dataclass(frozen=True)
class LossTerm:
    """One weighted loss; `name` is its key in logs."""

    loss_type: str
    weight: float
    name: str


@dataclass(frozen=True)
class Task:
    """One label and how it is predicted.

    Attributes:
        label: Name of the label column; empty if no loss reads one.
        loss_type: Loss type of the first loss; it decides what is predicted.
        num_class: Width of the model's output.
        losses: What is minimised.
    """

    label: str
    loss_type: str
    num_class: int
    losses: tuple[LossTerm, ...]

    @property
    def integer_label(self) -> bool:
        """Whether the label is a class index."""
        return self.loss_type in _MULTI_CLASS and self.num_class > 1


def rank_task(config: Config) -> Task:
    """Reads the task of a RankModel.

    Raises:
        ConfigError: For an unknown label, a loss that a RankModel cannot have, or a number of classes that
            does not fit the loss.
    """
    config.refuse("model_config")
    refuse_match(config)
    label = _label(config)
    num_class = config.message.model_config.num_class
    if num_class < 1:
        raise config.error("model_config.num_class", f"found {num_class}; expected at least 1")

    def check(loss_type: str, path: str) -> None:
        if loss_type not in LOSS_NAMES:
            raise config.error(
                f"{path}.loss_type",
                f"{loss_type} is not supported by RankModel yet; supported are {', '.join(LOSS_NAMES)}",
            )
        if loss_type == "SOFTMAX_CROSS_ENTROPY" and num_class < 2:
            raise config.error(
                f"{path}.loss_type",
                f"SOFTMAX_CROSS_ENTROPY needs num_class of at least 2; found {num_class}",
            )
        if num_class > 1 and loss_type not in _MULTI_CLASS:
            raise config.error(f"{path}.loss_type", f"{loss_type} needs num_class 1; found {num_class}")

    losses = _losses(config, check)
    return Task(label, losses[0].loss_type, num_class, losses)


def match_task(config: Config) -> Task:
    """Reads the task of a MatchModel.

    A list-wise task has no label; its loss has a second term, `reg_pos_loss`, of the same weight.

    Raises:
        ConfigError: For an unknown label, a loss that a MatchModel cannot have, or several classes.
    """
    config.refuse("model_config")
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

    losses = _losses(config, check)
    if not is_list_wise(model):
        return Task(_label(config), losses[0].loss_type, 1, losses)
    taken = {loss.name for loss in losses}
    if REG_POS in taken:
        raise config.error("model_config.losses", f"the name {REG_POS} is taken by a part of {LIST_WISE}")
    weight = sum(loss.weight for loss in losses)
    return Task("", LIST_WISE, 1, (*losses, LossTerm(REG_POS, weight, REG_POS)))


def _label(config: Config) -> str:
    message = config.message.model_config
    labels = list(config.message.data_config.label_fields)
    kind = message.model_class
    if not labels:
        raise config.error("data_config", f"label_fields is empty; a {kind} needs a label to train on")
    label = message.label_name or labels[0]
    if label not in labels:
        raise config.error(
            "model_config.label_name", f"'{label}' is not among label_fields{nearest(label, labels)}"
        )
    place, widths = labels.index(label), config.message.data_config.label_dim
    if place < len(widths) and widths[place] > 1:
        raise config.error(
            f"data_config.label_dim[{place}]",
            f"is {widths[place]}; a {kind} compares one value a row with its label '{label}'",
        )
    return label


def _losses(config: Config, check: Callable[[str, str], None]) -> tuple[LossTerm, ...]:
    """Returns the weighted losses of a model; `check` is called with the type and place of each."""
    message = config.message.model_config
    strategy = _enum_name(message, "loss_weight_strategy")
    if strategy != "Fixed":
        raise config.error(
            "model_config.loss_weight_strategy", f"{strategy} is not supported yet; expected Fixed"
        )
    if message.losses:
        places = [(loss, f"model_config.losses[{i}]") for i, loss in enumerate(message.losses)]
    else:
        places = [(message, "model_config")]
    losses: list[LossTerm] = []
    for loss, path in places:
        loss_type = _enum_name(loss, "loss_type")
        check(loss_type, path)
        own = loss is not message
        name = (loss.loss_name if own else "") or LOSS_NAMES[loss_type]
        if name in {other.name for other in losses}:
            raise config.error(path, f"two losses are called '{name}'; give each a loss_name of its own")
        losses.append(LossTerm(loss_type, loss.weight if own else 1.0, name))
    if len({_output_kind(config, loss.loss_type) for loss in losses}) > 1:
        listed = " and ".join(loss.loss_type for loss in losses)
        raise config.error("model_config.losses[1]", f"{listed} cannot share one output")
    return tuple(losses)


def _output_kind(config: Config, loss_type: str) -> str:
    if loss_type in ("L2_LOSS", "SIGMOID_L2_LOSS"):
        return loss_type
    if loss_type == LIST_WISE and is_list_wise(config.message.model_config):
        return "list"
    return "classification"


def _enum_name(message: Any, field: str) -> str:
    descriptor = message.DESCRIPTOR.fields_by_name[field].enum_type
    return descriptor.values_by_number[getattr(message, field)].name
