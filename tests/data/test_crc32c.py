"""Checks CRC-32C against published vectors and a bit-by-bit reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyssl.data.crc32c import crc32c, masked_crc32c


def reference(data: bytes) -> int:
    """CRC-32C one bit at a time, from its definition."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_vectors_of_rfc_3720(data, checksum):
    assert crc32c(np.frombuffer(data, np.uint8), [0], [len(data)]).tolist() == [checksum]


@given(
    data=st.binary(min_size=1, max_size=1200),
    cuts=st.lists(st.tuples(st.integers(0, 1199), st.integers(0, 1200)), min_size=1, max_size=8),
)
def test_slices_of_any_length_and_place(data, cuts):
    starts = np.array([min(start, len(data) - 1) for start, _ in cuts])
    lengths = np.array(
        [min(length, len(data) - start) for start, (_, length) in zip(starts, cuts, strict=True)]
    )
    wanted = [reference(data[start : start + size]) for start, size in zip(starts, lengths, strict=True)]
    assert crc32c(np.frombuffer(data, np.uint8), starts, lengths).tolist() == wanted


@pytest.mark.parametrize("size", [1, 3, 4, 5, 255, 256, 257, 259, 260, 511, 512, 513, 1025])
def test_lengths_around_blocks(size):
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    assert crc32c(data, [0], [size]).tolist() == [reference(data.tobytes())]


def test_no_slices():
    assert crc32c(np.zeros(4, np.uint8), [], []).tolist() == []


def test_masked_form():
    plain = reference(b"abc")
    rotated = (plain >> 15 | plain << 17) & 0xFFFFFFFF
    masked = masked_crc32c(np.frombuffer(b"abc", np.uint8), [0], [3])
    assert masked.tolist() == [(rotated + 0xA282EAD8) & 0xFFFFFFFF]
