"""The files that MovieLens-1M is published in."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from easyssl.data.prepare.files import reading
from easyssl.errors import DataError

LIKED = 4


@dataclass(frozen=True)
class Ratings:
    """All ratings, sorted by user and, within a user, by time.

    Attributes:
        user: Ids of users, `[rows]`.
        movie: Ids of movies, `[rows]`.
        liked: 1 for a rating of 4 or 5, else 0, `[rows]`.
        left_out: How many rows were left out, as their place in time is not known.
    """

    user: np.ndarray
    movie: np.ndarray
    liked: np.ndarray
    left_out: int


def read_movies(folder: pathlib.Path) -> dict[str, tuple[str, str, str, str]]:
    """Returns movie id -> its id, title without the year, year and genres, separated by `|`.

    Raises:
        DataError: If `movies.dat` is missing or a line cannot be read.
    """
    movies = {}
    for movie, title, genres in read_dat(folder / "movies.dat", 3):
        found = re.fullmatch(r"(.*?)\s*\((\d{4})\)\s*", title)
        name, year = found.groups() if found else (title, "")
        movies[movie] = (movie, name, year, genres)
    return movies


def read_ratings(folder: pathlib.Path) -> Ratings:
    """Reads `ratings.dat` as published, or `interactions.csv[.gz]`; see `prepare_ml1m`.

    Raises:
        DataError: If neither is there, or a line cannot be read.
    """
    published = folder / "ratings.dat"
    if published.exists():
        rows = [(row[0], row[1], row[3], row[2]) for row in read_dat(published, 4)]
        numbers = _numbers(published, rows)
        numbers[:, 3] = numbers[:, 3] >= LIKED
        return _sorted_by_time(numbers)
    for name in ("interactions.csv.gz", "interactions.csv"):
        path = folder / name
        if path.exists():
            return _sorted_by_time(_numbers(path, _read_interactions(path), header=1))
    raise DataError(f"{folder}: has neither ratings.dat nor interactions.csv.gz")


def _sorted_by_time(numbers: np.ndarray) -> Ratings:
    """Takes rows (user, movie, time, liked); rows of the same second keep their order in the file."""
    known = numbers[numbers[:, 2] >= 0]
    known = known[np.lexsort((known[:, 2], known[:, 0]))]
    return Ratings(known[:, 0], known[:, 1], known[:, 3], len(numbers) - len(known))


def _read_interactions(path: pathlib.Path) -> list[tuple[str, ...]]:
    wanted = ("user_id", "movie_id", "seq_pos", "label")
    with reading(path, "utf-8") as text:
        header = text.readline().rstrip("\r\n").split(",")
        missing = [name for name in wanted if name not in header]
        if missing:
            raise DataError(f"{path}:1: has no column '{missing[0]}'; found {', '.join(header)}")
        places = [header.index(name) for name in wanted]
        rows = []
        for line, row in enumerate(text, start=2):
            cells = row.rstrip("\r\n").split(",")
            if len(cells) != len(header):
                raise DataError(f"{path}:{line}: has {len(cells)} cells; expected {len(header)}")
            rows.append(tuple(cells[place] for place in places))
    return rows


def _numbers(path: pathlib.Path, rows: Sequence[tuple[str, ...]], header: int = 0) -> np.ndarray:
    """Returns `[rows, cells]` as int64."""
    if not rows:
        raise DataError(f"{path}: has no rows")
    try:
        return np.array(rows).astype(np.int64)
    except ValueError:
        for line, row in enumerate(rows, start=1 + header):
            for cell in row:
                if not re.fullmatch(r"\s*-?\d+\s*", cell):
                    raise DataError(f"{path}:{line}: '{cell}' is not a whole number") from None
        raise


def read_dat(path: pathlib.Path, cells: int) -> Iterator[list[str]]:
    """Yields the lines of a `::` separated file in ISO-8859-1, the encoding it is published in.

    Raises:
        DataError: If it cannot be read, or a line has another number of cells.
    """
    with reading(path, "iso-8859-1") as text:
        for number, line in enumerate(text, start=1):
            row = line.rstrip("\r\n").split("::")
            if len(row) != cells:
                raise DataError(f"{path}:{number}: has {len(row)} cells; expected {cells}, separated by '::'")
            yield row
