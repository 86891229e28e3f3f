"""Checks the order of rows in batches, sharding, and going on from any batch."""

import collections
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.data import BadRows, Column, Cursor, Dataset
from easyssl.data.readers.csv import CsvReader
from easyssl.errors import DataError

COLUMNS = (Column("id", "INT64"), Column("text"))


def write_files(folder, sizes, bad_every=0):
    """Writes files of rows with the ids 0, 1, 2, ...; returns them and the ids of good rows."""
    files, good, number = [], [], 0
    for index, size in enumerate(sizes):
        lines = []
        for _ in range(size):
            bad = bad_every and number % bad_every == 0
            lines.append(f"{number},row {number}" + (",more" if bad else ""))
            good += [] if bad else [number]
            number += 1
        path = folder / f"part-{index}.csv"
        path.write_text("".join(line + "\n" for line in lines))
        files.append(str(path))
    return files, good


def make(files, batch_size=4, block_size=60, bad_rows=None, **settings):
    return Dataset(
        CsvReader(COLUMNS, block_size=block_size), files, batch_size, bad_rows=bad_rows, **settings
    )


def ids(batches):
    return [batch.columns["id"].tolist() for batch in batches]


def flat(batches):
    return [number for batch in ids(batches) for number in batch]


def test_one_pass_in_order_keeps_the_last_batch(tmp_path):
    files, _ = write_files(tmp_path, [5, 0, 5])
    batches = list(make(files).batches())
    assert ids(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[1].lines.tolist() == [5, 1, 2, 3]
    assert batches[1].paths.tolist() == [files[0], *[files[2]] * 3]
    assert batches[1].columns["text"].tolist() == [b"row 4", b"row 5", b"row 6", b"row 7"]
    assert [(b.cursor.epoch, b.cursor.batch, b.cursor.rows) for b in batches] == [
        (0, 1, 4),
        (0, 2, 8),
        (1, 0, 0),
    ]
    assert ids(make(files, drop_remainder=True).batches()) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_every_epoch_has_every_row_once_in_an_order_of_its_own(tmp_path):
    files, good = write_files(tmp_path, [30, 7, 50])
    batches = list(make(files, shuffle=True, shuffle_buffer_size=20, num_epochs=3).batches())
    rows = flat(batches)
    epochs = [rows[start : start + 87] for start in range(0, 261, 87)]
    assert all(sorted(epoch) == good for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, good]}) == 4
    assert [len(batch) for batch in batches] == [*[4] * 21, 3] * 3


def test_order_depends_on_the_seed_alone(tmp_path):
    files, _ = write_files(tmp_path, [30, 30])
    settings = {"shuffle": True, "shuffle_buffer_size": 20}
    assert flat(make(files, **settings).batches()) == flat(make(files, **settings).batches())
    assert flat(make(files, **settings).batches()) != flat(make(files, seed=1, **settings).batches())


