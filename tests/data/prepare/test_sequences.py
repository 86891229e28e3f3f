"""Rows of histories and items against a plain loop over the source, and the real sets' published counts."""

import collections
import csv
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.data.prepare import prepare_sequences
from easyssl.errors import DataError


def read(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(io.StringIO(file.read()), delimiter="\t"))


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.integers(1, 99), st.lists(st.integers(1, 12), min_size=1, max_size=9), min_size=1),
    st.integers(0, 3),
    st.booleans(),
)
def test_rows_are_those_of_a_plain_loop(tmp_path_factory, users, held_out, compress):
    folder = tmp_path_factory.mktemp("sequences")
    text = "".join(f"{user} {' '.join(map(str, items))}\n" for user, items in users.items())
    if compress:
        source = folder / "source.txt.gz"
        source.write_bytes(gzip.compress(text.encode()))
    else:
        source = folder / "source.txt"
        source.write_text(text)
    made = prepare_sequences(source, folder / "out", held_out=held_out, compress=compress)
    ending = ".tsv.gz" if compress else ".tsv"
    rows = read(folder / "out" / f"sequences{ending}")
    assert [(int(r["user_id"]), [int(i) for i in r["items"].split("|")], int(r["count"])) for r in rows] == [
        (user, items, len(items)) for user, items in users.items()
    ]
    popularity = collections.Counter()
    for items in users.values():
        popularity.update(items[: len(items) - held_out] if held_out < len(items) else [])
    everything = sorted({item for items in users.values() for item in items})
    rows = read(folder / "out" / f"items{ending}")
    assert [(int(r["item_id"]), int(r["popularity"])) for r in rows] == [
        (i, popularity[i]) for i in everything
    ]
    assert dict(made.rows) == {f"sequences{ending}": len(users), f"items{ending}": len(everything)}
    about = json.loads((folder / "out" / "about.json").read_text())
    assert about["rows"] == dict(made.rows)
    assert about["interactions"] == sum(map(len, users.values()))
    assert about["items_unseen_in_training"] == sum(popularity[i] == 0 for i in everything)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "Shop.txt"
    path.write_text("1 3 1 2 3\n2 5 3\n")
    return path


def test_files_about_items_become_columns(source, tmp_path):
    attributes, text = tmp_path / "attributes.json.gz", tmp_path / "text.tsv"
    attributes.write_bytes(gzip.compress(json.dumps({"3": [7, 8], "1": [], "44": [1]}).encode()))
    text.write_text('1\tASIN1\tA "big"  box\n3\tASIN3\t\n5\tASIN5\tCaf\u00e9\n', encoding="utf-8")
    made = prepare_sequences(source, tmp_path / "out", items=[attributes, text])
    found = {row.pop("item_id"): row for row in read(tmp_path / "out" / "items.tsv.gz")}
    assert found == {
        "1": {"popularity": "1", "attributes": "", "text": 'A "big"  box'},
        "2": {"popularity": "0", "attributes": "", "text": ""},
        "3": {"popularity": "1", "attributes": "7|8", "text": ""},
        "5": {"popularity": "0", "attributes": "", "text": "Caf\u00e9"},
    }
    assert made.facts["items_not_in_attributes.json.gz"] == 2
    assert made.facts["items_not_in_text.tsv"] == 1
    assert made.facts["item_columns"] == ["item_id", "popularity", "attributes", "text"]


def test_a_header_line_names_the_columns(source, tmp_path):
    text = tmp_path / "items.tsv"
    text.write_text("id\ttitle\tbrand\n3\tBox\tACME\n1\tLid\t\n")
    prepare_sequences(source, tmp_path / "out", items=[text], compress=False)
    found = {row["item_id"]: (row["title"], row["brand"]) for row in read(tmp_path / "out" / "items.tsv")}
    assert found == {"1": ("Lid", ""), "2": ("", ""), "3": ("Box", "ACME"), "5": ("", "")}


