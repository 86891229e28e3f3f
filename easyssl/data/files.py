"""Names of data files, and their bytes with compression undone."""

from __future__ import annotations

import glob
import os
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from easyssl.errors import DataError, nearest

_READ_SIZE = 1 << 14
_WINDOW_BITS = {"GZIP": 31, "ZLIB": 15}


def expand_files(
    patterns: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    where: str = "data",
    resolve: Callable[[str], str] | None = None,
) -> list[str]:
    """Returns the files that patterns stand for.

    Args:
        patterns: A comma-separated list of file names and glob patterns (`*`, `?`, `[...]`, `**`), or a
            sequence of such lists. Files ending in `_SUCCESS` are markers of other systems and passed over.
        where: Place for messages, such as `x.config:3:1: train_input_path`.
        resolve: Makes one file name or pattern absolute; by default names are used as they are.

    Returns:
        File names: in the order of the patterns, sorted within a pattern, each once.

    Raises:
        DataError: If a pattern matches nothing, or a name is a folder or a tar archive.

    Example:
        >>> expand_files("day1.csv,day2/*.csv")  # doctest: +SKIP
        ['day1.csv', 'day2/a.csv', 'day2/b.csv']
    """
    listed = [patterns] if isinstance(patterns, (str, os.PathLike)) else list(patterns)
    files: dict[str, None] = {}
    for pattern in (part.strip() for text in listed for part in os.fspath(text).split(",")):
        if not pattern:
            continue
        resolved = resolve(pattern) if resolve else pattern
        matches = [resolved] if os.path.exists(resolved) else sorted(glob.glob(resolved, recursive=True))
        named = [name for name in matches if not name.endswith("_SUCCESS")]
        if len(matches) > 1:
            named = [name for name in named if not os.path.isdir(name)]
        if not named:
            raise DataError(f"{where}: no file matches '{pattern}'{_near_file(resolved)}")
        for name in named:
            if os.path.isdir(name):
                raise DataError(f"{where}: '{pattern}' is a folder; name its files, such as '{pattern}/*'")
            if name.endswith((".tar.gz", ".tgz", ".tar")):
                raise DataError(f"{where}: '{name}' is a tar archive; unpack it first")
            files[name] = None
    if not files:
        raise DataError(f"{where}: no file is named")
    return list(files)


def _near_file(path: str) -> str:
    folder, name = os.path.split(path)
    while folder and not os.path.isdir(folder):
        above, missing = os.path.split(folder)
        if os.path.isdir(above or "."):
            folders = [entry.name for entry in os.scandir(above or ".") if entry.is_dir()]
            return f": there is no folder '{folder}'{nearest(missing, folders)}"
        if above == folder:
            break
        folder = above
    entries = [entry.name for entry in os.scandir(folder or ".") if entry.is_file()]
    return f" in '{folder or '.'}'{nearest(name, entries)}"


def compression_of(path: str, declared: str = "") -> str:
    """Returns `""`, `"GZIP"` or `"ZLIB"`: what is declared, or GZIP for names ending in `.gz`."""
    return declared or ("GZIP" if path.endswith(".gz") else "")


class ByteStream:
    """Reads a file forward with its compression undone, and keeps what can be read of a damaged one.

    After `read` has returned less than it was asked for, `damage` says whether the file ended where it
    should: it is None, or a reason and a detail.

    Args:
        path: File name.
        compression: `""`, `"GZIP"` (several members are read on) or `"ZLIB"`.

    Raises:
        DataError: If the file cannot be opened.
    """

    def __init__(self, path: str, compression: str = "") -> None:
        self.path = path
        self._compression = compression
        try:
            self._file = open(path, "rb")
        except OSError as error:
            raise DataError(f"{path}: cannot be opened: {error.strerror}") from None
        self._restart()

    def __enter__(self) -> ByteStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _restart(self) -> None:
        self._file.seek(0)
        self.damage: tuple[str, str] | None = None
        self._offset = 0
        self._ready: list[bytes] = []
        self._ready_size = 0
        self._decoder: Any = None  # zlib does not name the type of its decompressors

    def seek(self, offset: int) -> None:
        """Goes to a byte of the decompressed file; cheap where the file is not compressed."""
        if not self._compression:
            self._file.seek(offset)
            self._offset = offset
            return
        if offset < self._offset:
            self._restart()
        while self._offset < offset:
            if not self.read(min(offset - self._offset, 1 << 20)):
                return

    def read(self, size: int) -> bytes:
        """Returns the next `size` bytes, or fewer at the end of the file or before damage in it."""
        if self._compression:
            while self._ready_size < size and self._decompress():
                pass
            data = b"".join(self._ready)
            data, rest = data[:size], data[size:]
            self._ready, self._ready_size = [rest], len(rest)
        else:
            data = self._file.read(size)
        self._offset += len(data)
        return data

    def _decompress(self) -> bool:
        """Decompresses another piece; False at the end or at damage."""
        if self.damage:
            return False
        piece = self._file.read(_READ_SIZE)
        if not piece:
            if self._decoder is not None and not self._decoder.eof:
                self.damage = ("truncated", f"the {self._compression} data end before their end mark")
            return False
        while piece:
            if self._decoder is None or self._decoder.eof:
                if self._decoder is not None:
                    piece = piece.lstrip(b"\0")  # members may be followed by padding
                    if not piece:
                        break
                self._decoder = zlib.decompressobj(_WINDOW_BITS[self._compression])
            try:
                data = self._decoder.decompress(piece)
            except zlib.error:
                first = self._offset + self._ready_size == 0
                found = f"not {self._compression} data" if first else f"damaged {self._compression} data"
                self.damage = ("bad_compression", found)
                return False
            if data:
                self._ready.append(data)
                self._ready_size += len(data)
            piece = self._decoder.unused_data
        return True
