"""Tables that a file of vectors fills: what of it can be checked before there is a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from easyssl.data.features.types import Buckets, Pretrained
from easyssl.data.item_vectors import read_ids, width_of
from easyssl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from easyssl.data.features.read import FeatureReader

_FIELD = "pretrained_vectors"
_KINDS = ("hash", "vocabulary", "integer")


def read_pretrained(reader: FeatureReader, buckets: Buckets | None) -> tuple[Pretrained | None, int]:
    """Reads `pretrained_vectors` of a feature.

    A file that is not there yet is an error only where nothing else tells the width of the table; making the
    table will tell.

    Args:
        reader: Reads the feature.
        buckets: How its values become row numbers.

    Returns:
        What fills the table, or None, and the table's width.

    Raises:
        ConfigError: If the fields do not fit each other or the file.
    """
    message, dim = reader.message, reader.message.embedding_dim
    if not message.HasField(_FIELD):
        return None, dim
    if buckets is None or buckets.kind not in _KINDS:
        raise reader.error(
            _FIELD, "needs ids: set one of hash_bucket_size, vocab_list, vocab_file and num_buckets"
        )
    if message.HasField("initializer"):
        raise reader.error("initializer", f"{_FIELD} fills the table; leave one of them out")
    given = message.pretrained_vectors
    place = f"{_FIELD}.path"
    if not given.path:
        raise reader.error(place, "is not set, expected a file of vectors")
    path = reader.config.resolve_path(given.path, f"{reader.path}.{place}")
    found = Pretrained(path, given.trainable)
    if dim and not os.path.exists(path):
        return found, dim
    try:
        width, ids = width_of(path), read_ids(path)
    except DataError as error:
        raise reader.error(place, str(error)) from None
    if dim and dim != width:
        raise reader.error(
            "embedding_dim", f"is {dim}, but the vectors of '{given.path}' have {width} numbers"
        )
    if buckets.kind != "hash":
        _check_ids(reader, buckets, ids)
    return found, width


def rows_by_id(buckets: Buckets, ids: Sequence[str]) -> list[int]:
    """Returns the row of each id in a table, -1 for ids that have none.

    Args:
        buckets: How ids become row numbers, not by a hash.
        ids: Ids of a file.
    """
    if buckets.kind == "vocabulary":
        rows = {name: row for row, name in enumerate(buckets.entries)}
        return [rows.get(name, -1) for name in ids]
    return [int(n) if n.isascii() and n.isdigit() and int(n) < buckets.size else -1 for n in ids]


def _check_ids(reader: FeatureReader, buckets: Buckets, ids: Sequence[str]) -> None:
    """Warns of ids without a vector, and of vectors without an id."""
    rows = rows_by_id(buckets, ids)
    used = {row for row in rows if row >= 0}
    if not used:
        raise _none(reader, ids[0] if ids else "")
    # Id 0 of numbers is usually padding.
    lacking = buckets.size - len(used)
    if buckets.kind == "integer" and 0 not in used:
        lacking -= 1
    if lacking:
        _warn(reader, f"{lacking:,} of {buckets.size:,} ids have no vector and get zeros")
    beyond = sum(row < 0 for row in rows)
    if beyond and buckets.kind == "integer":
        _warn(reader, f"{beyond:,} of {len(ids):,} vectors have no id below {buckets.size}")


def _warn(reader: FeatureReader, text: str) -> None:
    """Adds a warning, once for all features that read the file alike."""
    text = f": '{reader.message.pretrained_vectors.path}': {text}"
    if not any(warning.endswith(text) for warning in reader.config.warnings):
        reader.note(f"{reader.path}.{_FIELD}", text)


def _none(reader: FeatureReader, first: str) -> ConfigError:
    return reader.error(
        f"{_FIELD}.path", f"no id of the file is one of the feature; the first one is '{first}'"
    )
