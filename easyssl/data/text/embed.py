"""From a file of items to a file of vectors, in parts, so that it can go on where it was interrupted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence

import numpy as np

from easyssl.data.item_vectors import ENDINGS, write_vectors
from easyssl.data.quarantine import BadRows, shown
from easyssl.data.rows import Column
from easyssl.data.text import NO_TEXT, TextEncoder
from easyssl.data.text.word_drop import drop_words
from easyssl.errors import DataError

_ABOUT = "about.json"


@dataclasses.dataclass(frozen=True)
class Embedded:
    """What was written.

    Attributes:
        items: How many vectors.
        width: Their length.
        without_text: Items whose text is empty.
        resumed: Items of which an earlier run had made the vectors.
    """

    items: int
    width: int
    without_text: int
    resumed: int


def read_texts(path: str, item_id: str, columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Reads items with their texts.

    Args:
        path: A file with a header line, separated by commas if its name ends in `.csv` and by tabs otherwise,
            also with `.gz`; or `.parquet`.
        item_id: The column with the ids.
        columns: Columns of text; those that are not empty are joined by spaces.

    Returns:
        Ids, and texts.

    Raises:
        DataError: If the file cannot be read, a column is missing, or an id is empty or comes twice.
    """
    wanted = [Column(name) for name in dict.fromkeys([item_id, *columns])]
    if path.endswith(".parquet"):
        from easyssl.data.readers.parquet import ParquetReader

        chunks = ParquetReader(wanted).read(path, BadRows())
    else:
        from easyssl.data.readers.csv import CsvReader

        separator = b"," if ".csv" in pathlib.PurePath(path).suffixes else b"\t"
        chunks = CsvReader(wanted, separator=separator, with_header=True).read(path, BadRows())
    ids: list[str] = []
    texts: list[str] = []
    places: dict[str, int] = {}
    for chunk in chunks:
        for row, line in enumerate(chunk.lines.tolist()):
            cell = chunk.columns[item_id][row]
            name = _text(cell)
            if not name:
                raise DataError(f"{path}:{line}: the id of the item is empty")
            if places.setdefault(name, line) != line:
                raise DataError(
                    f"{path}:{line}: the item {shown(cell)} comes a second time, after line {places[name]}"
                )
            ids.append(name)
            texts.append(" ".join(" ".join(_text(chunk.columns[c][row]) for c in columns).split()))
    if not ids:
        raise DataError(f"{path}: has no items")
    return ids, texts


def embed_items(
    ids: Sequence[str],
    texts: Sequence[str],
    out: str,
    encoder: TextEncoder,
    *,
    word_drop: float = 0.0,
    seed: int = 0,
    part_size: int = 4096,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Embedded:
    """Encodes texts and writes the vectors.

    Vectors are kept in `OUT.parts` as they are made. If a run ends early, the next one with the same texts,
    encoder and options goes on behind the last whole part; with others it starts over.

    Args:
        ids: Ids of the items.
        texts: Their texts; an empty one is encoded as `NO_TEXT`.
        out: The file to write, see `easyssl.data.item_vectors.read_vectors`.
        encoder: What encodes.
        word_drop: Probability that a word is left out. Defaults to 0.0.
        seed: Seed of what is left out. Defaults to 0.
        part_size: Items in a part. Defaults to 4096.
        progress: Called with the number of items done and of all items. Defaults to nothing.

    Raises:
        DataError: If a file cannot be written.
    """
    target = pathlib.Path(out)
    if target.suffix not in ENDINGS:
        raise DataError(f"{out}: files of vectors end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    whole = list(texts)
    if word_drop:
        whole = [drop_words(name, text, word_drop, seed) for name, text in zip(ids, texts, strict=True)]
    whole = [text or NO_TEXT for text in whole]
    folder = target.with_name(f"{target.name}.parts")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _begin(folder, _identity(ids, whole, encoder, part_size))
        starts = range(0, len(whole), part_size)
        parts, resumed = [], 0
        for start in starts:
            part = whole[start : start + part_size]
            path = folder / f"{start:09d}.npy"
            if path.exists():
                resumed += len(part)
            else:
                _write_part(path, encoder.encode(part), len(part))
            parts.append(path)
            progress(start + len(part), len(whole))
        vectors = np.concatenate([np.load(path, allow_pickle=False) for path in parts])
        write_vectors(out, ids, vectors)
        shutil.rmtree(folder)
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written: {error.strerror or error}") from None
    return Embedded(len(ids), vectors.shape[1], sum(not text for text in texts), resumed)


def _begin(folder: pathlib.Path, identity: str) -> None:
    """Makes the folder of parts, empty unless it holds those of the same work."""
    about = folder / _ABOUT
    try:
        same = json.loads(about.read_text(encoding="utf-8")) == identity
    except (OSError, ValueError):
        same = False
    if same:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    about.write_text(json.dumps(identity), encoding="utf-8")


def _identity(ids: Sequence[str], texts: Sequence[str], encoder: TextEncoder, part_size: int) -> str:
    digest = hashlib.sha256(f"{encoder.identity}\n{part_size}\n".encode())
    for name, text in zip(ids, texts, strict=True):
        digest.update(json.dumps([name, text]).encode())
    return digest.hexdigest()


def _write_part(path: pathlib.Path, vectors: np.ndarray, count: int) -> None:
    if vectors.ndim != 2 or len(vectors) != count:
        raise DataError(f"{path}: the encoder gave {list(vectors.shape)} for {count} texts")
    new = path.with_suffix(".tmp")
    with open(new, "wb") as file:
        np.save(file, np.asarray(vectors, np.float32))
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def _text(cell: bytes) -> str:
    return cell.decode("utf-8", "replace")
