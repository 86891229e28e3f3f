"""Checks the TFRecord reader on files that TensorFlow wrote and that were then damaged."""

import dataclasses
import json
import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.data.quarantine import BadRows
from easyssl.data.readers import examples
from easyssl.data.readers.tfrecord import TFRecordReader
from easyssl.data.rows import Column
from easyssl.errors import DataError

COLUMNS = (Column("age", "INT32", default="-1"), Column("name", default="none"), Column("price", "FLOAT"))


def feature(value):
    """A feature of the kind that fits a value or a list of values; None has no kind."""
    values = value if isinstance(value, list) else [value]
    if value is None:
        return tf.train.Feature()
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def example(**values):
    features = {name: feature(value) for name, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def good(number):
    return example(age=number, name=b"user %d" % number, price=number / 2)


def write(path, records, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return path


def read(path, reader, bad_rows=None, start=None):
    """Returns all rows as tuples, the numbers of their records, and the chunks."""
    chunks = list(reader.read(str(path), bad_rows or BadRows(), *([start] if start else [])))
    rows = [row for c in chunks for row in zip(*(a.tolist() for a in c.columns.values()), strict=True)]
    return rows, [line for chunk in chunks for line in chunk.lines.tolist()], chunks


def row(number):
    return number, b"user %d" % number, number / 2


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
@pytest.mark.parametrize("block_size", [1, 500, 1 << 20])
def test_reads_what_tensorflow_writes(tmp_path, compression, block_size):
    path = write(tmp_path / "rows.tfrecord", map(good, range(40)), compression)
    reader = TFRecordReader(COLUMNS, compression=compression, block_size=block_size)
    rows, lines, chunks = read(path, reader)
    assert rows == [row(number) for number in range(40)]
    assert lines == list(range(1, 41))
    for number, chunk in enumerate(chunks[:5]):
        again = read(path, reader, start=chunk.end)[2]
        assert [(c.start, c.end) for c in again] == [(c.start, c.end) for c in chunks[number + 1 :]]


def test_types_and_defaults(tmp_path):
    columns = [
        Column("i", "INT64"),
        Column("b", "BOOL"),
        Column("d", "DOUBLE"),
        Column("s", default="none"),
        Column("f", "FLOAT", default="0.5"),
    ]
    records = [example(i=2**62, b=1, d=0.1, s=b"\xff", f=1.5, unused=b""), example(b=0, s=b"", d=None)]
    rows, _, chunks = read(write(tmp_path / "rows.tfrecord", records), TFRecordReader(columns))
    assert rows == [(2**62, True, float(np.float32(0.1)), b"\xff", 1.5), (0, False, 0.0, b"none", 0.5)]
    assert [chunks[0].columns[c.name].dtype for c in columns] == [c.dtype for c in columns]


MALFORMED = [
    (
        "wrong type",
        example(age=b"7"),
        "wrong_type",
        "column 'age' holds a bytes_list, expected a int64_list for INT32",
    ),
    ("float for text", example(name=1.5), "wrong_type", "column 'name' holds a float_list"),
    ("two values", example(age=[1, 2]), "value_count", "column 'age' holds 2 values, expected one"),
    ("too large", example(age=2**31), "overflow", "column 'age' holds 2147483648, expected INT32"),
    ("not a number", example(price=float("nan")), "non_finite", "column 'price' holds nan, expected FLOAT"),
    ("infinity", example(price=float("-inf")), "non_finite", "column 'price' holds -inf"),
    ("no example", b"\xff\xff\xff", "bad_record", "the record's 3 bytes are not a tf.train.Example"),
    ("text", b"1,ann,0.5", "bad_record", "the record's 9 bytes are not a tf.train.Example"),
    ("empty record", b"", "bad_record", "the record's 0 bytes are not a tf.train.Example"),
    ("first of two reasons", example(age=b"7", price=float("nan")), "wrong_type", "column 'age'"),
]


@pytest.mark.parametrize("block_size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("record", "reason", "words"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED]
)
def test_malformed_records(tmp_path, record, reason, words, block_size):
    path = write(tmp_path / "rows.tfrecord", [good(1), record, good(3), record])
    reader = TFRecordReader(COLUMNS, block_size=block_size)
    bad_rows = BadRows("skip", 2, tmp_path / "quarantine.jsonl")
    rows, lines, _ = read(path, reader, bad_rows)
    assert rows == [row(1), row(3)]
    assert lines == [1, 3]
    assert bad_rows.counts == {reason: 2}
    noted = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert [(entry["line"], entry["reason"]) for entry in noted] == [(2, reason), (4, reason)]
    with pytest.raises(DataError) as caught:
        read(path, reader)
    assert str(caught.value).startswith(f"{path}:2: {reason}: ")
    assert words in str(caught.value)


def frame_starts(data):
    starts = [0]
    while starts[-1] < len(data):
        starts.append(starts[-1] + 16 + struct.unpack_from("<Q", data, starts[-1])[0])
    return starts


@pytest.mark.parametrize("block_size", [1, 100, 1 << 20])
@pytest.mark.parametrize(
    ("place", "kept", "detail"),
    [
        (20, [1, 2, 4, 5], "data do not match"),  # inside the data
        (-1, [1, 2, 4, 5], "data do not match"),  # the checksum of the data
        (0, [1, 2, 4, 5], "length does not match"),  # the lowest byte of the length
        (6, [1, 2, 4, 5], "length does not match"),  # a length that no memory has
        (9, [1, 2, 4, 5], "length does not match"),  # the checksum of the length
    ],
)
def test_a_flipped_byte_costs_one_record(tmp_path, place, kept, detail, block_size):
    path = write(tmp_path / "rows.tfrecord", map(good, range(1, 6)))
    data = bytearray(path.read_bytes())
    starts = frame_starts(data)
    at = starts[2] + place if place >= 0 else starts[3] + place
    data[at] ^= 0x40
    path.write_bytes(data)
    reader = TFRecordReader(COLUMNS, block_size=block_size)
    bad_rows = BadRows("skip", 1)
    rows, lines, chunks = read(path, reader, bad_rows)
    assert rows == [row(number) for number in kept]
    assert lines == kept
    assert bad_rows.counts == {"checksum": 1}
    with pytest.raises(DataError, match=rf"rows.tfrecord:3: checksum: the record's {detail}"):
        read(path, reader)
    for chunk in chunks:
        rest = read(path, reader, BadRows("skip", 1), chunk.end)[1]
        assert rest == [line for line in lines if line >= chunk.end.line]


@pytest.mark.parametrize("block_size", [1, 1 << 20])
@pytest.mark.parametrize("cut", [1, 4, 7, 20, 50])
def test_a_cut_file_keeps_the_records_before(tmp_path, cut, block_size):
    path = write(tmp_path / "rows.tfrecord", map(good, range(1, 6)))
    path.write_bytes(path.read_bytes()[:-cut])
    reader = TFRecordReader(COLUMNS, block_size=block_size)
    bad_rows = BadRows("skip", 1)
    assert read(path, reader, bad_rows)[1] == [1, 2, 3, 4]
    assert bad_rows.counts == {"truncated": 1}
    with pytest.raises(
        DataError, match="rows.tfrecord:5: truncated: the file ends [0-9]+ bytes into a record"
    ):
        read(path, reader)


def test_a_file_cut_inside_a_header(tmp_path):
    path = write(tmp_path / "rows.tfrecord", map(good, range(1, 6)))
    data = path.read_bytes()
    path.write_bytes(data[: frame_starts(data)[3] + 5])
    with pytest.raises(DataError, match="rows.tfrecord:4: truncated: the file ends 5 bytes into a record"):
        read(path, TFRecordReader(COLUMNS))


def test_cut_gzip(tmp_path):
    path = write(tmp_path / "rows.gz", map(good, range(1, 2001)), "GZIP")
    path.write_bytes(path.read_bytes()[:-2000])
    bad_rows = BadRows("skip", 1)
    _, lines, _ = read(path, TFRecordReader(COLUMNS, compression="GZIP"), bad_rows)
    assert bad_rows.counts == {"truncated": 1}
    assert lines == list(range(1, len(lines) + 1)) and len(lines) > 1000


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=3),
    block_size=st.sampled_from([1, 64, 300, 1 << 20]),
)
def test_any_damage_costs_no_more_than_the_records_that_it_hits(tmp_path_factory, places, block_size):
    path = write(tmp_path_factory.mktemp("tfrecord") / "rows.tfrecord", map(good, range(1, 21)))
    data = bytearray(path.read_bytes())
    starts = frame_starts(data)
    hit = set()
    for place, flip in places:
        place %= len(data)
        before = data[place]
        data[place] ^= flip
        if data[place] != before:
            hit.add(int(np.searchsorted(starts, place, side="right")))
    path.write_bytes(data)
    bad_rows = BadRows("skip", 3)
    rows, lines, _ = read(path, TFRecordReader(COLUMNS, block_size=block_size), bad_rows)
    # Two hits may undo each other, and neighbours whose lengths are both damaged count as one.
    assert {row(number) for number in range(1, 21) if number not in hit} <= set(rows)
    assert set(rows) <= {row(number) for number in range(1, 21)}
    assert len(lines) + bad_rows.total <= 20
    if hit == {max(hit)}:
        assert bad_rows.total <= 1


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200), block_size=st.sampled_from([1, 1 << 20]))
def test_any_bytes_give_a_data_error_or_nothing(tmp_path_factory, content, block_size):
    path = tmp_path_factory.mktemp("tfrecord") / "rows.tfrecord"
    path.write_bytes(content)
    bad_rows = BadRows("skip", 10)
    assert read(path, TFRecordReader(COLUMNS, block_size=block_size), bad_rows)[0] == []
    assert bool(bad_rows.total) == bool(content)


