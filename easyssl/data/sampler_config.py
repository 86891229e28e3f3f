"""The sampler of negatives that a config asks for."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from easyssl.data.hard_negatives import HardNegatives
from easyssl.data.negatives import NegativeSampler
from easyssl.data.rows import Column
from easyssl.errors import DataError, nearest

if TYPE_CHECKING:
    from easyssl.config import Config

_CHOICES, _HARD = "pos_edge_input_path", "hard_neg_edge_input_path"


def sampler_field(config: Config) -> str | None:
    """Returns the path of the sampler that a config sets, such as `data_config.negative_sampler`."""
    kind = config.message.data_config.WhichOneof("sampler")
    return None if kind is None else f"data_config.{kind}"


def sampler_message(config: Config) -> Any:
    """Returns the message of the sampler that a config sets, or None."""
    kind = config.message.data_config.WhichOneof("sampler")
    return None if kind is None else getattr(config.message.data_config, kind)


def hard_negatives_per_row(config: Config) -> int:
    """Returns how many negatives of its own a row may have; 0 if the sampler draws none for single rows."""
    return getattr(sampler_message(config), "num_hard_sample", 0)


def sampler_from_config(
    config: Config, mode: str, columns: Sequence[Column], select: Collection[str] | None = None
) -> NegativeSampler | None:
    """Returns the sampler that `data_config` asks for.

    Args:
        config: The config.
        mode: `"train"`, `"evaluate"` or `"predict"`; rows to predict get no negatives.
        columns: All columns, see `from_config.columns_from_config`.
        select: Names of the columns to return. Default: all.

    Returns:
        The sampler, or None if nothing is to be drawn.

    Raises:
        ConfigError: If a field of the sampler is missing, or names no column or no file.
    """
    path, message = sampler_field(config), sampler_message(config)
    if path is None:
        return None
    known = {column.name: column for column in columns}
    names = message.DESCRIPTOR.fields_by_name
    _check(config, path, message, known)
    input_path = "input_path" if "input_path" in names else "item_input_path"
    files = {
        field: config.resolve_path(getattr(message, field), f"{path}.{field}")
        for field in (input_path, _CHOICES, _HARD)
        if field in names
    }
    count = {"train": message.num_sample, "evaluate": message.num_eval_sample}.get(mode, 0)
    if mode == "predict" or not (count or _HARD in files):
        return None
    for field, file in files.items():
        if not os.path.isfile(file):
            raise DataError(f"{config.where(f'{path}.{field}')}: there is no file {file}")
    item = known[message.item_id_field]
    user = known[message.user_id_field] if "user_id_field" in names else None
    hard = None
    if user is not None and _HARD in files:
        hard = HardNegatives(files[_HARD], user, item, message.num_hard_sample)
    return NegativeSampler(
        files[input_path],
        item,
        [known[name] for name in message.attr_fields],
        count,
        config.message.train_config.seed,
        delimiter=message.attr_delimiter,
        weighted=path != "data_config.negative_sampler_in_memory",
        columns=select,
        where=f"{config.where(path)}: {path}: ",
        user_column=user,
        choices=files.get(_CHOICES, ""),
        hard=hard,
    )


def _check(config: Config, path: str, message: Any, known: Mapping[str, Column]) -> None:
    """Checks that the fields that a sampler needs are set, and name columns."""
    needed = ("input_path", "item_input_path", _CHOICES, _HARD, "num_sample", "num_hard_sample")
    for field in (*needed, "item_id_field", "user_id_field", "attr_delimiter"):
        if field in message.DESCRIPTOR.fields_by_name and not getattr(message, field):
            raise config.error(path, f"{field} is not set")
    if not message.attr_fields:
        raise config.error(path, "attr_fields is not set, expected the columns of an item")
    fields = [("item_id_field", message.item_id_field)]
    fields += [(f"attr_fields[{i}]", name) for i, name in enumerate(message.attr_fields)]
    fields += [("user_id_field", message.user_id_field)] if hasattr(message, "user_id_field") else []
    for field, name in fields:
        if name not in known:
            raise config.error(f"{path}.{field}", f"there is no column '{name}'{nearest(name, known)}")
    if len(set(message.attr_fields)) < len(message.attr_fields):
        raise config.error(f"{path}.attr_fields", "a column comes twice")
