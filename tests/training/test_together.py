"""Workers with rows of their own: the same steps, and one position in the data."""

import dataclasses
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.data.cursor import Cursor
from easyssl.data.dataset import Dataset
from easyssl.data.readers.csv import CsvReader
from easyssl.data.rows import Column
from easyssl.errors import DataError, TrainingError
from easyssl.training.pipeline import Batch, Share, filled
from easyssl.training.together import Together, whole_cursor, worker_cursor

COLUMNS = [Column("id", "INT64")]


def dataset(files, worker=0, workers=1, **options):
    reader = CsvReader(COLUMNS, block_size=64)
    per_worker = options.pop("batch_size") // workers
    return Dataset(reader, files, per_worker, seed=7, worker_index=worker, num_workers=workers, **options)


def write(folder, counts):
    files, start = [], 0
    for number, count in enumerate(counts):
        path = folder / f"{number}.csv"
        path.write_text("".join(f"{row}\n" for row in range(start, start + count)))
        files.append(str(path))
        start += count
    return files


class Group:
    """Threads that act as workers, in place of the processes' all-reduce."""

    def __init__(self, workers):
        self.workers = workers
        self.barrier = threading.Barrier(workers, timeout=20)
        self.said = [None] * workers

    def device(self, index):
        return Member(self, index)


@dataclasses.dataclass
class Member:
    group: Group
    worker: int

    @property
    def workers(self):
        return self.group.workers

    def total(self, numbers):
        self.group.said[self.worker] = dict(numbers)
        self.group.barrier.wait()
        sums = {name: float(sum(said[name] for said in self.group.said)) for name in numbers}
        self.group.barrier.wait()
        return sums


def ready(raw):
    return Batch(raw, {}, {}, None, shares=(Share({}, len(raw), len(raw)),))


def without(bad):
    """Returns a preparation that leaves some ids out."""

    def prepare(raw):
        kept = ~np.isin(raw.columns["id"], bad)
        columns = {"id": raw.columns["id"][kept]}
        raw = dataclasses.replace(raw, columns=columns, lines=raw.lines[kept], paths=raw.paths[kept])
        return ready(raw) if len(raw) else Batch(raw, {}, {}, None)

    return prepare


def run_workers(files, workers, start, batch_size, prepare=ready, **options):
    """Returns for each step the rows of all workers, what they think of it, and the workers' errors."""
    group, steps, errors = Group(workers), [], [None] * workers
    found = [[] for _ in range(workers)]

    def work(index):
        own = dataset(files, index, workers, batch_size=batch_size, **options)
        begin = worker_cursor(start, index, workers, own.fingerprint()) if start.data or start.rows else start
        try:
            together = Together(
                map(prepare, own.batches(begin)),
                lambda: next(filled(map(prepare, own.batches())), None),
                group.device(index),
                start,
                batch_size,
                options.get("drop_remainder", False),
            )
            for batch in together:
                rows = list(batch.raw.columns["id"]) if batch.shares[0].rows else []
                found[index].append((rows, batch.whole))
                together.agree({"stop": False})
        except Exception as error:
            errors[index] = error

    threads = [threading.Thread(target=work, args=(index,)) for index in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    for parts in zip(*found, strict=False):
        rows = sorted(row for part, _ in parts for row in part)
        assert all(whole.rows == len(rows) for _, whole in parts)
        steps.append((rows, parts[0][1].cursor))
    assert len({len(each) for each in found}) == 1 or any(errors)
    return steps, errors


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_workers_have_the_steps_and_the_positions_of_one(tmp_path_factory, data):
    counts = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3), label="rows")
    workers = data.draw(st.integers(2, 3), label="workers")
    options = {
        "shuffle": data.draw(st.booleans(), label="shuffle"),
        "shuffle_buffer_size": 10,
        "num_epochs": 2,
        "batch_size": workers * data.draw(st.integers(1, 4), label="rows per worker"),
        "drop_remainder": data.draw(st.booleans(), label="drop"),
    }
    files = write(tmp_path_factory.mktemp("rows"), counts)
    one = dataset(files, **options)
    begin = Cursor(data=one.fingerprint())
    try:
        expected = list(one.batches())
    except DataError:
        expected = []
    if not expected:
        return
    steps, errors = run_workers(files, workers, begin, **options)
    if any(errors):
        assert sum(counts) < workers  # a worker without a single row of its own
        return
    assert [rows for rows, _ in steps] == [sorted(batch.columns["id"]) for batch in expected]
    middle = data.draw(st.integers(0, len(steps) - 1), label="stop after")
    cursor = steps[middle][1]
    rest = [sorted(batch.columns["id"]) for batch in expected[middle + 1 :]]
    assert [sorted(batch.columns["id"]) for batch in one.batches(cursor)] == rest
    again, errors = run_workers(files, workers, cursor, **options)
    assert not any(errors) and [rows for rows, _ in again] == rest


def test_more_workers_than_rows_are_told(tmp_path):
    files = write(tmp_path, [2])
    options = {"batch_size": 3, "num_epochs": 1}
    _, errors = run_workers(files, 3, Cursor(data="x"), **options)
    assert all(isinstance(error, TrainingError) for error in errors)
    assert all("more workers" in str(error) for error in errors)


def test_an_error_of_one_ends_all(tmp_path):
    files = write(tmp_path, [8])
    (tmp_path / "0.csv").write_text("".join(["0\n", "1\n", "2\n", "x\n"]))
    _, errors = run_workers(files, 2, Cursor(data="x"), batch_size=4, num_epochs=1)
    assert any(isinstance(error, DataError) for error in errors) and all(errors)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_positions_of_workers_add_up(workers):
    start = Cursor(epoch=1, batch=3, rows=30, data="d")
    own = [worker_cursor(start, worker, workers, "e") for worker in range(workers)]
    assert sum(cursor.rows for cursor in own) == 30
    assert whole_cursor(own[0], start) == start


@pytest.mark.parametrize("bad", [[], [0], [5], [0, 2, 4], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]])
def test_rows_that_are_left_out_keep_the_order_of_the_others(tmp_path, bad):
    files, workers = write(tmp_path, [11]), 2
    options = {"batch_size": 4, "num_epochs": 2, "prepare": without(bad)}
    one = dataset(files, batch_size=4, num_epochs=2)
    expected = [sorted(set(batch.columns["id"].tolist()) - set(bad)) for batch in one.batches()]
    expected = [rows for rows in expected if rows]
    steps, errors = run_workers(files, workers, Cursor(data=one.fingerprint()), **options)
    assert not any(errors)
    assert [rows for rows, _ in steps] == expected
    for middle, (_, cursor) in enumerate(steps):
        again, errors = run_workers(files, workers, cursor, **options)
        if errors != [None] * workers:  # nothing is left that could be a step
            assert middle == len(steps) - 1
        assert [rows for rows, _ in again] == expected[middle + 1 :]


def test_a_worker_without_a_row_that_can_stay_ends_all(tmp_path):
    files = write(tmp_path, [8])
    for epochs, kind in ((1, TrainingError), (0, DataError)):
        options = {"batch_size": 4, "num_epochs": epochs, "prepare": without([1, 3, 5, 7])}
        _, errors = run_workers(files, 2, Cursor(data="x"), **options)
        assert all(errors) and any(isinstance(error, kind) for error in errors)
