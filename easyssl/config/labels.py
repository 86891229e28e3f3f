"""Which label a task has."""

from __future__ import annotations

from typing import Any

from easyssl.errors import nearest


def read_label(config: Any, name: str, path: str, default: int = 0) -> str:
    """Returns the label column of a task.

    Args:
        config: The config.
        name: Its name; empty for the one at `default`.
        path: Field path of the name.
        default: Position in `label_fields`. Defaults to 0.

    Raises:
        ConfigError: If there is no such label, or it has several values a row.
    """
    message = config.message.data_config
    labels = list(message.label_fields)
    kind = config.message.model_config.model_class
    if not labels:
        raise config.error("data_config", f"label_fields is empty; a {kind} needs a label to train on")
    if not name and default >= len(labels):
        raise config.error(path, f"is not set, and there are only {len(labels)} label_fields")
    label = name or labels[default]
    if label not in labels:
        raise config.error(path, f"'{label}' is not among label_fields{nearest(label, labels)}")
    place, widths = labels.index(label), message.label_dim
    if place < len(widths) and widths[place] > 1:
        raise config.error(
            f"data_config.label_dim[{place}]",
            f"is {widths[place]}; a {kind} compares one value a row with its label '{label}'",
        )
    return label
