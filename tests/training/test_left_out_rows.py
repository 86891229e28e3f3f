"""Rows with a cell that a feature cannot read, where such rows may be left out."""

import dataclasses

import numpy as np
import pytest

from easyssl.data.features.types import Buckets, FeatureSpec
from easyssl.data.quarantine import BadRows
from easyssl.data.transform import FeatureTransform
from easyssl.errors import DataError
from easyssl.training.pipeline import Preparation


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