def test_rows_mix_within_the_buffer(tmp_path):
    files, _ = write_files(tmp_path, [1000])
    rows = np.array(flat(make(files, shuffle=True, shuffle_buffer_size=1000).batches()))
    # The mean distance of a row from its place is a third of the window for a uniform permutation.
    assert 290 < np.abs(rows - np.arange(1000)).mean() < 375


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_going_on_from_any_cursor_gives_the_remaining_batches(tmp_path_factory, data):
    sizes = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=4), label="sizes")
    bad_every = data.draw(st.sampled_from([0, 2, 7]), label="bad_every")
    num_workers = data.draw(st.integers(1, 3), label="workers")
    settings = {
        "batch_size": data.draw(st.integers(1, 9), label="batch_size"),
        "block_size": data.draw(st.sampled_from([20, 100, 1000]), label="block_size"),
        "shuffle": data.draw(st.booleans(), label="shuffle"),
        "shuffle_buffer_size": data.draw(st.integers(0, 40), label="buffer"),
        "num_epochs": data.draw(st.integers(1, 3), label="epochs"),
        "num_workers": num_workers,
        "worker_index": data.draw(st.integers(0, num_workers - 1), label="worker"),
        "file_shard": data.draw(st.booleans(), label="file_shard"),
    }
    files, good = write_files(tmp_path_factory.mktemp("rows"), sizes, bad_every)
    if not good:
        return
    try:
        whole = list(make(files, bad_rows=BadRows("skip", 200), **settings).batches())
    except DataError as error:  # a worker whose only files are empty
        assert settings["file_shard"] and "have no" in str(error)
        return
    assert len({json.dumps(batch.cursor.as_dict()) for batch in whole}) == len(whole)
    for place, batch in enumerate(whole):
        cursor = Cursor.from_dict(json.loads(json.dumps(batch.cursor.as_dict())))
        plain = Cursor(cursor.epoch, cursor.batch, cursor.rows)
        for position in (cursor, plain):
            rest = list(make(files, bad_rows=BadRows("skip", 200), **settings).batches(position))
            assert [b.cursor for b in rest] == [b.cursor for b in whole[place + 1 :]]
            assert [(b.columns["id"].tolist(), b.lines.tolist(), b.paths.tolist()) for b in rest] == [
                (b.columns["id"].tolist(), b.lines.tolist(), b.paths.tolist()) for b in whole[place + 1 :]
            ]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("num_workers", [2, 3, 4])
def test_batches_of_workers_are_those_of_one(tmp_path, num_workers, shuffle):
    files, _ = write_files(tmp_path, [50, 11, 35])
    settings = {"shuffle": shuffle, "shuffle_buffer_size": 25, "num_epochs": 2}
    whole = ids(make(files, 4 * num_workers, **settings).batches())
    shares = [
        ids(make(files, 4, num_workers=num_workers, worker_index=worker, **settings).batches())
        for worker in range(num_workers)
    ]
    assert len({len(share) for share in shares}) == 1
    for number, batch in enumerate(whole):
        assert sorted(row for share in shares for row in share[number]) == sorted(batch)


def test_workers_may_split_files(tmp_path):
    files, good = write_files(tmp_path, [5, 6, 7, 8, 9])
    sharded = [make(files, shuffle=True, num_workers=2, worker_index=w, file_shard=True) for w in range(2)]
    assert sorted(flat(sharded[0].batches()) + flat(sharded[1].batches())) == good
    assert sorted(sharded[0].epoch_files(3) + sharded[1].epoch_files(3)) == sorted(files)
    assert len({tuple(sharded[0].epoch_files(epoch)) for epoch in range(20)}) > 1


def test_endless_epochs(tmp_path):
    files, good = write_files(tmp_path, [6])
    batches = make(files, 4, shuffle=True, num_epochs=0).batches()
    rows = [number for _ in range(20) for number in next(batches).columns["id"].tolist()]
    assert collections.Counter(rows) == collections.Counter(good * 10)


def test_malformed_rows_cost_no_good_row(tmp_path):
    files, good = write_files(tmp_path, [20, 20], bad_every=7)
    bad_rows = BadRows("skip", 6)
    assert flat(make(files, num_epochs=2, bad_rows=bad_rows).batches()) == good * 2
    assert bad_rows.counts == {"column_count": 6}
    with pytest.raises(DataError, match="part-0.csv:1: column_count"):
        list(make(files).batches())


def test_a_cursor_of_other_data_is_refused(tmp_path):
    files, _ = write_files(tmp_path, [20, 20])
    settings = {"shuffle": True, "shuffle_buffer_size": 10}
    cursor = next(make(files, **settings).batches()).cursor
    list(make(files, batch_size=7, **settings).batches(cursor))
    changed = [
        make(files[:1], **settings),
        make(files, seed=1, **settings),
        make(files, num_workers=2, **settings),
        make(files),
    ]
    for dataset in changed:
        with pytest.raises(DataError, match="the saved position in the data does not fit"):
            next(dataset.batches(cursor))
    with open(files[0], "a") as handle:
        handle.write("99,more\n")
    with pytest.raises(DataError, match="the saved position in the data does not fit"):
        next(make(files, **settings).batches(cursor))


