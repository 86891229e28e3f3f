"""Files of prepared data: reading with errors in one line, writing whole files or none."""

from __future__ import annotations

import gzip
import io
import json
import os
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from easyssl.errors import DataError

ABOUT = "about.json"


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Attributes:
        folder: Where.
        rows: File name to number of rows, in the order of writing.
        facts: What is known about the data; written to `about.json` together with `rows`.
    """

    folder: pathlib.Path
    rows: Mapping[str, int]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Returns what to tell the user, one line per file and fact."""
        files = [f"{self.folder / name}: {count:,} rows" for name, count in self.rows.items()]
        facts = [f"{key}: {value}" for key, value in self.facts.items() if not isinstance(value, list | dict)]
        return files + facts


def write_lines(path: pathlib.Path, lines: Iterable[str]) -> int:
    """Writes lines (each with its newline) to a file, which appears only once it is complete.

    Args:
        path: The file; gzip is used if it ends in `.gz`, without a time stamp, so that equal rows give equal
            files.
        lines: What to write, as UTF-8.

    Returns:
        The number of lines.

    Raises:
        DataError: If the file cannot be written.
    """
    count = 0
    try:
        with _replacing(path) as raw:
            plain = gzip.GzipFile("", "wb", 1, raw, mtime=0) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(plain, encoding="utf-8", newline="") as text:
                for line in lines:
                    text.write(line)
                    count += 1
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    return count


def write_bytes(path: pathlib.Path, pieces: Iterable[bytes]) -> None:
    """Writes a file piece by piece, which appears only once it is complete.

    Raises:
        DataError: If the file cannot be written.
    """
    try:
        with _replacing(path) as raw:
            raw.writelines(pieces)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_about(prepared: Prepared) -> None:
    """Writes `about.json` beside the data.

    Raises:
        DataError: If the file cannot be written.
    """
    text = json.dumps({"rows": dict(prepared.rows), **prepared.facts}, indent=2) + "\n"
    write_lines(prepared.folder / ABOUT, [text])


def make_folder(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Creates a folder if it is not there.

    Raises:
        DataError: If it cannot be created.
    """
    path = pathlib.Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot create the folder: {error.strerror or error}") from error
    return path


@contextmanager
def reading(path: pathlib.Path, encoding: str = "utf-8") -> Iterator[IO[str]]:
    """Opens a text file, gzip if its name ends in `.gz`; lines end at line feeds only.

    Args:
        path: The file.
        encoding: Of its text.

    Raises:
        DataError: If it cannot be opened or read.
    """
    opener: Callable[..., IO[str]] = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding=encoding, newline="\n") as text:
            yield text
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as {encoding}: {error.reason}") from error


def quoted(cell: str) -> str:
    """Returns the text of a cell of a file separated by tabs: in quotes, if it has to be."""
    if any(character in cell for character in '"\t\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@contextmanager
def _replacing(path: pathlib.Path) -> Iterator[IO[bytes]]:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as raw:
            yield raw
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
