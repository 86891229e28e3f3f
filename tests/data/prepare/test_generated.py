"""Generated rows of the forms of Avazu, Criteo and MovieLens-1M; `test_taobao.py` has those of Taobao."""

import csv
import gzip
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from easyssl.cli.main import main
from easyssl.data.prepare import GENERATORS, avazu, criteo, movies
from easyssl.data.prepare.movielens import COLUMNS as ML1M
from easyssl.data.quarantine import BadRows
from easyssl.data.readers.tfrecord import TFRecordReader
from easyssl.data.rows import Column
from easyssl.errors import DataError

MODULES = {"avazu": avazu, "criteo": criteo, "movielens": movies}
ROWS, TEST_ROWS = 900, 300
FILES = {
    "avazu": {"train.csv": ROWS, "test.csv": TEST_ROWS},
    "criteo": {"train.tsv": ROWS, "test.tsv": TEST_ROWS},
    "movielens": {"train.tsv.gz": ROWS, "valid.tsv.gz": TEST_ROWS, "test.tsv.gz": TEST_ROWS},
}
SEPARATORS = {"avazu": ",", "criteo": "\t", "movielens": "\t"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {
        name: GENERATORS[name](tmp_path_factory.mktemp(name), rows=ROWS, test_rows=TEST_ROWS)
        for name in MODULES
    }


def read(made, name):
    """Returns the rows of all files, in their order."""
    rows = []
    for file, count in FILES[name].items():
        path = made[name].folder / file
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="") as text:
            found = list(csv.reader(text, delimiter=SEPARATORS[name]))
        if name == "movielens":
            assert tuple(found.pop(0)) == movies.COLUMNS
        assert len(found) == count
        rows += [dict(zip(MODULES[name].COLUMNS, row, strict=True)) for row in found]
    return rows


def labels_of(table):
    if isinstance(table, criteo.Displays):
        return table.click
    return table.columns["click" if "click" in table.columns else "label"].astype(int)


@pytest.mark.parametrize("name", MODULES)
def test_files_and_facts(made, name):
    assert dict(made[name].rows) == FILES[name]
    assert sorted(p.name for p in made[name].folder.iterdir()) == sorted(["about.json", *FILES[name]])
    about = json.loads((made[name].folder / "about.json").read_text())
    assert about["columns"] == list(MODULES[name].COLUMNS)
    total = sum(FILES[name].values())
    table = MODULES[name].simulate(total)
    test = slice(total - TEST_ROWS, total)
    best = roc_auc_score(labels_of(table)[test], table.probability[test])
    assert about["best_reachable_auc"] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("name", MODULES)
def test_the_same_arguments_give_the_same_files(made, name, tmp_path):
    again = GENERATORS[name](tmp_path / "a", rows=ROWS, test_rows=TEST_ROWS)
    other = GENERATORS[name](tmp_path / "b", rows=ROWS, test_rows=TEST_ROWS, seed=1)
    for file in [*FILES[name], "about.json"]:
        assert (again.folder / file).read_bytes() == (made[name].folder / file).read_bytes()
        assert (other.folder / file).read_bytes() != (made[name].folder / file).read_bytes()


@pytest.mark.parametrize(
    "name,rate,lowest,highest",
    [("avazu", 0.17, 0.73, 0.82), ("criteo", 0.256, 0.76, 0.85), ("movielens", 0.575, 0.68, 0.80)],
)
def test_labels_follow_the_stated_probabilities(name, rate, lowest, highest):
    for seed in range(2):
        table = MODULES[name].simulate(6_000, seed)
        label = labels_of(table)
        assert lowest < roc_auc_score(label, table.probability) < highest
        assert label.mean() == pytest.approx(rate, abs=0.06 if name == "movielens" else 0.02)
        for bin_ in np.array_split(np.argsort(table.probability), 10):
            p = table.probability[bin_]
            assert abs(label[bin_].sum() - p.sum()) < 4.5 * np.sqrt(np.sum(p * (1 - p)))


def test_criteo_cells_are_counts_and_hashed_ids_and_often_empty(made):
    rows = read(made, "criteo")
    for row in rows:
        assert row["label"] in ("0", "1")
        assert all(not row[name] or row[name].lstrip("-").isdigit() for name in criteo.NUMBERS)
        assert all(not row[name] or len(bytes.fromhex(row[name])) == 4 for name in criteo.IDS)
    empty = {name: np.mean([row[name] == "" for row in rows]) for name in criteo.COLUMNS}
    assert empty["I12"] == pytest.approx(0.77, abs=0.07) and empty["C22"] == pytest.approx(0.76, abs=0.07)
    assert empty["I2"] == empty["C1"] == 0
    assert min(int(row["I2"]) for row in rows) < 0
    # Long tails: half of the ids of a column are there once, and one is there often.
    counts = np.unique([row["C3"] for row in rows if row["C3"]], return_counts=True)[1]
    assert np.mean(counts == 1) > 0.5 and counts.max() > 0.05 * len(rows)


