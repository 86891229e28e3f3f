"""What a model is trained to predict, read from `model_config`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from easyssl.config import Config
from easyssl.errors import nearest
from easyssl.models.heads import LOSS_NAMES

_MULTI_CLASS = ("CLASSIFICATION", "SOFTMAX_CROSS_ENTROPY")


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
        label: Name of the label column.
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
    message = config.message.model_config
    config.refuse("model_config")
    labels = list(config.message.data_config.label_fields)
    if not labels:
        raise config.error("data_config", "label_fields is empty; a RankModel needs a label to train on")
    label = message.label_name or labels[0]
    if label not in labels:
        raise config.error(
            "model_config.label_name", f"'{label}' is not among label_fields{nearest(label, labels)}"
        )
    place, widths = labels.index(label), config.message.data_config.label_dim
    if place < len(widths) and widths[place] > 1:
        raise config.error(
            f"data_config.label_dim[{place}]",
            f"is {widths[place]}; a RankModel compares one value a row with its label '{label}'",
        )
    num_class = message.num_class
    if num_class < 1:
        raise config.error("model_config.num_class", f"found {num_class}; expected at least 1")
    strategy = _enum_name(message, "loss_weight_strategy")
    if strategy != "Fixed":
        raise config.error(
            "model_config.loss_weight_strategy", f"{strategy} is not supported yet; expected Fixed"
        )
    if message.losses:
        losses = tuple(
            _term(config, loss, f"model_config.losses[{i}]", num_class, loss.loss_name, loss.weight)
            for i, loss in enumerate(message.losses)
        )
    else:
        losses = (_term(config, message, "model_config", num_class, "", 1.0),)
    seen: dict[str, int] = {}
    for i, loss in enumerate(losses):
        if loss.name in seen:
            raise config.error(
                f"model_config.losses[{i}]",
                f"two losses are called '{loss.name}'; give each a loss_name of its own",
            )
        seen[loss.name] = i
    kinds = {_output_kind(loss.loss_type) for loss in losses}
    if len(kinds) > 1:
        raise config.error(
            "model_config.losses[1]", "a regression loss and a classification loss cannot share one output"
        )
    return Task(label, losses[0].loss_type, num_class, losses)


def _term(config: Config, message: Any, path: str, num_class: int, name: str, weight: float) -> LossTerm:
    loss_type = _enum_name(message, "loss_type")
    if loss_type not in LOSS_NAMES:
        raise config.error(
            f"{path}.loss_type",
            f"{loss_type} is not supported by RankModel yet; supported are {', '.join(LOSS_NAMES)}",
        )
    if loss_type == "SOFTMAX_CROSS_ENTROPY" and num_class < 2:
        raise config.error(
            f"{path}.loss_type", f"SOFTMAX_CROSS_ENTROPY needs num_class of at least 2; found {num_class}"
        )
    if num_class > 1 and loss_type not in _MULTI_CLASS:
        raise config.error(f"{path}.loss_type", f"{loss_type} needs num_class 1; found {num_class}")
    return LossTerm(loss_type, weight, name or LOSS_NAMES[loss_type])


def _output_kind(loss_type: str) -> str:
    return loss_type if loss_type in ("L2_LOSS", "SIGMOID_L2_LOSS") else "classification"


def _enum_name(message: Any, field: str) -> str:
    descriptor = message.DESCRIPTOR.fields_by_name[field].enum_type
    return descriptor.values_by_number[getattr(message, field)].name
