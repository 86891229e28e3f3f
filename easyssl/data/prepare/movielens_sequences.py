"""MovieLens-1M to histories for next-item models, and the movies they name to a file of items."""

from __future__ import annotations

import os
import pathlib
import re

import numpy as np

from easyssl.data.prepare.files import Prepared, make_folder
from easyssl.data.prepare.movielens_files import Ratings, read_movies, read_ratings
from easyssl.data.prepare.sequences import (
    LIST_SEPARATOR,
    ItemTable,
    count_items,
    write_sequences,
)
from easyssl.errors import DataError

MOVIE_COLUMNS = ("title", "title_words", "year", "genres")

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def prepare_ml1m_sequences(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    held_out: int = 2,
    min_ratings: int = 5,
) -> Prepared:
    """Writes `sequences.tsv.gz`, `items.tsv.gz` and `about.json`.

    A row of sequences is one user, with all movies that they rated, whatever the rating, in the order of
    time; ratings of the same second keep their order in the file. Movies that few have rated are left out.
    That makes the 6,040 users, 3,416 movies and 999,611 ratings of the `ml-1m.txt` that papers on next-item
    models share, user by user in the same order, under the ids of `movies.dat`.

    Args:
        source: Folder with the published files; see `prepare_ml1m`.
        out: Folder; created if absent. Files of the same names are replaced.
        held_out: How many of each user's last movies the popularity does not count. Defaults to 2, one to
            validate and one to test with.
        min_ratings: How many ratings a movie needs. Defaults to 5.

    Returns:
        What was written; rows are those of `prepare_sequences`, with `title`, `title_words` in lower case
        and `genres`, both separated by `|`, and `year` for each item.

    Raises:
        DataError: If a file is missing, a line cannot be read, an option is out of range or the folder cannot
            be written.
    """
    for name, value, least in (("held_out", held_out, 0), ("min_ratings", min_ratings, 1)):
        if value < least:
            raise DataError(f"ml1m: {name} is {value}; expected at least {least}")
    folder = pathlib.Path(source)
    movies: dict[int, tuple[str, ...]] = {
        int(movie): (title, LIST_SEPARATOR.join(title_words(title)), year, genres)
        for movie, title, year, genres in read_movies(folder).values()
    }
    ratings = read_ratings(folder)
    sequences = _sequences(ratings, min_ratings)
    if not sequences:
        raise DataError(f"{folder}: no movie has {min_ratings} ratings")
    popularity = count_items(sequences, held_out)
    unknown = sorted(popularity.keys() - movies.keys())
    if unknown:
        raise DataError(f"movies.dat: has no line for id {unknown[0]}, which was rated")
    table = ItemTable("movies.dat", MOVIE_COLUMNS, movies)
    facts = {"held_out": held_out, "min_ratings": min_ratings}
    return write_sequences(make_folder(out), sequences, popularity, [table], facts)


def title_words(title: str) -> list[str]:
    """Returns the different words of a title in lower case, in their order.

    Example:
        >>> title_words("Schindler's List, The Best - of the best")
        ["schindler's", 'list', 'the', 'best', 'of']
    """
    return list(dict.fromkeys(_WORD.findall(title.lower())))


def _sequences(ratings: Ratings, min_ratings: int) -> list[tuple[str, list[str]]]:
    """Returns users with their movies, in the order of time."""
    keep = np.bincount(ratings.movie)[ratings.movie] >= min_ratings
    sequences: dict[int, list[str]] = {}
    for user, movie in zip(ratings.user[keep].tolist(), ratings.movie[keep].tolist(), strict=True):
        sequences.setdefault(user, []).append(str(movie))
    return [(str(user), own) for user, own in sequences.items()]
