"""Checks the Parquet reader on files that pyarrow wrote."""

import datetime
import sys

import pytest

from easyssl.data.quarantine import BadRows
from easyssl.data.readers.parquet import ParquetReader
from easyssl.data.rows import Column
from easyssl.errors import DataError, UsageError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path, table, group=1000):
    pq.write_table(pa.table(table), path, row_group_size=group)
    return path


def read(path, reader, bad_rows=None, start=None):
    chunks = list(reader.read(str(path), bad_rows or BadRows(), *([start] if start else [])))
    rows = [row for c in chunks for row in zip(*(a.tolist() for a in c.columns.values()), strict=True)]
    return rows, [line for chunk in chunks for line in chunk.lines.tolist()], chunks


@pytest.mark.parametrize("chunk_rows", [1, 7, 8192])
def test_rows_come_in_order_and_go_on_from_any_chunk(tmp_path, chunk_rows):
    table = {"extra": [None] * 50, "name": [f"user {n}" for n in range(50)], "age": list(range(50))}
    path = write(tmp_path / "rows.parquet", table, group=20)
    reader = ParquetReader([Column("age", "INT32"), Column("name")], chunk_rows=chunk_rows)
    rows, lines, chunks = read(path, reader)
    assert rows == [(n, b"user %d" % n) for n in range(50)]
    assert lines == list(range(1, 51))
    for number, chunk in enumerate(chunks):
        again = read(path, reader, start=chunk.end)[2]
        assert [(c.start, c.end, c.lines.tolist()) for c in again] == [
            (c.start, c.end, c.lines.tolist()) for c in chunks[number + 1 :]
        ]


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        ("INT32", pa.array([1, None, -5], pa.int64()), [1, 9, -5]),
        ("INT64", pa.array([2**63 - 1, None], pa.uint64()), [2**63 - 1, 9]),
        ("INT64", pa.array([True, False, None]), [1, 0, 9]),
        ("INT32", pa.array([3, 3, None]).dictionary_encode(), [3, 3, 9]),
        ("FLOAT", pa.array([0.5, None], pa.float64()), [0.5, 9]),
        ("FLOAT", pa.array([0.5, None], pa.float16()), [0.5, 9]),
        ("DOUBLE", pa.array([1, None], pa.int8()), [1, 9]),
        ("BOOL", pa.array([True, None, False]), [True, True, False]),
        ("STRING", pa.array(["é", None, ""]), ["é".encode(), b"9", b"9"]),
        ("STRING", pa.array([b"\xff", None], pa.large_binary()), [b"\xff", b"9"]),
        ("STRING", pa.array(["a", None, "a"]).dictionary_encode(), [b"a", b"9", b"a"]),
        ("STRING", pa.array([2**60 + 1, None]), [b"1152921504606846977", b"9"]),
    ],
)
def test_types_and_nulls(tmp_path, kind, values, wanted):
    path = write(tmp_path / "rows.parquet", {"x": values})
    column = Column("x", kind, default="1" if kind == "BOOL" else "9")
    rows, _, chunks = read(path, ParquetReader([column]))
    assert [value for (value,) in rows] == wanted
    assert chunks[0].columns["x"].dtype == column.dtype


MALFORMED = [
    ("INT32", pa.array([1, 2**31, 3]), "overflow", "column 'x' holds 2147483648, expected INT32"),
    ("INT64", pa.array([1, 2**63, 3], pa.uint64()), "overflow", "column 'x' holds 9223372036854775808"),
    ("FLOAT", pa.array([1.0, float("nan"), 3.0]), "non_finite", "column 'x' holds nan, expected FLOAT"),
    ("DOUBLE", pa.array([1.0, float("inf"), 3.0]), "non_finite", "column 'x' holds inf"),
    ("FLOAT", pa.array([1.0, 1e300, 3.0]), "non_finite", "column 'x' holds 1e+300"),
    (
        "STRING",
        pa.array([["1"], ["a|b"], ["3"]]),
        "separator_in_item",
        "expected items without the separator '|'",
    ),
]


