"""Measures how many rows a second the readers give: 20 columns, two of them sequences of 50 steps.

Usage: python benchmarks/read_rows.py [rows]

Prints rows per second of wall-clock time and of processor time for each format; on a machine with other work
the second is the one to compare.
"""

from __future__ import annotations

import gzip
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sized

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from easyssl.data import BadRows, Column, Dataset
from easyssl.data.readers.csv import CsvReader

INTEGERS, TEXTS = 12, 5
COLUMNS = (
    *(Column(f"id_{number}", "INT64") for number in range(INTEGERS)),
    *(Column(f"text_{number}") for number in range(TEXTS)),
    Column("items"),
    Column("brands"),
    Column("price", "FLOAT"),
)


def make_rows(count: int) -> Iterator[list[str]]:
    """Yields rows of made-up cells."""
    random = np.random.default_rng(0)
    for _ in range(count):
        plain = random.integers(0, 10 ** random.integers(1, 8), INTEGERS + TEXTS).astype(str)
        steps = ("|".join(random.integers(1000, 400_000, 50).astype(str)) for _ in range(2))
        yield [*plain, *steps, f"{random.random():.14f}"]


def write_tfrecord(path: pathlib.Path, rows: list[list[str]]) -> None:
    """Writes the rows as tf.train.Example records."""
    import tensorflow as tf

    def feature(column: Column, cell: str) -> tf.train.Feature:
        if column.type == "INT64":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(cell)]))
        if column.type == "FLOAT":
            return tf.train.Feature(float_list=tf.train.FloatList(value=[float(cell)]))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[cell.encode()]))

    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            features = {c.name: feature(c, cell) for c, cell in zip(COLUMNS, row, strict=True)}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def write_parquet(path: pathlib.Path, rows: list[list[str]]) -> None:
    """Writes the rows as Parquet."""
    import pyarrow
    import pyarrow.parquet

    convert = {"INT64": int, "FLOAT": float, "STRING": str}
    table = {
        column.name: [convert[column.type](row[place]) for row in rows]
        for place, column in enumerate(COLUMNS)
    }
    pyarrow.parquet.write_table(pyarrow.table(table), path)


def report(name: str, count: int, read: Callable[[], Iterable[Sized]]) -> None:
    """Reads everything three times and prints the best speeds."""
    seconds = []
    for _ in range(3):
        wall, processor = time.perf_counter(), time.process_time()
        found = sum(map(len, read()))
        seconds.append((time.perf_counter() - wall, time.process_time() - processor))
        if found != count:
            raise SystemExit(f"{name}: {found} rows, expected {count}")
    walls, processors = zip(*seconds, strict=True)
    print(f"{name:42} {count / min(walls):10,.0f} {count / min(processors):14,.0f}")


def main() -> None:
    """Writes the files and reports on each."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    rows = list(make_rows(count))
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        plain = "".join(",".join(row) + "\n" for row in rows)
        (root / "plain.csv").write_text(plain)
        (root / "plain.csv.gz").write_bytes(gzip.compress(plain.encode(), 3))
        for row in rows[::10]:
            row[INTEGERS] = f'"a ""{row[INTEGERS]}"""'
        quoted = "".join(",".join(row) + "\n" for row in rows)
        (root / "quoted.csv").write_text(quoted)
        csv_reader = CsvReader(COLUMNS)

        print(f"{count} rows, {len(plain) / count:.0f} bytes each\n{'':42} {'rows/s':>10} {'rows/CPU s':>14}")
        for label, name in (
            ("CSV", "plain.csv"),
            ("CSV, a quoted cell in every tenth row", "quoted.csv"),
            ("CSV, gzip", "plain.csv.gz"),
        ):
            report(label, count, lambda name=name: csv_reader.read(str(root / name), BadRows()))
        files = [str(root / "plain.csv")]
        report("CSV, batches of 1024", count, Dataset(csv_reader, files, 1024).batches)
        shuffled = Dataset(csv_reader, files, 1024, shuffle=True, shuffle_buffer_size=10_000)
        report("CSV, batches of 1024, shuffled", count, shuffled.batches)

        from easyssl.data.readers.parquet import ParquetReader
        from easyssl.data.readers.tfrecord import TFRecordReader

        write_parquet(root / "rows.parquet", rows)
        report("Parquet", count, lambda: ParquetReader(COLUMNS).read(str(root / "rows.parquet"), BadRows()))
        write_tfrecord(root / "rows.tfrecord", rows)
        report(
            "TFRecord", count, lambda: TFRecordReader(COLUMNS).read(str(root / "rows.tfrecord"), BadRows())
        )


if __name__ == "__main__":
    main()
