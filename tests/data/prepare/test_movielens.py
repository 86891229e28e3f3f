"""MovieLens-1M rows against a plain loop over the ratings: order, split, histories without leakage."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.data.prepare import prepare_ml1m
from easyssl.data.prepare.movielens import COLUMNS
from easyssl.errors import DataError

GENRES = ["Action", "Children's", "Comedy", "Film-Noir"]


def write_source(folder, ratings, *, published):
    """Writes a small MovieLens of ratings (user, movie, stars, time)."""
    folder.mkdir(parents=True, exist_ok=True)
    users = sorted({r[0] for r in ratings})
    movies = sorted({r[1] for r in ratings})
    text = "".join(f"{u}::{'MF'[u % 2]}::{18 + u}::{u % 21}::0{u}234-5\n" for u in users)
    (folder / "users.dat").write_text(text, encoding="iso-8859-1")
    text = "".join(f"{m}::Caf\u00e9 {m}, The ({1950 + m})::{genres_of(m)}\n" for m in movies)
    (folder / "movies.dat").write_text(text, encoding="iso-8859-1")
    if published:
        text = "".join(f"{u}::{m}::{s}::{t}\n" for u, m, s, t in ratings)
        (folder / "ratings.dat").write_text(text)
        return
    lines = ["user_id,movie_id,label,rating,timestamp,seq_pos\n"]
    for user in users:
        own = sorted((r for r in ratings if r[0] == user), key=lambda r: r[3])
        lines += [f"{u},{m},{int(s >= 4)},,,{i}\n" for i, (u, m, s, _) in enumerate(own)]
    lines[1:] = sorted(lines[1:])  # the files are not in the order of time
    with gzip.open(folder / "interactions.csv.gz", "wt") as file:
        file.writelines(lines)


def genres_of(movie):
    return "|".join(g for i, g in enumerate(GENRES) if movie % 4 == i or movie % 3 == i)


def read(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(io.StringIO(file.read()), delimiter="\t"))


def expected_parts(ratings, history):
    """A plain loop: part -> set of (user, movie, label, history of movies)."""
    parts = {"train": set(), "valid": set(), "test": set()}
    for user in sorted({r[0] for r in ratings}):
        own = sorted((r for r in ratings if r[0] == user), key=lambda r: r[3])
        held = len(own) // 10
        for i, (_, movie, stars, _) in enumerate(own):
            liked = [str(m) for _, m, s, _ in own[:i] if s >= 4][-history:]
            part = "test" if i >= len(own) - held else "valid" if i >= len(own) - 2 * held else "train"
            parts[part].add((str(user), str(movie), str(int(stars >= 4)), "|".join(liked)))
    return parts


# Times are distinct per user, movies are rated once: as published.
RATINGS = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(1, 30)), st.integers(1, 5), min_size=1, max_size=90
).flatmap(
    lambda stars: st.permutations(range(len(stars))).map(
        lambda times: [(u, m, s, t) for ((u, m), s), t in zip(stars.items(), times, strict=True)]
    )
)


@settings(max_examples=25, deadline=None)
@given(RATINGS, st.integers(1, 12), st.booleans())
def test_rows_are_those_of_a_plain_loop(tmp_path_factory, ratings, history, published):
    folder = tmp_path_factory.mktemp("ml")
    write_source(folder / "source", ratings, published=published)
    made = prepare_ml1m(folder / "source", folder / "out", history=history)
    for part, expected in expected_parts(ratings, history).items():
        rows = read(folder / "out" / f"{part}.tsv.gz")
        found = [(r["user_id"], r["movie_id"], r["label"], r["hist_movie_id"]) for r in rows]
        assert made.rows[f"{part}.tsv.gz"] == len(found) == len(expected)
        assert set(found) == expected
        for row in rows:
            movies = [int(m) for m in row["hist_movie_id"].split("|") if m]
            assert row["movie_id"] not in row["hist_movie_id"].split("|")
            assert row["hist_genres"] == "|".join(genres_of(m).replace("|", ";") for m in movies)


@pytest.fixture
def source(tmp_path):
    ratings = [(u, m, 1 + (u * m) % 5, (m * 7) % 41) for u in (1, 2, 3) for m in range(1, 41)]
    write_source(tmp_path / "source", ratings, published=True)
    return tmp_path / "source"


def test_features_come_from_the_published_files(source, tmp_path):
    prepare_ml1m(source, tmp_path / "out")
    row = next(
        r for r in read(tmp_path / "out" / "train.tsv.gz") if r["user_id"] == "2" and r["movie_id"] == "3"
    )
    assert list(row) == list(COLUMNS)
    assert (row["gender"], row["age"], row["occupation"], row["zip_code"]) == ("M", "20", "2", "02234-5")
    assert (row["title"], row["year"], row["genres"]) == ("Caf\u00e9 3, The", "1953", "Action|Film-Noir")


def test_sampling_keeps_whole_histories_and_the_seed_decides(source, tmp_path):
    prepare_ml1m(source, tmp_path / "all")
    made = prepare_ml1m(source, tmp_path / "some", train_rows=20, test_rows=5, seed=1)
    prepare_ml1m(source, tmp_path / "same", train_rows=20, test_rows=5, seed=1)
    prepare_ml1m(source, tmp_path / "other", train_rows=20, test_rows=5, seed=2)
    assert dict(made.rows) == {"train.tsv.gz": 20, "valid.tsv.gz": 5, "test.tsv.gz": 5}
    assert json.loads((tmp_path / "some" / "about.json").read_text())["rows"] == dict(made.rows)
    for name in made.rows:
        every, some = read(tmp_path / "all" / name), read(tmp_path / "some" / name)
        assert all(row in every for row in some)
        assert (tmp_path / "same" / name).read_bytes() == (tmp_path / "some" / name).read_bytes()
        assert read(tmp_path / "other" / name) != some


def test_rows_without_a_place_in_time_are_left_out(tmp_path):
    write_source(tmp_path, [(1, m, 5, m) for m in range(1, 6)], published=False)
    text = (
        gzip.decompress((tmp_path / "interactions.csv.gz").read_bytes()).decode().replace(",1,,,2", ",1,,,-1")
    )
    (tmp_path / "interactions.csv.gz").write_bytes(gzip.compress(text.encode()))
    made = prepare_ml1m(tmp_path, tmp_path / "out")
    assert made.rows["train.tsv.gz"] == 4
    assert made.facts["rows_left_out"] == 1


def test_a_title_with_quotes_or_without_a_year_is_kept(tmp_path):
    write_source(tmp_path, [(1, 7, 5, 1)], published=True)
    (tmp_path / "movies.dat").write_text('7::The "Seven"\tth::Comedy\n', encoding="iso-8859-1")
    prepare_ml1m(tmp_path, tmp_path / "out")
    (row,) = read(tmp_path / "out" / "train.tsv.gz")
    assert (row["title"], row["year"]) == ('The "Seven"\tth', "")


def break_file(source, name, old, new):
    path = source / name
    path.write_text(path.read_text("iso-8859-1").replace(old, new, 1), "iso-8859-1")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("users.dat", "1::F", "1:F", r"users.dat:1: has 4 cells; expected 5, separated by '::'"),
        ("users.dat", "3::F", "4::F", r"users.dat: has no line for id 3, which was rated"),
        ("movies.dat", "40::", "41::", r"movies.dat: has no line for id 40"),
        ("ratings.dat", "1::2::3", "1::x::3", r"ratings.dat:2: 'x' is not a whole number"),
    ],
)
def test_broken_files_are_refused_at_their_line(source, tmp_path, name, old, new, message):
    break_file(source, name, old, new)
    with pytest.raises(DataError, match=message):
        prepare_ml1m(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_files_are_named(source, tmp_path):
    (source / "ratings.dat").unlink()
    with pytest.raises(DataError, match="has neither ratings.dat nor interactions.csv.gz"):
        prepare_ml1m(source, tmp_path / "out")
    with pytest.raises(DataError, match="users.dat: cannot be read: No such file"):
        prepare_ml1m(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,movie_id,label\n", "1: has no column 'seq_pos'"),
        ("user_id,movie_id,label,seq_pos\n1,2,1\n", "2: has 3 cells; expected 4"),
        ("user_id,movie_id,label,seq_pos\n1,2,yes,0\n", "2: 'yes' is not a whole number"),
        ("user_id,movie_id,label,seq_pos\n", "has no rows"),
    ],
)
def test_broken_interactions_are_refused(source, tmp_path, text, message):
    (source / "ratings.dat").unlink()
    (source / "interactions.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        prepare_ml1m(source, tmp_path / "out")


@pytest.mark.parametrize("options", [{"history": 0}, {"train_rows": 0}, {"test_rows": -1}])
def test_options_out_of_range_are_refused(source, tmp_path, options):
    (name,) = options
    with pytest.raises(DataError, match=f"ml1m: {name} is"):
        prepare_ml1m(source, tmp_path / "out", **options)


@pytest.mark.slow
def test_the_real_set_has_its_known_counts(real_data, tmp_path):
    made = prepare_ml1m(real_data("ml1m"), tmp_path, train_rows=5000, test_rows=5000)
    assert made.facts["users"] == 6040
    assert made.facts["rows_left_out"] == 598
    with gzip.open(real_data("ml1m/ml-1m.txt.gz"), "rt") as file:
        counts = [len(line.split()) - 1 for line in file]
    assert sum(counts) == 1_000_209 - 598
    rows = read(tmp_path / "test.tsv.gz")
    assert len(rows) == 5000
    assert max(len(row["hist_movie_id"].split("|")) for row in rows) == 50
    assert all(row["movie_id"] not in row["hist_movie_id"].split("|") for row in rows)


def test_every_column_is_described(root):
    text = (root / "docs" / "data.md").read_text(encoding="utf-8")
    assert [name for name in COLUMNS if f"`{name}`" not in text] == []
