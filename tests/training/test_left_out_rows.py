"""Rows with a cell that a feature cannot read, where such rows may be left out."""

import dataclasses
import io
import itertools

import numpy as np
import pytest

from easyssl.data.cursor import Cursor
from easyssl.data.features.types import Buckets, FeatureSpec
from easyssl.data.quarantine import BadRows
from easyssl.data.transform import FeatureTransform
from easyssl.errors import DataError
from easyssl.training import Evaluator, train
from easyssl.training.checkpoint import CheckpointFolder
from easyssl.training.devices import Devices
from easyssl.training.pipeline import Prefetcher, Preparation, filled
from easyssl.training.placement import Placement
from easyssl.training.setup import build_model


@dataclasses.dataclass(frozen=True)
class Rows:
    columns: dict
    lines: np.ndarray
    paths: np.ndarray
    cursor: int = 0

    def __len__(self):
        return len(self.lines)


def rows(*cells):
    count = len(cells)
    return Rows({"id": np.array(cells, object)}, np.arange(1, count + 1), np.array(["a.csv"] * count, object))


def preparation(bad_rows):
    spec = FeatureSpec("id", "IdFeature", ("id",), buckets=Buckets("integer", 10))
    return Preparation(FeatureTransform({"id": spec}, {"id": "STRING"}), None, bad_rows)


def test_only_the_row_itself_is_left_out(tmp_path):
    bad_rows = BadRows("skip", limit=5, quarantine=tmp_path / "q.jsonl")
    batch = preparation(bad_rows)(rows(b"1", b"x", b"3", b"y", b"5"))
    np.testing.assert_array_equal(batch.features["id"], [1, 3, 5])
    np.testing.assert_array_equal(batch.raw.lines, [1, 3, 5])
    assert batch.rows == 3 and bad_rows.counts == {"bad_cell": 2}
    assert len((tmp_path / "q.jsonl").read_text().splitlines()) == 2


def test_more_than_allowed_stop_the_run():
    with pytest.raises(DataError, match="a.csv:4: bad_cell: .*malformed row number 2 .* allows 1"):
        preparation(BadRows("skip", limit=1))(rows(b"1", b"x", b"3", b"y"))


@pytest.mark.parametrize("bad_rows", [None, BadRows()])
def test_without_leave_the_first_one_stops_the_run(bad_rows):
    with pytest.raises(DataError, match="^a.csv:2: feature 'id': column 'id' has 'x'"):
        preparation(bad_rows)(rows(b"1", b"x"))


@pytest.mark.parametrize("cells", [(b"x",), (b"x", b"y", b"z")])
def test_a_batch_of_bad_rows_has_no_row_but_its_position(cells):
    bad_rows = BadRows("skip", limit=5)
    given = dataclasses.replace(rows(*cells), cursor=Cursor(epoch=2, batch=3))
    batch = Placement(preparation(bad_rows), Devices())(given)
    assert batch.rows == 0 and batch.features == {} and batch.cursor == Cursor(epoch=2, batch=3)
    assert bad_rows.counts == {"bad_cell": len(cells)}


def test_the_batches_with_rows_come_in_order():
    prepare = preparation(BadRows("skip", limit=5))
    cells = [b"x", b"1", b"y", b"z", b"2", b"w"]
    batches = [dataclasses.replace(rows(cell), cursor=Cursor(batch=i)) for i, cell in enumerate(cells)]
    with Prefetcher(batches, prepare, 2) as prefetched:
        found = [(int(batch.features["id"][0]), batch.cursor.batch) for batch in filled(prefetched)]
    assert found == [(1, 1), (2, 4)]


def test_endless_data_of_bad_rows_is_told():
    prepare = preparation(BadRows("skip", limit=1))
    endless = (dataclasses.replace(rows(b"x"), cursor=Cursor(epoch)) for epoch in itertools.count(1))
    with pytest.raises(DataError, match="all rows of the data are malformed"):
        next(filled(map(prepare, endless)))


SKIP = ("data_config.malformed_rows=SKIP", "data_config.max_malformed_rows=30", "export_config={}")


def job(case, run, cells, *overrides):
    """Returns a config over whole numbers as users, for files with some cells in their place."""
    for name, seed in (("train", 0), ("eval", 1)):
        lines = []
        for number, cell in enumerate(cells):
            user = (number * 7 + seed) % 50 if cell is None else cell
            if user != "gone":
                lines.append(f"{number % 2},{user},i{number},{number / 10},i{number}|i3\n")
        (case.folder / f"{run}-{name}.csv").write_text("".join(lines))
    text = case.small.replace("hash_bucket_size: 50", "num_buckets: 50")
    assert text != case.small
    paths = [f"{name}_input_path={case.folder / f'{run}-{name}.csv'}" for name in ("train", "eval")]
    return case.config(*SKIP, *paths, *overrides, text=text, run=run)


def weights_of(case, run):
    with CheckpointFolder(case.folder / run / "ckpt").latest().arrays("weights") as stored:
        return {name: stored[name] for name in stored}


# One at the start, two in a row, a whole batch of three and one at the end.
BAD = {0, 4, 5, 9, 10, 11, 23}


@pytest.mark.parametrize("batch_size", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_training_goes_on_behind_bad_rows_and_from_any_checkpoint(case, batch_size):
    cells = ["x" if number in BAD else None for number in range(24)]
    options = (
        f"data_config.batch_size={batch_size}",
        "data_config.num_epochs=2",
        "data_config.shuffle=false",
    )
    limit = "train_config.num_steps={}"
    steps = 2 * len({number // batch_size for number in set(range(24)) - BAD})
    result = train(job(case, "whole", cells, *options, limit.format(1000)), stream=io.StringIO())
    assert (result.step, result.reason) == (steps, "data")
    for stop in (1, 6, 1000):
        parts = job(case, "parts", cells, *options, limit.format(stop))
        assert train(parts, stream=io.StringIO(), allow_config_change=True).step == min(stop, steps)
    for name, value in weights_of(case, "whole").items():
        np.testing.assert_array_equal(weights_of(case, "parts")[name], value, err_msg=name)
    if batch_size == 1:  # as if the rows had never been there
        gone = job(case, "gone", ["gone" if cell else None for cell in cells], *options, limit.format(1000))
        train(gone, stream=io.StringIO())
        for name, value in weights_of(case, "gone").items():
            np.testing.assert_array_equal(weights_of(case, "whole")[name], value, err_msg=name)


def test_evaluation_passes_over_batches_without_rows(case):
    cells = ["x" if number in BAD else None for number in range(24)]
    found = []
    for size in (1, 3, 24):
        config = job(case, "eval", cells, f"data_config.batch_size={size}")
        model = build_model(config)
        model.set_weights([np.full(w.shape, 0.1, w.dtype.as_numpy_dtype) for w in model.weights])
        found.append(Evaluator.from_config(config, model).run())
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-5)
