"""Checks the CSV reader against Python's csv module, and what it makes of malformed files."""

import csv
import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.data.quarantine import BadRows
from easyssl.data.readers.csv import CsvReader
from easyssl.data.rows import Column, Position
from easyssl.errors import DataError

COLUMNS = (Column("age", "INT32", default="-1"), Column("name"), Column("price", "FLOAT"))
LABELLED = (Column("label", "INT32", required=False), *COLUMNS)


def read(path, reader, bad_rows=None, start=None):
    """Returns all rows as tuples, their lines, and the chunks."""
    chunks = list(reader.read(str(path), bad_rows or BadRows(), *([start] if start else [])))
    names = list(chunks[0].columns) if chunks else []
    rows = [
        row for chunk in chunks for row in zip(*(chunk.columns[name].tolist() for name in names), strict=True)
    ]
    return rows, [line for chunk in chunks for line in chunk.lines.tolist()], chunks


def write(folder, content, name="rows.csv"):
    path = folder / name
    path.write_bytes(content)
    return path


GOOD = b"1,ann,0.5\n"
MALFORMED = [
    # name, content, lines kept, (line, reason) of the others, words of the message
    (
        "too few columns",
        GOOD + b"2,bob\n" + GOOD,
        [1, 3],
        [(2, "column_count")],
        "2 columns, expected 3: '2,bob'",
    ),
    ("too many columns", GOOD + b"2,b,1,x\n" + GOOD, [1, 3], [(2, "column_count")], "4 columns, expected 3"),
    (
        "counts that add up",
        b"1,a,1,9\n2,b\n3,c,1\n",
        [3],
        [(1, "column_count"), (2, "column_count")],
        "4 columns",
    ),
    ("empty line", GOOD + b"\n" + GOOD, [1, 3], [(2, "empty_line")], "an empty line, expected 3 columns"),
    ("empty line, CR LF", GOOD + b"\r\n" + GOOD, [1, 3], [(2, "empty_line")], "an empty line"),
    (
        "two empty lines at the end",
        GOOD + b"\n\n",
        [1],
        [(2, "empty_line"), (3, "empty_line")],
        "an empty line",
    ),
    (
        "text for a number",
        b"x,ann,1\n" + GOOD,
        [2],
        [(1, "bad_number")],
        "column 'age' holds 'x', expected INT32",
    ),
    (
        "point in an integer",
        b"1.0,ann,1\n" + GOOD,
        [2],
        [(1, "bad_number")],
        "'1.0', expected INT32 without a decimal",
    ),
    ("blank for a number", GOOD + b" ,ann,1\n", [1], [(2, "bad_number")], "column 'age' holds ' '"),
    (
        "not a number",
        b"1,ann,nan\n" + GOOD,
        [2],
        [(1, "non_finite")],
        "column 'price' holds 'nan', expected FLOAT",
    ),
    ("infinity", GOOD + b"1,ann,-inf", [1], [(2, "non_finite")], "'-inf', expected FLOAT that is finite"),
    (
        "integer too large",
        b"3000000000,a,1\n" + GOOD,
        [2],
        [(1, "overflow")],
        "from -2147483648 to 2147483647",
    ),
    ("number too large", b"1,a,1e99\n" + GOOD, [2], [(1, "overflow")], "'1e99', expected FLOAT"),
    ("one reason a row", b"x,a,nan\n" + GOOD, [2], [(1, "bad_number")], "column 'age'"),
    ("quote inside a cell", b'1,a"b,1\n' + GOOD, [2], [(1, "bad_quote")], "quotes do not match"),
    ("text after a quote", b'1,"a"b,1\n' + GOOD, [2], [(1, "bad_quote")], "quotes do not match"),
    ("blank before a quote", b'1, "a",1\n' + GOOD, [2], [(1, "bad_quote")], "quotes do not match"),
    ("quote left open", GOOD + b'2,"b,1\n' + GOOD, [1, 3], [(2, "bad_quote")], "quotes do not match"),
    ("quote open at the end", GOOD + b'2,"b', [1], [(2, "bad_quote")], "quotes do not match"),
    (
        "quote closed by another row",
        b'1,"a,1\n2,"b",1\n' + GOOD,
        [2, 3],
        [(1, "bad_quote")],
        "quotes do not match",
    ),
    ("quoted row of wrong width", b'1,"a\nb"\n' + GOOD, [3], [(1, "column_count")], "2 columns, expected 3"),
    (
        "bad number in a quoted row",
        b'x,"a\nb",1\n' + GOOD,
        [3],
        [(1, "bad_number")],
        "column 'age' holds 'x'",
    ),
    ("zero bytes", b"\0,a,1\n" + GOOD, [2], [(1, "bad_number")], "column 'age' holds '\\x00'"),
    ("old line ends", b"1,a,1\r2,b,1\r", [], [(1, "column_count")], "5 columns, expected 3"),
    (
        "several",
        b"\n1,2\n" + GOOD + b"a,b,c\n1,b,inf\n",
        [3],
        [(1, "empty_line"), (2, "column_count"), (4, "bad_number"), (5, "non_finite")],
        "an empty line",
    ),
]


