"""Files of vectors by id: what a text encoder makes of items, and a feature reads."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from easyssl.errors import DataError, UsageError

ENDINGS = (".npz", ".npy", ".parquet")
"""What names of such files end in."""

_IDS, _VECTORS = "ids", "vectors"
_ID_COLUMN, _VECTOR_COLUMN = "id", "vector"


@dataclasses.dataclass(frozen=True)
class ItemVectors:
    """A vector per id.

    Attributes:
        ids: Ids as text, each once.
        vectors: float32 `[ids, dim]`.
    """

    ids: list[str]
    vectors: np.ndarray


def read_vectors(path: str) -> ItemVectors:
    """Reads a file of vectors.

    The name's ending tells the form:

    - `.npz`: the arrays `ids` `[n]`, whole numbers or text, and `vectors` `[n, dim]`;
    - `.npy`: the vectors `[n, dim]`; ids stand in `NAME.ids.txt` beside `NAME.npy`, one a line. Without that
      file the number of a row, counted from 0, is its id;
    - `.parquet`: the columns `id` and `vector`, lists of numbers of one length.

    Args:
        path: The file.

    Raises:
        DataError: If it cannot be read, holds something else, or an id comes twice.
        UsageError: If a package that reads it is not installed.

    Example:
        >>> read_vectors("items.npz").vectors.shape  # doctest: +SKIP
        (12101, 256)
    """
    read = {".npz": _read_npz, ".npy": _read_npy, ".parquet": _read_parquet}[_ending(path)]
    ids, vectors = read(path)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or 0 in vectors.shape:
        raise DataError(
            f"{path}: expected vectors [ids, dim] of numbers, found {vectors.dtype} {list(vectors.shape)}"
        )
    if len(ids) != len(vectors):
        raise DataError(f"{path}: has {len(ids)} ids for {len(vectors)} vectors")
    places: dict[str, int] = {}
    for place, name in enumerate(ids):
        if places.setdefault(name, place) != place:
            raise DataError(f"{path}: the id '{name}' comes twice, as number {places[name]} and {place}")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        raise DataError(f"{path}: the vector of id '{ids[bad[0]]}' has numbers that are not finite")
    return ItemVectors(ids, vectors)


def width_of(path: str) -> int:
    """Returns the length of the vectors of a file, without reading them.

    Raises:
        DataError: If it cannot be read.
        UsageError: If a package that reads it is not installed.
    """
    ending = _ending(path)
    if ending == ".parquet":
        return _read_parquet(path)[1].shape[-1]
    try:
        if ending == ".npy":
            with open(path, "rb") as file:
                shape = _shape(file)
        else:
            with zipfile.ZipFile(path) as archive, archive.open(f"{_VECTORS}.npy") as file:
                shape = _shape(file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from None
    if len(shape) != 2:
        raise DataError(f"{path}: expected vectors [ids, dim], found {list(shape)}")
    return shape[1]


def read_ids(path: str) -> list[str]:
    """Returns the ids of a file; of `.npz` and `.npy` without reading the vectors.

    Raises:
        DataError: If it cannot be read.
        UsageError: If a package that reads it is not installed.
    """
    ending = _ending(path)
    if ending == ".npz":
        return _ids_of_npz(path)
    if ending == ".parquet":
        return _read_parquet(path)[0]
    try:
        with open(path, "rb") as file:
            rows = _shape(file)[0]
    except (OSError, ValueError, IndexError) as error:
        raise _unreadable(path, error) from None
    return _ids_of_npy(path, rows)


def write_vectors(path: str, ids: Sequence[str], vectors: np.ndarray) -> None:
    """Writes a file of vectors, which appears once it is complete.

    Args:
        path: The file; its ending tells the form, see `read_vectors`.
        ids: Ids as text.
        vectors: `[ids, dim]`.

    Raises:
        DataError: If the ending is unknown or the file cannot be written.
        UsageError: If a package that writes it is not installed.
    """
    ending = _ending(path)
    vectors = np.ascontiguousarray(vectors, np.float32)
    partial = f"{path}.tmp-{os.getpid()}"
    try:
        if ending == ".parquet":
            _write_parquet(partial, ids, vectors)
        else:
            with open(partial, "wb") as file:
                if ending == ".npy":
                    np.save(file, vectors)
                else:
                    np.savez(file, ids=np.array(ids, np.str_), vectors=vectors)
        if ending == ".npy":
            # First, so that vectors never stand beside ids of others for long.
            pathlib.Path(_ids_file(path)).write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        pathlib.Path(partial).unlink(missing_ok=True)


def _ending(path: str) -> str:
    ending = pathlib.PurePath(path).suffix
    if ending not in ENDINGS:
        raise DataError(f"{path}: files of vectors end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    return ending


def _unreadable(path: str, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def _shape(file: IO[bytes]) -> tuple[int, ...]:
    """Returns the shape of an array from the beginning of its file."""
    version = np.lib.format.read_magic(file)
    read: Any = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    return read(file)[0]


def _read_npz(path: str) -> tuple[list[str], np.ndarray]:
    return _ids_of_npz(path), _array(path, _VECTORS)


def _ids_of_npz(path: str) -> list[str]:
    ids = _array(path, _IDS)
    if ids.ndim != 1 or ids.dtype.kind not in "USiu":
        raise DataError(f"{path}: expected ids [n] of whole numbers or text, found {ids.dtype} {ids.shape}")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in ids.tolist()]


def _array(path: str, name: str) -> np.ndarray:
    """Returns an array of an archive."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if name not in arrays:
                raise DataError(f"{path}: has no array '{name}'; expected '{_IDS}' and '{_VECTORS}'")
            return arrays[name]
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from None


def _read_npy(path: str) -> tuple[list[str], np.ndarray]:
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from None
    return _ids_of_npy(path, len(vectors) if vectors.ndim else 0), vectors


def _ids_of_npy(path: str, rows: int) -> list[str]:
    file = _ids_file(path)
    if not os.path.exists(file):
        return [str(row) for row in range(rows)]
    try:
        with open(file, encoding="utf-8", newline="\n") as lines:
            return [line.rstrip("\n") for line in lines]
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from None


def _ids_file(path: str) -> str:
    return f"{path.removesuffix('.npy')}.ids.txt"


def _read_parquet(path: str) -> tuple[list[str], np.ndarray]:
    parquet, pyarrow = _pyarrow(path)
    try:
        table = parquet.read_table(path, columns=[_ID_COLUMN, _VECTOR_COLUMN])
        ids = [
            name.decode() if isinstance(name, bytes) else str(name) for name in table[_ID_COLUMN].to_pylist()
        ]
        column = table[_VECTOR_COLUMN].combine_chunks()
        lengths = pyarrow.compute.list_value_length(column).to_numpy(zero_copy_only=False)
        numbers = column.flatten().to_numpy(zero_copy_only=False)
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise _unreadable(path, error) from None
    if not len(lengths) or (lengths != lengths[0]).any():
        raise DataError(f"{path}: expected vectors of one length in the column '{_VECTOR_COLUMN}'")
    return ids, numbers.reshape(len(lengths), -1)


def _write_parquet(path: str, ids: Sequence[str], vectors: np.ndarray) -> None:
    parquet, pyarrow = _pyarrow(path)
    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), vectors.shape[1])
    parquet.write_table(pyarrow.table({_ID_COLUMN: list(ids), _VECTOR_COLUMN: column}), path)


def _pyarrow(path: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(f"{path}: Parquet needs pyarrow; run: pip install 'easyssl[parquet]'") from error
    return pyarrow.parquet, pyarrow
