"""Finding a message of a config by its path."""

from __future__ import annotations

import re
from typing import Any

_PART = re.compile(r"(\w+)(?:\[(\d+)\])?$")


def message_at(config: Any, path: str) -> Any:
    """Returns the message or value at a path of a config.

    Args:
        config: A `Config`.
        path: Dotted path with zero-based indices, such as `train_config.optimizer_config[0].adam_optimizer`.

    Returns:
        The message or value; the default where the field is not set.

    Raises:
        ValueError: If the text is not a path.

    Example:
        >>> message_at(config, "data_config.input_fields[2].input_name")  # doctest: +SKIP
        'item_id'
    """
    value = config.message
    for part in path.split("."):
        match = _PART.match(part)
        if match is None:
            raise ValueError(f"'{path}' is not the path of a field")
        value = getattr(value, match[1])
        if match[2] is not None:
            value = value[int(match[2])]
    return value
