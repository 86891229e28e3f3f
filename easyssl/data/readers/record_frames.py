"""Framing of TFRecord files: where the records are, and which of them are damaged.

A record is its length (8 bytes, little endian), the masked CRC-32C of the length (4), the data, and the
masked CRC-32C of the data (4).

References:
    https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

from __future__ import annotations

import dataclasses
import struct

import numpy as np

from easyssl.data.crc32c import masked_crc32c

HEADER = 12
FOOTER = 4
_LENGTH = struct.Struct("<Q")


@dataclasses.dataclass
class Frames:
    """Records found in a buffer, in order.

    Attributes:
        starts: Where the data of each record start, `[records]` int64.
        lengths: Size of the data, `[records]` int64.
        intact: Whether the checksum of the data is right, `[records]` bool.
        end: Where the last of them ends, checksum included.
        needed: Bytes from `end` that the next record takes up, as far as they are known; 0 if the length
            there is damaged, so that nothing is known.
    """

    starts: np.ndarray
    lengths: np.ndarray
    intact: np.ndarray
    end: int
    needed: int

    def record(self, buffer: bytes, index: int) -> bytes:
        """Returns the data of a record."""
        start = int(self.starts[index])
        return buffer[start : start + int(self.lengths[index])]


def find_frames(buffer: bytes) -> Frames:
    """Finds the whole records at the beginning of a buffer, up to the first damaged length."""
    found = []
    begin = 0
    needed = HEADER
    while begin + HEADER <= len(buffer):
        (length,) = _LENGTH.unpack_from(buffer, begin)
        needed = HEADER + length + FOOTER
        if begin + needed > len(buffer):
            break
        found.append((begin + HEADER, length))
        begin += needed
        needed = HEADER
    data = np.frombuffer(buffer, np.uint8)
    table = np.array(found, np.int64).reshape(-1, 2)
    # A length is believed only once its own checksum has been seen to be right.
    right = _headers_right(data, table[:, 0] - HEADER)
    if not right.all():
        table = table[: int(np.argmin(right))]
        begin = int(table[-1].sum()) + FOOTER if len(table) else 0
        needed = 0
    elif needed > HEADER and not _headers_right(data, np.array([begin]))[0]:
        needed = 0
    starts, lengths = table[:, 0], table[:, 1]
    intact = masked_crc32c(data, starts, lengths) == _stored(data, starts + lengths)
    return Frames(starts, lengths, intact, begin, needed)


def find_header(buffer: bytes, begin: int) -> int:
    """Returns where the first sound record header from `begin` on starts, or -1."""
    data = np.frombuffer(buffer, np.uint8)
    count = len(data) - begin - HEADER + 1
    if count <= 0:
        return -1
    # Records are shorter than 4 GiB, so the upper half of a length is zero; this leaves few places to check.
    zero = (data[begin:] == 0).view(np.uint8)
    upper = zero[4 : 4 + count] & zero[5 : 5 + count] & zero[6 : 6 + count] & zero[7 : 7 + count]
    places = np.flatnonzero(upper) + begin
    right = np.flatnonzero(_headers_right(data, places))
    return int(places[right[0]]) if len(right) else -1


def _headers_right(data: np.ndarray, begins: np.ndarray) -> np.ndarray:
    return masked_crc32c(data, begins, np.full(len(begins), _LENGTH.size)) == _stored(
        data, begins + _LENGTH.size
    )


def _stored(data: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the little-endian 32-bit numbers at `places`."""
    if not len(places):
        return np.zeros(0, np.uint32)
    values = np.lib.stride_tricks.sliding_window_view(data, 4)[places]
    return np.ascontiguousarray(values).view("<u4")[:, 0]
