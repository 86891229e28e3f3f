"""Rows as a TFRecord file of `tf.train.Example` records."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from easyssl.data.crc32c import masked_crc32c
from easyssl.data.prepare.files import write_bytes

Row = Mapping[str, int | float | str]

_AT_ONCE = 1000  # records whose checksums are computed together


def write_records(path: pathlib.Path, rows: Iterable[Row]) -> int:
    """Writes rows, each as one `tf.train.Example`; TensorFlow is imported for its message.

    Args:
        path: The file, which appears only once it is complete.
        rows: Values by column: int, float or text. What a row lacks its record lacks, too.

    Returns:
        The number of rows.

    Raises:
        DataError: If the file cannot be written.
    """
    count = 0

    def pieces() -> Iterator[bytes]:
        nonlocal count
        records = map(_serialized, rows)
        while some := list(itertools.islice(records, _AT_ONCE)):
            count += len(some)
            yield framed(some)

    write_bytes(path, pieces())
    return count


def framed(records: Sequence[bytes]) -> bytes:
    """Returns records as they stand in a TFRecord file: each its length, a checksum, the data, a checksum."""
    lengths = [len(record).to_bytes(8, "little") for record in records]
    parts: list[bytes] = []
    for pair in zip(lengths, _checksums(lengths), records, _checksums(records), strict=True):
        parts += pair
    return b"".join(parts)


def _checksums(slices: Sequence[bytes]) -> list[bytes]:
    sizes = np.array([len(one) for one in slices])
    data = np.frombuffer(b"".join(slices), np.uint8)
    return [value.tobytes() for value in masked_crc32c(data, np.cumsum(sizes) - sizes, sizes).astype("<u4")]


def _serialized(row: Row) -> bytes:
    from tensorflow.train import Example

    example = Example()
    for name, value in row.items():
        feature = example.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    data: bytes = example.SerializeToString(deterministic=True)
    return data
