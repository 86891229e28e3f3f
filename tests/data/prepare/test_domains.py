"""Several domains in one file against a plain loop over the sources."""

import csv
import json

import pytest

from easyssl.cli.main import main
from easyssl.data.prepare import prepare_domains
from easyssl.errors import DataError

BOOKS = {3: [5, 2], 1: [2, 9, 2], 8: [5, 5, 2], 2: [9], 4: [2, 5]}
TOYS = {1: [1, 2], 2: [2, 1, 3]}


@pytest.fixture
def sources(tmp_path):
    paths = []
    for name, users in (("Books", BOOKS), ("toys.5-core", TOYS)):
        lines = [f"{user} {' '.join(map(str, items))}\n" for user, items in users.items()]
        paths.append(tmp_path / f"{name}.txt")
        paths[-1].write_text("".join(lines))
    (tmp_path / "books.tsv").write_text('id\ttitle\tbrand\n2\tA "long" way\tACME\n5\tInk\t\n')
    (tmp_path / "toys.tsv").write_text("1\tB00\tcar\n3\tB01\tdoll\n")
    return paths


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_ids_are_unique_and_rows_are_interleaved(sources, tmp_path):
    made = prepare_domains(sources, tmp_path / "out", compress=False)
    rows = read(tmp_path / "out" / "sequences.tsv")
    # Places 1/10, 3/10, 5/10, 7/10, 9/10 and 1/4, 3/4.
    assert [row["domain"] for row in rows] == ["Books", "toys", "Books", "Books", "Books", "toys", "Books"]
    found = {int(row["user_id"]): [int(item) for item in row["items"].split("|")] for row in rows}
    moved = {user + 8: [item + 9 for item in items] for user, items in TOYS.items()}
    assert found == {**BOOKS, **moved}
    items = read(tmp_path / "out" / "items.tsv")
    assert [(int(row["item_id"]), row["domain"]) for row in items] == [
        *((item, "Books") for item in (2, 5, 9)),
        *((item, "toys") for item in (10, 11, 12)),
    ]
    assert [int(row["popularity"]) for row in items] == [1, 1, 0, 0, 1, 0]
    assert made.facts["largest_item_id"] == 12 and made.facts["items_of_toys"] == "10 to 12"
    assert json.loads((tmp_path / "out" / "about.json").read_text())["users"] == 7


def test_texts_of_all_domains_are_in_one_file(sources, tmp_path):
    prepare_domains(
        sources, tmp_path / "out", items=[tmp_path / "books.tsv", tmp_path / "toys.tsv"], compress=False
    )
    rows = read(tmp_path / "out" / "items.tsv")
    assert [(row["title"], row["brand"], row["text"]) for row in rows] == [
        ('A "long" way', "ACME", ""),
        ("Ink", "", ""),
        ("", "", ""),
        ("", "", "car"),
        ("", "", ""),
        ("", "", "doll"),
    ]


def test_the_command_takes_several_sources(sources, tmp_path, capsys):
    words = ["--source", *map(str, sources), "--items", "-", str(tmp_path / "toys.tsv")]
    assert main(["data", "sequences", *words, "--out", str(tmp_path / "out"), "--plain"]) == 0
    assert "items_of_Books: 2 to 9" in capsys.readouterr().out
    assert [row["text"] for row in read(tmp_path / "out" / "items.tsv")] == ["", "", "", "car", "", "doll"]


def test_what_does_not_fit_is_an_error(sources, tmp_path):
    (tmp_path / "a.json").write_text('{"1": [2]}')
    for given, items, text in (
        (sources, [tmp_path / "toys.tsv"], "1 files about items for 2 sources"),
        ([sources[0], sources[0]], (), "there are two domains 'Books'"),
        (sources, ["-", tmp_path / "a.json"], "attributes of one domain"),
    ):
        with pytest.raises(DataError, match=text):
            prepare_domains(given, tmp_path / "out", items=items)
