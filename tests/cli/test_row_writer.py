import csv

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.cli.row_writer import CsvWriter, ParquetWriter, joined
from easyssl.data.rows import object_array
from easyssl.errors import UsageError

TEXT = [b"plain", b'say "hi", friend', b"two\nlines", "größe".encode(), b"", b"\xff\xfe"]


def batch(text):
    n = len(text)
    return {
        "text": object_array(text),
        "id": np.arange(n, dtype=np.int64) * 2**40,
        "probs": np.linspace(0, 1, n, dtype=np.float32) / 3,
        "logits": np.arange(2 * n, dtype=np.float32).reshape(n, 2) / 7,
    }


def read_csv(path, separator=","):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def test_csv_keeps_every_byte_and_digit(tmp_path):
    writer = CsvWriter(tmp_path / "out.csv", ",")
    first, second = batch(TEXT), batch(TEXT[:2])
    writer.write(first)
    writer.write(second)
    writer.close()
    rows = read_csv(tmp_path / "out.csv")
    assert [r["text"].encode("utf-8", "surrogateescape") for r in rows] == TEXT + TEXT[:2]
    assert [int(r["id"]) for r in rows] == [*first["id"], *second["id"]]
    probs = np.array([r["probs"] for r in rows]).astype(np.float32)
    np.testing.assert_array_equal(probs, np.concatenate([first["probs"], second["probs"]]))
    logits = np.array([r["logits"].split("|") for r in rows]).astype(np.float32)
    np.testing.assert_array_equal(logits, np.concatenate([first["logits"], second["logits"]]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_csv_floats_read_back_exactly(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "out.csv"
    writer = CsvWriter(path, "\t")
    writer.write({"x": np.array(values, np.float32)})
    writer.close()
    back = np.array([r["x"] for r in read_csv(path, "\t")]).astype(np.float32)
    np.testing.assert_array_equal(back, np.array(values, np.float32))


def test_parquet_round_trip(tmp_path):
    writer = ParquetWriter(tmp_path / "out.parquet")
    rows = batch(TEXT[:-1])
    writer.write(rows)
    writer.write(rows)
    writer.close()
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert [t.encode() for t in table["text"]] == TEXT[:-1] * 2
    assert table["id"] == [*rows["id"].tolist()] * 2
    np.testing.assert_array_equal(np.array(table["logits"], np.float32), np.tile(rows["logits"], (2, 1)))


EMPTY = {"text": np.array([True, False]), "id": np.array([False, True]), "flag": np.array([True, True])}


def with_empty_cells():
    return {
        "text": object_array([b"nobody", b"ann"]),
        "id": np.array([7, 0]),
        "flag": np.array([False, False]),
        "probs": np.array([0.5, 0.25], np.float32),
    }


def test_empty_cells_stay_empty_in_csv(tmp_path):
    writer = CsvWriter(tmp_path / "out.csv", ",")
    writer.write(with_empty_cells(), EMPTY)
    writer.close()
    assert (tmp_path / "out.csv").read_text() == "text,id,flag,probs\n,7,,0.5\nann,,,0.25\n"


def test_empty_cells_are_null_in_parquet(tmp_path):
    writer = ParquetWriter(tmp_path / "out.parquet")
    writer.write(with_empty_cells(), EMPTY)
    writer.write(with_empty_cells())
    writer.close()
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert [str(field.type) for field in table.schema] == ["string", "int64", "bool", "float"]
    assert table.slice(0, 2).to_pydict() == {
        "text": [None, "ann"],
        "id": [7, None],
        "flag": [None, None],
        "probs": [0.5, 0.25],
    }
    assert table.slice(2).to_pydict()["id"] == [7, 0]


def test_parquet_refuses_text_that_is_not_utf8(tmp_path):
    with pytest.raises(UsageError, match="is not UTF-8, .* name a .csv file"):
        ParquetWriter(tmp_path / "out.parquet").write({"text": object_array([b"\xff"])})


def test_a_prediction_never_hides_a_column():
    columns = {"probs": np.zeros(2), "age": np.zeros(2)}
    with pytest.raises(UsageError, match="column 'probs'.*--prefix"):
        joined(columns, {"probs": np.ones(2)}, "")
    assert list(joined(columns, {"probs": np.ones(2)}, "model_")) == ["probs", "age", "model_probs"]
