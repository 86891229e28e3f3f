"""Checks file names and byte streams."""

import gzip
import zlib

import pytest

from easyssl.data.files import ByteStream, compression_of, expand_files
from easyssl.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("day1/a.csv", "day1/b.csv", "day1/_SUCCESS", "day2/c.csv", "rows[1].csv", "all.tar.gz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        ("day1/a.csv", ["day1/a.csv"]),
        ("day1/*", ["day1/a.csv", "day1/b.csv"]),
        ("day2/*.csv, day1/b.csv,", ["day2/c.csv", "day1/b.csv"]),
        ("**/*.csv", ["day1/a.csv", "day1/b.csv", "day2/c.csv", "rows[1].csv"]),
        ("rows[1].csv", ["rows[1].csv"]),
        (["day1/b.csv", "day1/*.csv"], ["day1/b.csv", "day1/a.csv"]),
    ],
)
def test_patterns(folder, patterns, wanted):
    assert expand_files(patterns, resolve=lambda name: str(folder / name)) == [
        str(folder / name) for name in wanted
    ]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("day1/aa.csv", "no file matches 'day1/aa.csv' in '{}/day1'; did you mean 'a.csv'?"),
        ("day3/a.csv", "no file matches 'day3/a.csv': there is no folder '{}/day3'; did you mean 'day"),
        ("day1/_SUCCESS", "no file matches 'day1/_SUCCESS'"),
        ("day1", "'day1' is a folder; name its files, such as 'day1/*'"),
        ("all.tar.gz", "all.tar.gz' is a tar archive; unpack it first"),
        ("", "no file is named"),
        (" , ", "no file is named"),
    ],
)
def test_names_that_stand_for_nothing(folder, pattern, words):
    with pytest.raises(DataError) as caught:
        expand_files(pattern, "x.config:3:1", lambda name: str(folder / name))
    assert str(caught.value).startswith("x.config:3:1: ")
    assert words.format(folder) in str(caught.value)


def test_relative_names_start_from_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert expand_files("day2/*") == ["day2/c.csv"]
    with pytest.raises(DataError, match=r"no file matches 'all.tar' in '.'; did you mean 'all.tar.gz'"):
        expand_files("all.tar")


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_a_stream_reads_and_seeks(tmp_path, compression):
    data = bytes(range(256)) * 1000
    packed = {"": data, "GZIP": gzip.compress(data), "ZLIB": zlib.compress(data)}[compression]
    path = tmp_path / "data"
    path.write_bytes(packed)
    with ByteStream(str(path), compression) as stream:
        assert stream.read(1000) == data[:1000]
        stream.seek(100_000)
        assert stream.read(10) == data[100_000:100_010]
        stream.seek(5)
        assert stream.read(10) == data[5:15]
        stream.seek(len(data) - 3)
        assert stream.read(10) == data[-3:]
        assert stream.read(10) == b""
        stream.seek(len(data) + 10)
        assert stream.read(10) == b""
        assert stream.damage is None


def test_compression_goes_by_the_name():
    assert compression_of("a.csv.gz") == "GZIP"
    assert compression_of("a.csv") == ""
    assert compression_of("a.gz", "ZLIB") == "ZLIB"
