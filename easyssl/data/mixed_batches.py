"""The warning about batches that should mix domains and do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from easyssl.data.empty_targets import warn_on_stderr
from easyssl.errors import nearest

if TYPE_CHECKING:
    from easyssl.config import Config

_PLACE = "data_config.mixed_column"


class MixedBatches:
    """Warns of the first batch in which a column has one value only.

    Losses that take the rest of a batch for negatives learn from other domains only if batches hold several.

    Args:
        column: The column.
        warn: Called with the warning, once; by default it goes to stderr.
    """

    def __init__(self, column: str, warn: Callable[[str], None] | None = None) -> None:
        self.column = column
        self._warn = warn_on_stderr if warn is None else warn
        self._told = False

    def look(self, values: np.ndarray, path: str, line: int) -> None:
        """Looks at a batch.

        Args:
            values: The column, `[batch]`.
            path: File of the first row.
            line: Its line.
        """
        if self._told or len(values) < 2 or (values != values[0]).any():
            return
        self._told = True
        first = values[0].decode(errors="replace") if isinstance(values[0], bytes) else values[0]
        self._warn(
            f"{path}:{line}: all {len(values)} rows of a training batch that begins here have the "
            f"{self.column} '{first}' ({_PLACE}), so that it has no negatives from others; interleave rows, "
            "as `easyssl data sequences` does with several sources, or raise shuffle_buffer_size"
        )


def mixed_column(config: Config) -> str:
    """Returns the column that training batches should mix, empty for none.

    Raises:
        ConfigError: If there is no such column.
    """
    data = config.message.data_config
    name, fields = data.mixed_column, [field.input_name for field in data.input_fields]
    if name and name not in fields:
        raise config.error(_PLACE, f"'{name}' is not an input field{nearest(name, fields)}")
    return name
