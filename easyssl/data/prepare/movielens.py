"""MovieLens-1M to rows for a ranking model: will this user like this movie, given what they liked before?"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import numpy as np

from easyssl.data.prepare.files import Prepared, make_folder, quoted, write_about, write_lines
from easyssl.data.prepare.movielens_files import Ratings, read_dat, read_movies, read_ratings
from easyssl.errors import DataError

COLUMNS = (
    "label",
    "user_id",
    "gender",
    "age",
    "occupation",
    "zip_code",
    "movie_id",
    "title",
    "year",
    "genres",
    "hist_movie_id",
    "hist_genres",
)
SEPARATOR = "\t"
STEP_SEPARATOR = "|"
GENRE_SEPARATOR = ";"


def prepare_ml1m(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    history: int = 50,
    train_rows: int | None = None,
    test_rows: int | None = None,
    seed: int = 2020,
) -> Prepared:
    """Writes `train.tsv.gz`, `valid.tsv.gz`, `test.tsv.gz` and `about.json`.

    A row is one rating. Its label is 1 for a rating of 4 or 5. The rows of each user are taken in the order
    of time: of n rows the last `n // 10` go to the test file, the `n // 10` before them to the validation
    file, the rest to the training file. A row sees the movies the same user liked in earlier rows, whichever
    file those are in, and nothing of its own or later rows. Training rows are written in a shuffled order.

    Args:
        source: Folder with `users.dat` and `movies.dat` as published and either `ratings.dat` as published
            or `interactions.csv[.gz]` (user_id, movie_id, label, seq_pos; rows of seq_pos -1, whose place in
            time is not known, are left out).
        out: Folder; created if absent. Files of the same names are replaced.
        history: How many liked movies a row holds at most: the most recent ones, oldest first.
        train_rows: Keep that many training rows, drawn at random; None keeps all. Histories stay whole.
        test_rows: The same for the validation and for the test file.
        seed: Of the shuffle and the draws.

    Returns:
        What was written.

    Raises:
        DataError: If a file is missing, a line cannot be read, an option is out of range or the folder cannot
            be written.
    """
    for name, value in (("history", history), ("train_rows", train_rows), ("test_rows", test_rows)):
        if value is not None and value < 1:
            raise DataError(f"ml1m: {name} is {value}; expected at least 1")
    folder = pathlib.Path(source)
    users = {row[0]: SEPARATOR.join(row) for row in read_dat(folder / "users.dat", 5)}
    movies = {
        movie: (SEPARATOR.join(map(quoted, cells)), quoted(cells[-1].replace("|", GENRE_SEPARATOR)))
        for movie, cells in read_movies(folder).items()
    }
    ratings = read_ratings(folder)
    table = _Table(ratings, users, movies, history)
    parts = _split(ratings.user)
    made = make_folder(out)
    rng = np.random.default_rng(seed)
    written = {}
    for part, limit in (("train", train_rows), ("valid", test_rows), ("test", test_rows)):
        chosen = rng.permutation(np.flatnonzero(parts == part))[:limit]
        if part != "train":
            chosen = np.sort(chosen)
        name = f"{part}.tsv.gz"
        written[name] = write_lines(made / name, table.lines(chosen)) - 1
    facts = {
        "users": len(np.unique(ratings.user)),
        "movies": len(np.unique(ratings.movie)),
        "liked": round(float(ratings.liked.mean()), 6),
        "rows_left_out": ratings.left_out,
        "history": history,
        "seed": seed,
        "columns": list(COLUMNS),
    }
    prepared = Prepared(made, written, facts)
    write_about(prepared)
    return prepared


class _Table:
    """Rows as lines of text; the histories of a user are slices of one list of what the user liked."""

    def __init__(
        self, ratings: Ratings, users: dict[str, str], movies: dict[str, tuple[str, str]], history: int
    ) -> None:
        self.user = ratings.user.tolist()
        self.movie = ratings.movie.tolist()
        self.label = ratings.liked.tolist()
        self.user_text = {int(key): text for key, text in users.items()}
        self.movie_text = {int(key): text for key, (text, _) in movies.items()}
        for name, known, used in (
            ("users.dat", self.user_text, ratings.user),
            ("movies.dat", self.movie_text, ratings.movie),
        ):
            unknown = sorted(set(used.tolist()) - known.keys())
            if unknown:
                raise DataError(f"{name}: has no line for id {unknown[0]}, which was rated")

        liked = np.flatnonzero(ratings.liked)
        self.liked_movie = [str(movie) for movie in ratings.movie[liked].tolist()]
        self.liked_genres = [movies[movie][1] for movie in self.liked_movie]
        first_row = np.searchsorted(ratings.user, ratings.user)
        before = np.cumsum(ratings.liked) - ratings.liked
        self.stop = before.tolist()
        self.start = np.maximum(before[first_row], before - history).tolist()

    def lines(self, rows: np.ndarray) -> Iterator[str]:
        """Yields the header and then the given rows."""
        yield SEPARATOR.join(COLUMNS) + "\n"
        for row in rows.tolist():
            seen = slice(self.start[row], self.stop[row])
            cells = (
                str(self.label[row]),
                self.user_text[self.user[row]],
                self.movie_text[self.movie[row]],
                STEP_SEPARATOR.join(self.liked_movie[seen]),
                STEP_SEPARATOR.join(self.liked_genres[seen]),
            )
            yield SEPARATOR.join(cells) + "\n"


def _split(user: np.ndarray) -> np.ndarray:
    """Returns "train", "valid" or "test" for each row, rows being sorted by user and time."""
    _, first, count = np.unique(user, return_index=True, return_counts=True)
    to_end = np.repeat(first + count, count) - np.arange(len(user))  # 1 for a user's last row
    held = np.repeat(count // 10, count)
    return np.where(to_end <= held, "test", np.where(to_end <= 2 * held, "valid", "train"))
