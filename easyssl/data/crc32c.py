"""CRC-32C (Castagnoli) of many byte strings at once, as TFRecord files use it.

A CRC is linear over bits, so each byte contributes on its own: a table gives the contribution of a byte
value at a distance from the end of its block, and XOR adds them up. The first blocks of all strings are
looked up in one step, then their second blocks, and so on; in between, the checksums are carried over a
block of zeros.

References:
    RFC 3720, appendix B.4 (polynomial and test vectors).
    https://www.tensorflow.org/tutorials/load_data/tfrecord (masking and framing).
"""

from __future__ import annotations

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78
_BLOCK = 256
_PLACES = np.arange(_BLOCK, dtype=np.uint16)
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8


@functools.cache
def _byte_table() -> np.ndarray:
    """Checksum step of each byte value, `[256]` uint32."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


@functools.cache
def _contributions() -> np.ndarray:
    """What a byte value adds to the checksum by its place in a block, `[_BLOCK, 256]` uint32."""
    step = _byte_table()
    table = np.empty((_BLOCK, 256), np.uint32)
    table[_BLOCK - 1] = step
    for place in range(_BLOCK - 2, -1, -1):
        later = table[place + 1]
        table[place] = (later >> 8) ^ step[later & 0xFF]
    return table


def crc32c(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the CRC-32C of slices of a buffer.

    Args:
        data: The buffer, `[bytes]` uint8.
        starts: Where each slice starts, `[slices]`.
        lengths: How long each slice is, `[slices]`.

    Returns:
        Checksums `[slices]` uint32.

    Example:
        >>> buffer = np.frombuffer(b"123456789", np.uint8)
        >>> hex(crc32c(buffer, np.array([0]), np.array([9]))[0])
        '0xe3069283'
    """
    starts = np.asarray(starts, np.int64)
    lengths = np.asarray(lengths, np.int64)
    # Zeros in front let the window that ends a short first block reach back before the buffer.
    data = np.concatenate([np.zeros(_BLOCK, np.uint8), data])
    blocks = -(-lengths // _BLOCK)
    checksums = np.full(len(starts), _ONES, np.uint32)
    for turn in range(int(blocks.max(initial=0))):
        active = np.flatnonzero(blocks > turn)
        # Blocks are laid from the end of a slice, so that only its first one is short.
        ends = lengths[active] - (blocks[active] - 1 - turn) * _BLOCK
        if turn:
            width = _BLOCK
            carried = _advance_block(checksums[active])
        else:
            width = int(ends.max())
            carried = _advance_short(checksums[active], ends)
        windows = np.lib.stride_tricks.sliding_window_view(data, width)
        values = windows[starts[active] + ends + (_BLOCK - width)]
        if not turn:
            values = values * (_PLACES[:width] >= width - ends[:, None])
        table = _contributions()[_BLOCK - width :].ravel()
        # Any index is inside the table; "wrap" is the mode that looks up without a check.
        added = table.take(values + _PLACES[:width] * 256, mode="wrap")
        checksums[active] = carried ^ np.bitwise_xor.reduce(added, axis=1)
    return checksums ^ np.uint32(_ONES)


def _advance_block(checksums: np.ndarray) -> np.ndarray:
    """Carries checksums over `_BLOCK` zero bytes: byte k of a checksum acts like byte k of the block."""
    table = _contributions()
    return (
        table[0][checksums & 0xFF]
        ^ table[1][checksums >> 8 & 0xFF]
        ^ table[2][checksums >> 16 & 0xFF]
        ^ table[3][checksums >> 24]
    )


def _advance_short(checksums: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Carries checksums over `size` zero bytes, 1 to `_BLOCK` of them."""
    result = np.zeros_like(checksums)
    for byte in range(4):
        values = checksums >> (8 * byte) & 0xFF
        inside = size > byte
        result[inside] ^= _contributions()[_BLOCK - size[inside] + byte, values[inside]]
        # A byte of the checksum beyond the end of the data is only shifted down.
        result[~inside] ^= values[~inside] << (8 * (byte - size[~inside])).astype(np.uint32)
    return result


def masked_crc32c(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns checksums in the masked form that TFRecord files store; see `crc32c`."""
    checksums = crc32c(data, starts, lengths)
    return (checksums >> 15 | checksums << 17) + np.uint32(_MASK_DELTA)