@pytest.mark.parametrize(("kind", "values", "reason", "words"), MALFORMED)
def test_malformed_rows(tmp_path, kind, values, reason, words):
    path = write(tmp_path / "rows.parquet", {"x": values, "y": ["a", "b", "c"]}, group=1)
    reader = ParquetReader([Column("x", kind), Column("y")], list_separators={"x": "|"})
    bad_rows = BadRows("skip", 1)
    rows, lines, _ = read(path, reader, bad_rows)
    assert [y for _, y in rows] == [b"a", b"c"]
    assert lines == [1, 3]
    assert bad_rows.counts == {reason: 1}
    with pytest.raises(DataError) as caught:
        read(path, reader)
    assert str(caught.value).startswith(f"{path}:2: {reason}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (
            "INT32",
            pa.array([1.5]),
            "column 'x' has type double, expected whole numbers or booleans for INT32",
        ),
        ("INT32", pa.array(["1"]), "column 'x' has type string, expected whole numbers"),
        ("FLOAT", pa.array(["1"]), "expected numbers or whole numbers for FLOAT"),
        ("BOOL", pa.array([1]), "expected booleans for BOOL"),
        ("STRING", pa.array([1.5]), "column 'x' has type double, expected text or whole numbers for STRING"),
        ("STRING", pa.array([datetime.date(2020, 1, 1)]), "column 'x' has type date32"),
        ("STRING", pa.array([["a"]]), "column 'x' has type list<element: string>, but no single separator"),
        ("INT64", pa.array([[1]]), "declare the column STRING to read lists"),
        ("STRING", pa.array([[["a"]]]), "expected a list of text or whole numbers or numbers"),
    ],
)
def test_types_that_do_not_fit_are_never_skipped(tmp_path, kind, values, words):
    path = write(tmp_path / "rows.parquet", {"x": values})
    with pytest.raises(DataError) as caught:
        read(path, ParquetReader([Column("x", kind)]), BadRows("skip", 10))
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_lists_are_joined(tmp_path):
    table = {
        "s": [["a", "b"], [], None, ["", None]],
        "n": [[1, -2], [3], [], None],
        "f": [[0.5], [], [1e20], [2.0, 3.5]],
    }
    path = write(tmp_path / "rows.parquet", table)
    reader = ParquetReader(
        [Column("s", default="-"), Column("n"), Column("f")], list_separators={"s": "|", "n": ";", "f": "|"}
    )
    assert read(path, reader)[0] == [
        (b"a|b", b"1;-2", b"0.5"),
        (b"-", b"3", b""),
        (b"-", b"", b"1e+20"),
        (b"|", b"", b"2.0|3.5"),
    ]


def test_empty_cells_are_marked_where_a_value_stands_in(tmp_path):
    table = {
        "age": pa.array([1, None, 2], pa.int32()),
        "new": pa.array([None, True, None]),
        "name": ["", "ann", None],
        "tags": [["a"], [], None],
        "plain": [None, "", "b"],
        "price": pa.array([None, None, 1e40], pa.float64()),
    }
    columns = [
        Column("age", "INT32", mark_empty=True),
        Column("new", "BOOL", mark_empty=True),
        Column("name", default="nobody", mark_empty=True),
        Column("tags", default="-", mark_empty=True),
        Column("plain", mark_empty=True),
        Column("price", "FLOAT"),
    ]
    path = write(tmp_path / "rows.parquet", table)
    reader = ParquetReader(columns, list_separators={"tags": "|"})
    chunk = read(path, reader, BadRows("skip", 1))[2][0]
    assert {name: marks.tolist() for name, marks in chunk.empty.items()} == {
        "age": [False, True],
        "new": [True, False],
        "name": [True, False],
        "tags": [False, True],
        "plain": [False, False],
    }


def test_a_missing_column(tmp_path):
    path = write(tmp_path / "rows.parquet", {"age": [1]})
    with pytest.raises(DataError, match=r"rows.parquet: there is no column 'agee'; did you mean 'age'\?"):
        read(path, ParquetReader([Column("agee")]))
    chunks = read(path, ParquetReader([Column("age", "INT32"), Column("label", required=False)]))[2]
    assert list(chunks[0].columns) == ["age"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-10], lambda data: data[10:], lambda data: b"", lambda data: b"a,b\n" * 9]
)
def test_files_that_are_no_parquet_are_never_skipped(tmp_path, damage):
    path = write(tmp_path / "rows.parquet", {"age": [1]})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        read(path, ParquetReader([Column("age", "INT32")]), BadRows("skip", 10))
    assert str(caught.value).startswith(f"{path}: cannot be read as Parquet: ")
    assert "\n" not in str(caught.value)


def test_without_pyarrow_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        UsageError, match=r"^reading Parquet needs pyarrow: pip install 'easyssl\[parquet\]'$"
    ):
        ParquetReader([Column("age")])