@pytest.mark.parametrize("block_size", [1 << 20, 7])
@pytest.mark.parametrize(
    ("content", "kept", "bad", "words"), [case[1:] for case in MALFORMED], ids=[c[0] for c in MALFORMED]
)
def test_malformed_rows(tmp_path, content, kept, bad, words, block_size):
    path = write(tmp_path, content)
    reader = CsvReader(COLUMNS, block_size=block_size)
    quarantine = tmp_path / "quarantine.jsonl"
    bad_rows = BadRows("skip", len(bad), quarantine)
    rows, lines, _ = read(path, reader, bad_rows)
    assert lines == kept
    assert len(rows) == len(kept)
    noted = [json.loads(line) for line in quarantine.read_text().splitlines()]
    assert [(row["line"], row["reason"]) for row in noted] == bad
    assert bad_rows.total == len(bad)
    assert all(row["file"] == str(path) for row in noted)
    with pytest.raises(DataError) as caught:
        read(path, reader)
    line, reason = bad[0]
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: {reason}: ")
    assert words in message
    assert "data_config.malformed_rows: SKIP" in message
    assert "\n" not in message
    with pytest.raises(DataError, match=f"malformed row number {len(bad)} and .* allows {len(bad) - 1} "):
        read(path, reader, BadRows("skip", len(bad) - 1))


def test_quarantine_has_the_raw_text(tmp_path):
    raw = [b'2,"b ""x"", \nc",oops', b"3,d", "4,é\\,x".encode(), b"5,\xff,y"]
    path = write(tmp_path, GOOD + b"\n".join(raw) + b"\n")
    quarantine = tmp_path / "folder" / "quarantine.jsonl"
    read(path, CsvReader(COLUMNS), BadRows("skip", 4, quarantine))
    texts = [json.loads(line)["text"] for line in quarantine.read_text().splitlines()]
    assert texts == ['2,"b ""x"", \nc",oops', "3,d", "4,é\\,x", "5,\\xff,y"]


cells = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ['"', '""', "\n", "\r\n", ",", "a,b", ""]
)


@settings(max_examples=60)
@given(
    table=st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=12),
    block_size=st.integers(1, 200),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    separator=st.sampled_from([",", "\t", "\x01", "|"]),
    last=st.booleans(),
)
def test_reads_what_the_csv_module_writes(
    tmp_path_factory, table, block_size, line_end, quoting, separator, last
):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=line_end).writerows(table)
    content = text.getvalue().encode()
    path = write(tmp_path_factory.mktemp("csv"), content if last else content.removesuffix(line_end.encode()))
    columns = [Column("a"), Column("b"), Column("c")]
    reader = CsvReader(columns, separator=separator.encode(), block_size=block_size)
    rows, lines, chunks = read(path, reader)
    assert rows == [tuple(cell.encode() for cell in row) for row in table]
    starts = np.cumsum([1] + [sum(cell.count("\n") for cell in row) + 1 for row in table])
    assert lines == starts[:-1].tolist()
    # Reading on from any chunk gives the same rows as reading through.
    for number, chunk in enumerate(chunks):
        again = list(reader.read(str(path), BadRows(), chunk.end))
        assert [(c.start, c.end, c.lines.tolist()) for c in again] == [
            (c.start, c.end, c.lines.tolist()) for c in chunks[number + 1 :]
        ]


@settings(max_examples=150)
@given(
    content=st.text('01,"x\r\n \t.', max_size=60).map(str.encode) | st.binary(max_size=60),
    block_size=st.integers(1, 64),
)
def test_any_bytes_give_rows_or_a_data_error(tmp_path_factory, content, block_size):
    path = write(tmp_path_factory.mktemp("csv"), content)
    reader = CsvReader([Column("a", "INT32"), Column("b")], block_size=block_size)
    bad_rows = BadRows("skip", 100)
    try:
        rows, lines, chunks = read(path, reader, bad_rows)
    except DataError as error:
        assert "UTF-16" in str(error)
        return
    physical = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
    assert len(rows) + bad_rows.total <= physical
    assert lines == sorted(set(lines))
    assert (len(rows) + bad_rows.total > 0) == (content.removeprefix(b"\xef\xbb\xbf") != b"")
    whole = read(path, CsvReader([Column("a", "INT32"), Column("b")]), BadRows("skip", 100))
    assert (rows, lines) == whole[:2]
    for chunk in chunks:
        rest = read(path, reader, BadRows("skip", 100), chunk.end)[1]
        assert rest == [line for line in lines if line >= chunk.end.line]


