"""Names that stand for several: `price[1-3]` is price1, price2, price3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from easyssl.config import Config

_RANGE = re.compile(r"(.*)\[(\d+)-(\d+)\](.*)")
_MOST = 100_000


def expand_name(name: str) -> list[str]:
    """Returns the names that a name stands for; usually itself.

    Args:
        name: Such as `"age"` or `"price[1-3]"`, whose bounds are both included.

    Raises:
        ValueError: If the range is empty or absurdly long.

    Example:
        >>> expand_name("price[1-3]")
        ['price1', 'price2', 'price3']
    """
    match = _RANGE.fullmatch(name)
    if match is None:
        return [name]
    first, last = int(match[2]), int(match[3])
    if not 0 <= last - first < _MOST:
        raise ValueError(f"'{name}' must count upwards, over at most {_MOST} names")
    return [f"{match[1]}{number}{match[4]}" for number in range(first, last + 1)]


def column_names(config: Config, name: str, path: str) -> list[str]:
    """Returns the columns that a name stands for: several only with `auto_expand_input_fields`.

    Raises:
        ConfigError: At `path`, if a range is empty or absurdly long.
    """
    if not config.message.data_config.auto_expand_input_fields:
        return [name]
    try:
        return expand_name(name)
    except ValueError as error:
        raise config.error(path, str(error)) from None