def test_criteo_as_records_holds_the_same_rows(made, tmp_path, capfd):
    words = [
        "data",
        "generate",
        "criteo",
        "--out",
        str(tmp_path),
        "--rows",
        str(ROWS),
        "--test-rows",
        str(TEST_ROWS),
    ]
    assert main([*words, "--tfrecord"]) == 0
    assert f"train.tfrecord: {ROWS} rows" in capfd.readouterr().out
    columns = [Column("label", "INT64"), *[Column(n, "FLOAT") for n in criteo.NUMBERS]]
    columns += [Column(n) for n in criteo.IDS]
    rows = read(made, "criteo")
    place = 0
    for file in ("train", "test"):
        reader = TFRecordReader(columns)
        for chunk in reader.read(str(tmp_path / f"{file}.tfrecord"), BadRows()):
            some = rows[place : place + len(chunk)]
            for column in columns:
                cells = [row[column.name] for row in some]
                expected = [c.encode() if column.type == "STRING" else float(c or 0) for c in cells]
                assert chunk.columns[column.name].tolist() == expected
            place += len(chunk)
    assert place == len(rows)


def test_tensorflow_reads_the_records(tmp_path):
    import tensorflow as tf

    GENERATORS["criteo"](tmp_path, rows=5, test_rows=1, tfrecord=True)
    first = (tmp_path / "train.tsv").read_text().split("\n")[0].split("\t")
    data = tf.data.TFRecordDataset(str(tmp_path / "train.tfrecord"))
    features = tf.train.Example.FromString(next(data.as_numpy_iterator())).features.feature
    assert set(features) == {name for name, cell in zip(criteo.COLUMNS, first, strict=True) if cell}
    assert len(list(data)) == 5


@pytest.mark.parametrize("name", ["avazu", "movielens", "taobao"])
def test_only_criteo_comes_as_records(name, tmp_path, capfd):
    assert main(["data", "generate", name, "--out", str(tmp_path), "--tfrecord"]) == 2
    assert "--tfrecord goes with criteo" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_avazu_rows_come_in_time_from_one_site_or_one_app(made):
    rows = read(made, "avazu")
    hours = [int(row["hour"]) for row in rows]
    assert hours == sorted(hours) and {hour % 100 for hour in hours} <= set(range(24))
    assert len({row["id"] for row in rows}) == len(rows)
    none = {
        kind: max({r[f"{kind}_id"] for r in rows}, key=[r[f"{kind}_id"] for r in rows].count)
        for kind in ("site", "app")
    }
    assert all((row["site_id"] == none["site"]) != (row["app_id"] == none["app"]) for row in rows)
    for child, parent in [
        *[(f"{kind}_id", f"{kind}_{part}") for kind in ("site", "app") for part in ("domain", "category")],
        *[("C14", f"C{i}") for i in (15, 16, 17, 18, 19, 21)],
    ]:
        pairs = {(row[child], row[parent]) for row in rows}
        assert len(pairs) == len({key for key, _ in pairs}), (child, parent)


def test_movielens_rows_are_those_of_the_real_set_and_remember_what_was_liked(made):
    assert movies.COLUMNS == (*ML1M, "rating")
    liked, genres = {}, {}
    for row in read(made, "movielens"):
        assert (row["label"] == "1") == (int(row["rating"]) >= 4)
        assert row["age"] in map(str, movies.AGES) and row["gender"] in "MF" and len(row["zip_code"]) == 5
        assert set(row["genres"].split("|")) <= set(movies.GENRES) and row["title"]
        genres[row["movie_id"]] = row["genres"].replace("|", ";")
        own = liked.setdefault(row["user_id"], [])
        assert row["hist_movie_id"] == "|".join(own[-movies.HISTORY :])
        assert row["hist_genres"] == "|".join(genres[movie] for movie in own[-movies.HISTORY :])
        if row["label"] == "1":
            own.append(row["movie_id"])


@pytest.mark.parametrize("name", MODULES)
def test_options_out_of_range_are_refused_and_one_row_is_enough(name, tmp_path):
    for options in ({"rows": 0}, {"test_rows": 0}, {"seed": -1}):
        with pytest.raises(DataError, match=f"{name}: {next(iter(options))} is"):
            GENERATORS[name](tmp_path, **options)
    assert set(GENERATORS[name](tmp_path, rows=1).rows.values()) == {1}


@pytest.mark.parametrize("name", MODULES)
def test_every_column_is_described(root, name):
    text = (root / "docs" / "data.md").read_text(encoding="utf-8")
    places = {f"C{i}" for i in range(1, 27)} | {f"I{i}" for i in range(1, 14)}  # told as ranges
    assert [
        column for column in MODULES[name].COLUMNS if f"`{column}`" not in text and column not in places
    ] == []