@pytest.mark.parametrize("block_size", [3, 1 << 20])
def test_header_gives_names_and_order(tmp_path, block_size):
    path = write(tmp_path, b'price,"extra, unused",name , age\r\n0.5,x,ann,1\r\n2,"y\nz",bob,\r\n')
    rows, lines, _ = read(path, CsvReader(COLUMNS, with_header=True, block_size=block_size))
    assert rows == [(1, b"ann", 0.5), (-1, b"bob", 2.0)]
    assert lines == [2, 3]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"age,nam,price\n", "rows.csv:1: the header has no column 'name'; did you mean 'nam'?"),
        (b"age,name,price,age\n", "rows.csv:1: column 'age' is in the header twice"),
        (b"", "rows.csv:1: the header line is empty"),
        (b"\n1,a,1\n", "rows.csv:1: the header line is empty"),
        (b'age,"name,price\n', "rows.csv:1: bad_quote: the header's quotes are malformed"),
        ("age,name,price\n".encode("utf-16"), "rows.csv:1: the file is UTF-16 text, expected UTF-8"),
    ],
)
def test_header_errors_are_never_skipped(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read(path, CsvReader(COLUMNS, with_header=True), BadRows("skip", 10))
    assert words in str(caught.value)


def test_optional_label_may_be_missing_without_header(tmp_path):
    with_label = write(tmp_path, b"1,7,ann,1\n0,8,bob,2\n", "a.csv")
    without = write(tmp_path, b"bad\n7,ann,1\n8,bob,2\n1,7,ann,1\n", "b.csv")
    assert read(with_label, CsvReader(LABELLED))[0] == [(1, 7, b"ann", 1.0), (0, 8, b"bob", 2.0)]
    bad_rows = BadRows("skip", 5)
    rows, lines, chunks = read(without, CsvReader(LABELLED), bad_rows)
    assert rows == [(7, b"ann", 1.0), (8, b"bob", 2.0)]
    assert lines == [2, 3]
    assert set(chunks[0].columns) == {"age", "name", "price"}
    assert bad_rows.counts == {"column_count": 2}


def test_the_number_of_columns_tells_which_ones_a_file_lacks(tmp_path):
    columns = [Column(name, required=name == "age") for name in ("one", "two", "weight", "age")]
    reader = CsvReader(columns, may_lack=[["one", "two"], ["one", "two", "weight"], ["weight", "one"]])
    for text, names in (b"a,b,c,d", "one two weight age"), (b"c,d", "weight age"), (b"d", "age"):
        ((row,), _, (chunk,)) = read(write(tmp_path, text + b"\n"), reader)
        assert (list(chunk.columns), list(row)) == (names.split(), text.split(b","))
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, b"a,c,d\n"), reader)
    assert "3 columns, expected 4: 'a,c,d'; a file may also have 2 without 'one', 'two' or 1 without " in str(
        caught.value
    )


def test_optional_label_may_be_missing_in_the_header(tmp_path):
    path = write(tmp_path, b"name,price,age\nann,1,7\n")
    assert read(path, CsvReader(LABELLED, with_header=True))[0] == [(7, b"ann", 1.0)]


def test_empty_cells_are_marked_where_a_value_stands_in(tmp_path):
    columns = [
        Column("age", "INT32", default="-1", mark_empty=True),
        Column("name", mark_empty=True),
        Column("city", default="none", mark_empty=True),
        Column("price", "FLOAT"),
    ]
    path = write(tmp_path, b",ann,,\nx,,,\n2,,rome,1\n")
    ((chunk,),) = (read(path, CsvReader(columns), BadRows("skip", 1))[2],)
    assert {name: marks.tolist() for name, marks in chunk.empty.items()} == {
        "age": [True, False],
        "city": [True, False],
    }
    assert chunk.columns["age"].tolist() == [-1, 2]


def test_columns_that_are_not_selected_are_not_checked(tmp_path):
    path = write(tmp_path, b"oops,ann,1\n2,bob,2\n")
    rows, _, chunks = read(path, CsvReader(COLUMNS, select=["price", "name"]))
    assert rows == [(b"ann", 1.0), (b"bob", 2.0)]
    assert list(chunks[0].columns) == ["name", "price"]