values = st.fixed_dictionaries(
    {},
    optional={
        "age": st.integers(-(2**31), 2**31 - 1) | st.none() | st.just([]),
        "name": st.binary(max_size=3) | st.none(),
        "price": st.floats(-(2.0**100), 2.0**100, width=32) | st.none(),
        "more": st.integers(0, 5),
    },
)


@settings(max_examples=40, deadline=None)
@given(st.lists(values, min_size=1, max_size=5))
def test_records_one_by_one_are_read_as_in_a_block(records):
    serialized = [example(**record) for record in records]
    columns = [dataclasses.replace(column, mark_empty=True) for column in COLUMNS]
    for kind in (COLUMNS, columns):
        block, empty, bad_block = examples.parse_examples(serialized, kind)
        alone, empty_alone, bad_alone = examples._parse_each(serialized, kind)
        assert not bad_block and not bad_alone
        assert {n: m.tolist() for n, m in empty.items()} == {n: m.tolist() for n, m in empty_alone.items()}
    for column in columns:
        if column.type != "STRING":
            absent = [record.get(column.name) in (None, []) for record in records]
            assert empty[column.name].tolist() == absent
    for column in COLUMNS:
        assert block[column.name].tolist() == alone[column.name].tolist()
        assert block[column.name].dtype == alone[column.name].dtype == column.dtype


def test_a_misspelt_column_is_not_read_as_empty(tmp_path):
    path = write(tmp_path / "rows.tfrecord", map(good, range(3)))
    with pytest.raises(
        DataError, match=r"rows.tfrecord:1: no record has a feature 'nam'; did you mean 'name'\?"
    ):
        read(path, TFRecordReader([Column("nam")]))
    assert read(path, TFRecordReader([Column("nam", default="x")]))[0] == [(b"x",)] * 3


def test_an_optional_label_may_be_missing(tmp_path):
    path = write(tmp_path / "rows.tfrecord", map(good, range(3)))
    _, _, chunks = read(path, TFRecordReader([Column("label", "INT32", required=False), *COLUMNS]))
    assert list(chunks[0].columns) == ["age", "name", "price"]


def test_wrong_compression(tmp_path):
    path = write(tmp_path / "rows.tfrecord", map(good, range(3)))
    with pytest.raises(DataError, match="rows.tfrecord:1: bad_compression: not GZIP data"):
        read(path, TFRecordReader(COLUMNS, compression="GZIP"))
    with pytest.raises(ValueError, match="compression should be '', 'GZIP' or 'ZLIB'"):
        TFRecordReader(COLUMNS, compression="BZIP2")
