"""What losses read of raw columns."""

import numpy as np
import pytest

from easyssl.data.loss_columns import LossColumn
from easyssl.training.labels import Labels


class Rows:
    def __init__(self, **columns):
        self.columns = {name: np.asarray(values) for name, values in columns.items()}
        self.paths, self.lines = ["a.csv"] * 4, [1, 2, 3, 4]


TEXTS = np.array([b"b", b"a", b"b", "\u4e2d".encode()], object)


def test_rows_of_equal_cells_are_a_group():
    for cells in (TEXTS, np.array([7, -(2**60), 7, 0]), np.array([0.5, 2.0, 0.5, 1e30])):
        groups = LossColumn("c").read(cells)
        assert groups.dtype == np.int64 and groups.tolist() == [0, 1, 0, 2]
    assert LossColumn("c").read(TEXTS[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("cells", "text", "expected"),
    [
        (TEXTS, "b", [1, 0, 1, 0]),
        (TEXTS, "\u4e2d", [0, 0, 0, 1]),
        (np.array([3, 30, 0, 3]), "3", [1, 0, 0, 1]),
        (np.array([3.0, 2.5, 0.0, 3.0], np.float32), "3", [1, 0, 0, 1]),
        (np.array([3.0, 2.5, 0.0, 3.0], np.float32), "2.5", [0, 1, 0, 0]),
    ],
)
def test_cells_are_compared_as_text(cells, text, expected):
    found = LossColumn("c", text).read(cells)
    assert found.dtype == np.float32 and found.tolist() == expected


def test_labels_bring_them_along():
    columns = (LossColumn("user"), LossColumn("user", "b"))
    labels = Labels(["y"], weight="w", loss_columns=columns)
    assert labels.columns == ("y", "user", "w")
    found = labels.labels(Rows(y=[0.0, 1.0, 0.0, 1.0], user=TEXTS, w=[1.0] * 4))
    assert {name: values.tolist() for name, values in found.items()} == {
        "y": [0, 1, 0, 1],
        "user/group": [0, 1, 0, 2],
        "user=b": [1, 0, 1, 0],
    }