def test_quotes_are_text_without_quoting(tmp_path):
    path = write(tmp_path, b'1,"a,1\n2,b"",2\n')
    assert read(path, CsvReader(COLUMNS, quoting=False))[0] == [(1, b'"a', 1.0), (2, b'b""', 2.0)]


def test_bom_is_no_part_of_the_first_cell(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbf1,ann,1\n2,bob,2\n")
    for block_size in (4, 1 << 20):
        rows, lines, chunks = read(path, CsvReader(COLUMNS, block_size=block_size))
        assert rows == [(1, b"ann", 1.0), (2, b"bob", 2.0)]
        assert lines == [1, 2]
        assert chunks[0].start == Position(3, 1)


@pytest.mark.parametrize("block_size", [100, 1 << 20])
def test_gzip(tmp_path, block_size):
    content = b"".join(b"%d,user %d,%d.5\n" % (n, n * 7919, n) for n in range(500))
    members = gzip.compress(content[:3000]) + gzip.compress(content[3000:]) + bytes(8)
    path = write(tmp_path, members, "rows.csv.gz")
    plain = write(tmp_path, content, "rows.csv")
    reader = CsvReader(COLUMNS, block_size=block_size)
    rows, lines, chunks = read(path, reader)
    assert (rows, lines) == read(plain, reader)[:2]
    middle = chunks[len(chunks) // 2]
    assert read(path, reader, start=middle.start)[1] == lines[lines.index(middle.lines[0]) :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-200], "truncated"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[:-8] + b"\x01\x02\x03\x04" + data[-4:], "bad_compression"),
    ],
)
def test_damaged_gzip_keeps_the_rows_before(tmp_path, damage, reason):
    content = b"".join(b"%d,user %d,%d.5\n" % (n, n * 7919, n) for n in range(5000))
    path = write(tmp_path, damage(gzip.compress(content)), "rows.csv.gz")
    bad_rows = BadRows("skip", 1)
    rows, lines, _ = read(path, CsvReader(COLUMNS, block_size=4096), bad_rows)
    assert bad_rows.counts == {reason: 1}
    assert lines == list(range(1, len(lines) + 1)) and len(lines) > 2000
    assert rows == [(n, b"user %d" % (n * 7919), n + 0.5) for n in range(len(rows))]
    with pytest.raises(DataError, match=rf"rows.csv.gz:{len(lines) + 1}: {reason}: "):
        read(path, CsvReader(COLUMNS, block_size=4096))


def test_a_file_that_is_not_gzip_is_never_skipped(tmp_path):
    path = write(tmp_path, GOOD, "rows.csv.gz")
    with pytest.raises(DataError, match="rows.csv.gz:1: bad_compression: not GZIP data"):
        read(path, CsvReader(COLUMNS), BadRows("skip", 10))


def test_rows_without_an_end_do_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("easyssl.data.readers.csv.MAX_ROW_BYTES", 1 << 10)
    long_line = b"1," + b"a" * 5000 + b",1\n"
    open_quote = b'2,"b,1\n'
    path = write(tmp_path, GOOD + long_line + GOOD + open_quote + GOOD * 1000)
    bad_rows = BadRows("skip", 2)
    _, lines, _ = read(path, CsvReader(COLUMNS, block_size=64), bad_rows)
    assert bad_rows.counts == {"row_too_long": 1, "bad_quote": 1}
    assert lines == [1, 3, *range(5, 1005)]


@pytest.mark.parametrize("separator", [b"", b",,", b'"', b"\n", "é".encode()])
def test_separators_that_cannot_be(separator):
    with pytest.raises(ValueError, match="separator should be one byte"):
        CsvReader(COLUMNS, separator=separator)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="none.csv: cannot be opened: No such file"):
        read(tmp_path / "none.csv", CsvReader(COLUMNS))


def test_the_real_taobao_rows(real_data):
    path = real_data("taobao_alimama_sample/taobao_dmr_500.csv")
    with open(path, newline="", encoding="utf-8") as handle:
        wanted = list(csv.DictReader(handle))
    text = ("tag_category_list", "tag_brand_list", "tag_btag_list")
    columns = [
        Column(name, "STRING" if name in text else "DOUBLE" if name == "price" else "INT64")
        for name in wanted[0]
    ]
    rows, lines, chunks = read(path, CsvReader(columns, with_header=True, block_size=1 << 16))
    assert len(rows) == 500 and len(chunks) > 1
    assert lines == list(range(2, 502))
    for row, expected in zip(rows, wanted, strict=True):
        for column, value in zip(columns, row, strict=True):
            cell = expected[column.name]
            assert value == (cell.encode() if column.type == "STRING" else float(cell or 0))