def test_marks_of_empty_cells_stay_with_their_rows(tmp_path):
    """Whatever shuffling and batching do, across files of which only one has empty cells."""
    (tmp_path / "a.csv").write_text("".join(f"{n},{n if n % 3 else ''}\n" for n in range(30)))
    (tmp_path / "b.csv").write_text("".join(f"{n},{n}\n" for n in range(30, 45)))
    columns = [Column("id", "INT64"), Column("clk", "INT64", mark_empty=True)]
    reader = CsvReader(columns, block_size=60)
    files = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    dataset = Dataset(reader, files, 7, shuffle=True, shuffle_buffer_size=20)
    empty = {}
    for batch in dataset.batches():
        marks = batch.empty.get("clk", np.zeros(len(batch), bool))
        empty |= dict(zip(batch.columns["id"].tolist(), marks.tolist(), strict=True))
    assert empty == {n: n < 30 and n % 3 == 0 for n in range(45)}


def test_empty_labels_are_told_once(tmp_path):
    (tmp_path / "a.csv").write_text("0,1\n1,\n2,\n")
    columns = [Column("id", "INT64", mark_empty=True), Column("clk", "INT64", mark_empty=True)]
    said = []
    path = str(tmp_path / "a.csv")
    dataset = Dataset(CsvReader(columns), [path], 2, num_epochs=3, targets=["clk"], warn=said.append)
    assert len(list(dataset.batches())) == 6
    (text,) = said
    assert text.startswith(f"{path}:2: column 'clk' is empty in 2 of 3 rows, here first; ")


def test_a_batch_of_one_domain_is_told_once(tmp_path):
    rows = [f"{n},{domain}\n" for n, domain in enumerate(["a", "b"] * 4 + ["b"] * 6)]
    (tmp_path / "a.csv").write_text("".join(rows))
    said = []
    path = str(tmp_path / "a.csv")
    columns = [Column("id", "INT64"), Column("domain", "STRING")]
    dataset = Dataset(CsvReader(columns), [path], 3, num_epochs=2, mixed="domain", warn=said.append)
    assert len(list(dataset.batches())) == 10
    (text,) = said
    assert text.startswith(f"{path}:10: all 3 rows of a training batch that begins here have the domain 'b'")


def test_no_rows_is_an_error(tmp_path):
    empty, _ = write_files(tmp_path, [0, 0])
    with pytest.raises(DataError, match=r"part-0.csv and 1 more file have no rows, expected at least one"):
        list(make(empty).batches())
    bad, _ = write_files(tmp_path, [3], bad_every=1)
    with pytest.raises(DataError, match=r"part-0.csv has no good rows \(3 malformed\)"):
        list(make(bad, bad_rows=BadRows("skip", 3)).batches())


def test_endless_epochs_without_a_batch_are_an_error(tmp_path):
    files, _ = write_files(tmp_path, [2])
    with pytest.raises(DataError, match="worker 2 of 3 gets no batch from .*part-0.csv: too few rows"):
        list(make(files, num_epochs=0, num_workers=3, worker_index=2).batches())
    with pytest.raises(DataError, match="too few rows or files for batches of 4"):
        list(make(files, num_epochs=0, drop_remainder=True).batches())


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="none.csv: cannot be opened: No such file"):
        list(make([str(tmp_path / "none.csv")]).batches())


@pytest.mark.parametrize(
    "settings", [{"batch_size": 0}, {"worker_index": 1}, {"num_epochs": -1}, {"seed": -1}, {"num_workers": 0}]
)
def test_arguments_out_of_range(settings):
    with pytest.raises(ValueError, match="Received: "):
        make([], **settings)