def test_the_same_arguments_give_the_same_files(source, tmp_path):
    for name in ("one", "other"):
        prepare_sequences(source, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Shop.txt: has no lines"),
        ("1 2\n\n", "Shop.txt:2: '' is not a whole number from 1 on"),
        ("1 2\n3\n", "Shop.txt:2: user 3 has no items"),
        ("1 2 x\n", "Shop.txt:1: 'x' is not a whole number from 1 on"),
        ("1 2 0\n", "Shop.txt:1: '0' is not"),
        ("1 2 -4\n", "Shop.txt:1: '-4' is not"),
        ("1 2 07\n", "Shop.txt:1: '07' is not"),
        ("1 " + "9" * 5000 + "\n", "Shop.txt:1: '9{40}' is not"),
        ("1 2\n4 1\n1 3\n", "Shop.txt:3: user 1 has a line further up"),
    ],
)
def test_broken_sequences_are_refused_at_their_line(source, tmp_path, text, message):
    source.write_text(text)
    with pytest.raises(DataError, match=message):
        prepare_sequences(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "a.json: is no JSON"),
        ("a.json", "[" * 100_000, "a.json: is no JSON"),
        ("a.json", "[1]", "expected an object of item id"),
        ("a.json", '{"x": [1]}', "'x' is not a whole number"),
        ("a.json", '{"1": "red"}', "item 1: expected a list of whole numbers"),
        ("a.json", '{"1": [true]}', "item 1: expected a list of whole numbers"),
        ("a.tsv", "1\n", "a.tsv:1: has 1 cell"),
        ("a.tsv", "1\ta\n2\ta\tb\n", "a.tsv:2: has 3 cells; expected 2"),
        ("a.tsv", "1\ta\n1\tb\n", "a.tsv:2: item 1 has a line further up"),
        ("a.tsv", "number\ta\n", "a.tsv:1: 'number' is not a whole number"),
        ("a.tsv", "id\tpopularity\n1\t9\n", "two columns 'popularity'"),
        ("a.csv", "1,a\n", "a.csv: files about items end in"),
        ("a.tsv.gz", "1\ta\n", "a.tsv.gz: cannot be read: Not a gzipped file"),
    ],
)
def test_broken_files_about_items_are_refused(source, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        prepare_sequences(source, tmp_path / "out", items=[tmp_path / name])
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_read(source, tmp_path):
    with pytest.raises(DataError, match="gone.txt: cannot be read: No such file"):
        prepare_sequences(tmp_path / "gone.txt", tmp_path / "out")
    cut = tmp_path / "cut.txt.gz"
    cut.write_bytes(gzip.compress(b"1 2 3\n" * 1000)[:-20])
    with pytest.raises(DataError, match="cut.txt.gz: cannot be read"):
        prepare_sequences(cut, tmp_path / "out")
    source.write_bytes(b"1 2 \xff\n")
    with pytest.raises(DataError, match="Shop.txt: cannot be read as utf-8"):
        prepare_sequences(source, tmp_path / "out")


def test_held_out_is_checked(source, tmp_path):
    with pytest.raises(DataError, match="held_out is -1"):
        prepare_sequences(source, tmp_path / "out", held_out=-1)


PUBLISHED = [
    ("amazon_5core/Beauty", ["_item2attributes.json.gz", "_item_text.tsv.gz"], 22_363, 12_101, 198_502),
    (
        "amazon_5core/Sports_and_Outdoors",
        ["_item2attributes.json.gz", "_item_text.tsv.gz"],
        35_598,
        18_357,
        296_337,
    ),
    ("amazon_scientific/Scientific", ["_item_text.tsv.gz"], 8_442, 4_385, 59_427),
    ("amazon_instruments/Instruments", [], 24_772, 9_922, 206_153),
    ("ml1m/ml-1m", [], 6_040, 3_416, 999_611),
]


@pytest.mark.parametrize(("name", "about", "users", "items", "interactions"), PUBLISHED)
def test_real_sets_have_their_published_counts(real_data, tmp_path, name, about, users, items, interactions):
    files = [real_data(name + ending) for ending in about]
    made = prepare_sequences(real_data(name + ".txt.gz"), tmp_path, items=files)
    assert (made.facts["users"], made.facts["items"]) == (users, items)
    assert made.facts["interactions"] == interactions
    assert dict(made.rows) == {"sequences.tsv.gz": users, "items.tsv.gz": items}
    rows = read(tmp_path / "items.tsv.gz")
    assert sum(int(row["popularity"]) for row in rows) == interactions - 2 * users
    assert [int(row["item_id"]) for row in rows] == list(range(1, items + 1))
    if "text" in rows[0]:
        empty = sum(not row["text"].strip() for row in rows)
        assert empty == (153 if "Sports" in name else 0)
    if "attributes" in rows[0]:
        assert made.facts[f"items_not_in_{files[0].name}"] == 0
