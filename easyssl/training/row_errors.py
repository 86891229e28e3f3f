"""Errors that a model finds in the rows of a batch while it computes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from easyssl.errors import DataError
from easyssl.training.labels import place_of_all


@contextlib.contextmanager
def naming_rows(raw: Any) -> Iterator[None]:
    """Turns what a layer asserts about its input into an error that names the rows.

    Args:
        raw: The `RawBatch` that the model works on inside the `with` block.

    Raises:
        DataError: If an assertion of a layer fails, such as on a sequence that is too long for it.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        said = re.search(r"assertion failed: \[([^\]]+)\]", error.message)
        if said is None:
            raise
        text = said.group(1).replace("\\'", "'")
        raise DataError(f"{place_of_all(raw)}: {text}") from None
