"""The distillation terms of a model, read from `model_config.kd`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from easyssl.config import Config
from easyssl.config.signatures import signature_of_function
from easyssl.data.loss_columns import LossColumn
from easyssl.errors import nearest
from easyssl.losses import DISTILLATION_LOSSES, SUPERVISED_LOSSES, parameter_error
from easyssl.models.loss_terms import enum_name, python_float, read_parameters
from easyssl.models.tasks import Task
from easyssl.models.terms import LossTerm
from easyssl.models.tower_tasks import task_spaces

_OWN = ("pred_is_logits", "label_is_logits", "temperature")


def distillation_terms(config: Config, tasks: Sequence[Task]) -> tuple[LossTerm, ...]:
    """Reads the terms that pull predictions towards those of a teacher, which label columns hold.

    Args:
        config: The config.
        tasks: What the model predicts.

    Raises:
        ConfigError: For a label that is not there, a loss that cannot be distilled with, parameters that do
            not fit it, and two losses of one name.
    """
    labels = list(config.message.data_config.label_fields)
    taken = {term.name for task in tasks for term in task.losses}
    terms = []
    for index, message in enumerate(config.message.model_config.kd):
        path = f"model_config.kd[{index}]"
        for field in ("pred_name", "soft_label_name"):
            if not getattr(message, field):
                raise config.error(path, f"needs {field}")
        label = message.soft_label_name
        if label not in labels:
            raise config.error(
                f"{path}.soft_label_name", f"'{label}' is not among label_fields{nearest(label, labels)}"
            )
        loss_type = enum_name(message, "loss_type")
        if loss_type not in DISTILLATION_LOSSES:
            listed = ", ".join(DISTILLATION_LOSSES)
            raise config.error(f"{path}.loss_type", f"{loss_type} does not distill; expected one of {listed}")
        name = message.loss_name or f"kd_loss_{message.pred_name}_{label}".replace("/", "_")
        if name in taken:
            raise config.error(path, f"two losses are called '{name}'; give each a loss_name of its own")
        taken.add(name)
        parameters, session = _parameters(config, message, path, loss_type)
        terms.append(
            LossTerm(
                loss_type,
                python_float(message, "loss_weight"),
                name,
                label,
                message.pred_name,
                next((task.num_class for task in tasks if message.pred_name == "logits" + task.suffix), 1),
                parameters=parameters,
                session=session,
                distills=True,
                use_sample_weight=False,
                spaces=task_spaces(config, message, path),
            )
        )
    return tuple(terms)


def check_distillation(config: Config, terms: Sequence[LossTerm], predicted: Mapping[str, tf.Tensor]) -> None:
    """Checks that what distillation terms read is predicted, and is as wide as the teacher's label.

    Args:
        config: The config.
        terms: The losses of the model.
        predicted: Predictions by name.

    Raises:
        ConfigError: If not.
    """
    data = config.message.data_config
    widths = dict(zip(data.label_fields, data.label_dim, strict=False))
    for index, term in enumerate(term for term in terms if term.distills):
        path = f"model_config.kd[{index}].pred_name"
        if term.prediction not in predicted:
            raise config.error(
                path, f"nothing is predicted as '{term.prediction}'{nearest(term.prediction, predicted)}"
            )
        shape = predicted[term.prediction].shape
        width = 1 if shape.rank == 1 else shape[-1]
        if term.loss_type not in SUPERVISED_LOSSES and max(widths.get(term.label, 1), 1) != width:
            raise config.error(
                path,
                f"'{term.prediction}' has {width} values a row, but the label '{term.label}' "
                f"{max(widths.get(term.label, 1), 1)}; see data_config.label_dim",
            )


def _parameters(
    config: Config, message: Any, path: str, loss_type: str
) -> tuple[dict[str, Any], LossColumn | None]:
    kind = DISTILLATION_LOSSES[loss_type]
    found, session = read_parameters(config, message, path, loss_type, kind)
    accepted = signature_of_function(kind.function, loss_type).parameters
    for field in _OWN:
        value = python_float(message, field)
        if field in accepted and not kind.parameters:
            text = parameter_error(field, value)
            if text:
                raise config.error(f"{path}.{field}", text)
            found[field] = value
        elif field == "temperature" and value != 1.0:
            text = f"has no effect on {loss_type}"
            if "temperature" in accepted:
                text += f"; set it in {kind.parameters}"
            raise config.error(f"{path}.temperature", text)
    return found, session
