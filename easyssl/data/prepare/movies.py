"""Made-up ratings of movies in the columns that `prepare_ml1m` writes, whose probabilities are known.

People rate movies one after the other, and whether a movie is liked (4 or 5 stars) is drawn from a
probability. Its logit is a sum of terms: how good the movie is and how strict the user is known to be by age
and occupation; how the genres suit gender and age; what words the title has; and how many of the movies that
the user liked before share the genres. So a history says something because earlier draws made it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from easyssl.data.prepare.draws import intercept, public_ids, sigmoid, zipf
from easyssl.data.prepare.files import Prepared, make_folder, write_about, write_lines
from easyssl.data.prepare.generated import check_options, known_facts, text_lines
from easyssl.data.prepare.movielens import COLUMNS as REAL_COLUMNS
from easyssl.data.prepare.movielens import GENRE_SEPARATOR, SEPARATOR, STEP_SEPARATOR

COLUMNS = (*REAL_COLUMNS, "rating")
HISTORY = 20
GENRES = (
    "Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|"
    "Film-Noir|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
).split("|")
AGES = (1, 18, 25, 35, 45, 50, 56)  # the codes of MovieLens
OCCUPATIONS = 21

_RATINGS_PER_USER = 60
_FEWEST_USERS = 20
_MOVIES = 600
_WORDS = (
    "Amber Angel Autumn Bay Beast Bell Black Blood Blue Boy Bridge Bright Broken Castle City Clown "
    "Cold Crown Dance Dark Dawn Day Dead Desert Dog Door Dream Dust Eagle Echo Edge Empire Eye Fall "
    "Father Fire First Forest Forever Garden Ghost Girl Glass Gold Good Grand Green Harbor Heart Heat "
    "Hero Hill Home Honey Horse Hour House Hunter Ice Iron Island Jade King Kiss Lady Lake Last Light "
    "Lion Little Lost Love Lucky Mad Magic Man Midnight Mirror Moon Mother Night North Ocean Old "
    "Paper Party Planet Prince Queen Rain Red River Road Rose Sea Secret Shadow Silent Silver Sky "
    "Snow Song Star Stone Storm Summer Sun Thief Time Town Train Velvet War Water White Wild Wind "
    "Winter Wolf Woman Wonder World Young"
).split()
_LIKED = 0.55  # of the ratings that do not look at the history


def generate_movielens(
    out: str | os.PathLike[str], *, rows: int = 50_000, test_rows: int | None = None, seed: int = 2020
) -> Prepared:
    """Writes `train.tsv.gz`, `valid.tsv.gz`, `test.tsv.gz`, in the order of time, and `about.json`.

    The files have the header line and the columns of those of `prepare_ml1m`, and one more, `rating`.

    Args:
        out: Folder; created if absent. Files of the same names are replaced.
        rows: Rows to train on, at least 1.
        test_rows: Rows to validate with, and as many to test with, at least 1; a fifth of `rows` if None.
        seed: The same arguments give the same files.

    Returns:
        What was written; `facts["best_reachable_auc"]` is the AUC of the true probabilities on the test rows,
        which no model can beat but by luck.

    Raises:
        DataError: If an option is out of range or the folder cannot be written.
    """
    test_rows = check_options("movielens", rows, test_rows, seed)
    folder = make_folder(out)
    table = simulate(rows + 2 * test_rows, seed)
    ends = np.cumsum([0, rows, test_rows, test_rows]).tolist()
    written = {}
    for part, start, stop in zip(("train", "valid", "test"), ends[:-1], ends[1:], strict=True):
        name = f"{part}.tsv.gz"
        written[name] = write_lines(folder / name, table.lines(start, stop)) - 1
    label = (table.columns["label"] == "1").astype(int)
    facts = known_facts(label, table.probability, slice(ends[2], ends[3]), seed, COLUMNS)
    facts["liked"] = facts.pop("click_rate")
    prepared = Prepared(folder, written, facts)
    write_about(prepared)
    return prepared


@dataclass(frozen=True)
class Ratings:
    """Rows in the order of time."""

    columns: dict[str, np.ndarray]  # column -> [rows] text
    probability: np.ndarray  # [rows] that the movie is liked

    def lines(self, start: int, stop: int) -> Iterator[str]:
        """Yields the header and then the rows `start` to `stop` as lines of the file."""
        yield SEPARATOR.join(COLUMNS) + "\n"
        cells = {name: lambda rows, name=name: self.columns[name][rows].tolist() for name in COLUMNS}
        yield from text_lines(cells, SEPARATOR, start, stop)


@dataclass(frozen=True)
class Movies:
    """What is known of each movie."""

    text: dict[str, np.ndarray]  # column -> [movies] text
    genres: np.ndarray  # [movies, genres] 0 or 1
    popularity: np.ndarray  # [movies], sums to 1
    appeal: np.ndarray  # [movies] part of the logit


def simulate(rows: int, seed: int = 2020) -> Ratings:
    """Draws ratings.

    Args:
        rows: At least 1.
        seed: The same seed and number of rows give the same ratings.

    Returns:
        The rows, with the probability of each label.
    """
    rng = np.random.default_rng(seed)
    movies = make_movies(rng)
    users = max(_FEWEST_USERS, rows // _RATINGS_PER_USER)
    fields, leaning = _make_users(rng, users)
    activity = rng.gamma(1.0, 1.0, users) + 0.1
    user = rng.choice(users, rows, p=activity / activity.sum())
    movie = rng.choice(_MOVIES, rows, p=movies.popularity)
    chance, stars = rng.random(rows), rng.random(rows)

    shown = movies.genres / movies.genres.sum(axis=1, keepdims=True)
    fixed = movies.appeal[movie] + (leaning[user] * shown[movie]).sum(axis=1)
    fixed += intercept(fixed, _LIKED)
    seen: list[list[int]] = [[] for _ in range(users)]
    probability, liked = np.zeros(rows), np.zeros(rows, int)
    history = {"hist_movie_id": [""] * rows, "hist_genres": [""] * rows}
    for row in range(rows):
        own, new = seen[user[row]][-HISTORY:], movie[row]
        logit = fixed[row]
        if own:
            # How much of what was liked goes with the movie, against what is usual.
            share = (shown[own] @ (movies.genres[new] > 0)).mean()
            logit += 2.0 * (share - 0.2)
            history["hist_movie_id"][row] = STEP_SEPARATOR.join(movies.text["movie_id"][own].tolist())
            history["hist_genres"][row] = STEP_SEPARATOR.join(movies.text["hist_genres"][own].tolist())
        probability[row] = sigmoid(logit)
        if chance[row] < probability[row]:
            liked[row] = 1
            seen[user[row]].append(new)
    good, bad = np.where(stars < 0.6, 4, 5), 3 - (stars > 0.6) - (stars > 0.85)
    columns = {
        "label": liked.astype(str),
        **{name: values[user] for name, values in fields.items()},
        **{name: movies.text[name][movie] for name in ("movie_id", "title", "year", "genres")},
        **{name: np.array(cells, dtype=object) for name, cells in history.items()},
        "rating": np.where(liked == 1, good, bad).astype(str),
    }
    return Ratings(columns, probability)


def make_movies(rng: np.random.Generator) -> Movies:
    """Draws the movies, their titles, their genres and how good they are."""
    number = rng.choice([1, 2, 3], _MOVIES, p=[0.5, 0.35, 0.15])
    usual = rng.permuted(zipf(len(GENRES), 0.7))
    genres = np.zeros((_MOVIES, len(GENRES)))
    for own, count in zip(genres, number, strict=True):
        own[rng.choice(len(GENRES), count, replace=False, p=usual)] = 1
    names = [[GENRES[g] for g in np.flatnonzero(row)] for row in genres]

    words = np.array(_WORDS)
    word_appeal = rng.normal(0, 0.5, len(words))
    length = rng.integers(1, 4, _MOVIES)
    chosen = rng.integers(0, len(words), (_MOVIES, 3))
    inside = np.arange(3) < length[:, None]
    titles = [" ".join(words[row[:n]].tolist()) for row, n in zip(chosen, length, strict=True)]
    year = 2000 - np.minimum(rng.exponential(12, _MOVIES).astype(int), 80)
    appeal = rng.normal(0, 0.6, _MOVIES) + (word_appeal[chosen] * inside).sum(axis=1) / np.sqrt(length)
    appeal += 0.01 * (1990 - year)
    text = {
        "movie_id": public_ids(rng, _MOVIES, 3952).astype(str),
        "title": np.array(titles),
        "year": year.astype(str),
        "genres": np.array([STEP_SEPARATOR.join(own) for own in names]),
        "hist_genres": np.array([GENRE_SEPARATOR.join(own) for own in names]),
    }
    return Movies(text, genres, rng.permuted(zipf(_MOVIES, 0.7)), appeal - appeal.mean())


def _make_users(rng: np.random.Generator, count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns column -> `[users]` text, and `[users, genres]` how each genre suits each user."""
    gender = rng.choice(2, count, p=[0.72, 0.28])
    age = rng.choice(len(AGES), count, p=[0.04, 0.18, 0.35, 0.2, 0.09, 0.08, 0.06])
    occupation = rng.integers(0, OCCUPATIONS, count)
    fields = {
        "user_id": public_ids(rng, count, max(6040, 2 * count)).astype(str),
        "gender": np.array(["M", "F"])[gender],
        "age": np.array(AGES).astype(str)[age],
        "occupation": occupation.astype(str),
        "zip_code": np.array([f"{code:05d}" for code in rng.integers(1000, 99_951, count)]),
    }
    by_gender = rng.normal(0, 0.5, (2, len(GENRES)))[gender]
    by_age = rng.normal(0, 0.35, (len(AGES), len(GENRES)))[age]
    strict = rng.normal(0, 0.2, OCCUPATIONS)[occupation] + 0.08 * (age - 2)
    return fields, by_gender + by_age + strict[:, None]
