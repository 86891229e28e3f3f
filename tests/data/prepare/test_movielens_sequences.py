"""Histories of MovieLens-1M against a plain loop, and against the file that papers share."""

import csv
import gzip

import pytest

from easyssl.cli.main import main
from easyssl.data.prepare import prepare_ml1m_sequences
from easyssl.errors import DataError

MOVIES = '1::Toy Story (1995)::Animation|Comedy\n7::Bug\'s Life, A: a "Bug" (1998)::Comedy\n9::None::\n'
# User 2 rated the movies 1 and 7 in the same second; movie 9 has one rating.
RATINGS = "2::7::5::20\n2::1::1::20\n2::9::3::5\n1::1::4::9\n1::7::2::3\n3::7::2::3\n"


def rows_of(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "movies.dat").write_text(MOVIES, encoding="iso-8859-1")
    (folder / "ratings.dat").write_text(RATINGS)
    return folder


def test_histories_are_in_the_order_of_time(source, tmp_path):
    prepared = prepare_ml1m_sequences(source, tmp_path / "out", held_out=1, min_ratings=2)
    assert rows_of(tmp_path / "out" / "sequences.tsv.gz") == [
        {"user_id": "1", "items": "7|1", "count": "2"},
        {"user_id": "2", "items": "7|1", "count": "2"},
        {"user_id": "3", "items": "7", "count": "1"},
    ]
    first, second = rows_of(tmp_path / "out" / "items.tsv.gz")
    assert first == {
        "item_id": "1",
        "popularity": "0",
        "title": "Toy Story",
        "title_words": "toy|story",
        "year": "1995",
        "genres": "Animation|Comedy",
    }
    assert second["title"] == 'Bug\'s Life, A: a "Bug"'
    assert (second["popularity"], second["title_words"]) == ("2", "bug's|life|a|bug")
    assert prepared.facts["items_unseen_in_training"] == 1


def test_what_cannot_be_made_is_told(source, tmp_path, capsys):
    with pytest.raises(DataError, match="no movie has 5 ratings"):
        prepare_ml1m_sequences(source, tmp_path / "out")
    (source / "movies.dat").write_text(MOVIES.splitlines()[0] + "\n")
    with pytest.raises(DataError, match="has no line for id 7"):
        prepare_ml1m_sequences(source, tmp_path / "out", min_ratings=2)
    command = ["data", "ml-1m", "--source", str(source), "--out", str(tmp_path / "out"), "--next-item"]
    assert main([*command, "--rows", "5"]) == 2
    assert "--rows is for rows for ranking" in capsys.readouterr().err


def test_the_real_histories_are_those_that_papers_share(real_data, tmp_path, capsys):
    folder = real_data("ml1m/movies.dat").parent
    command = ["data", "ml-1m", "--source", str(folder), "--out", str(tmp_path), "--next-item"]
    assert main(command) == 0
    assert "interactions: 999611" in capsys.readouterr().out
    names = {
        kind: dict(line.split() for line in (folder / f"sas_to_original_{kind}.txt").read_text().splitlines())
        for kind in ("users", "items")
    }
    shared = {}
    with gzip.open(folder / "ml-1m.txt.gz", "rt") as file:
        for line in file:
            user, *items = line.split()
            shared[names["users"][user]] = "|".join(names["items"][item] for item in items)
    rows = rows_of(tmp_path / "sequences.tsv.gz")
    assert {row["user_id"]: row["items"] for row in rows} == shared
    assert len(rows_of(tmp_path / "items.tsv.gz")) == 3416
