"""Which labels and weights a loss can use."""

import numpy as np
import pytest

from easyssl.errors import DataError
from easyssl.training.labels import Labels


class Rows:
    def __init__(self, **columns):
        self.columns = {name: np.array(values) for name, values in columns.items()}
        count = len(next(iter(self.columns.values())))
        self.paths, self.lines = np.array(["a.csv"] * count), np.arange(1, count + 1)


@pytest.mark.parametrize(
    ("limits", "labels", "message"),
    [
        ((0, 1, False), [0.0, 1.0, 2.0], "a.csv:3: label 'y' is 2, expected a number from 0 to 1"),
        ((0, 1, False), [0.0, -1.0], "a.csv:2: label 'y' is -1"),
        ((0, 1, False), [float("nan"), 1.0], "a.csv:1: label 'y' is nan"),
        ((0, 2, True), [0, 1, 3], "a.csv:3: label 'y' is 3, expected a whole number from 0 to 2"),
        ((0, 2, True), [0.0, 1.5], "a.csv:2: label 'y' is 1.5, expected a whole number from 0 to 2"),
        (None, [float("inf")], "a.csv:1: label 'y' is inf, expected a number"),
    ],
)
def test_a_label_that_the_loss_cannot_use_is_told_with_its_line(limits, labels, message):
    found = Labels(["y"], limits=limits and {"y": limits})
    with pytest.raises(DataError) as error:
        found.labels(Rows(y=labels))
    assert str(error.value).startswith(message)


def test_labels_within_the_limits_pass():
    values = Labels(["y"], limits={"y": (0, 1, False)}).labels(Rows(y=[0.0, 0.25, 1.0]))
    np.testing.assert_array_equal(values["y"], np.float32([0, 0.25, 1]))


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_a_weight_must_be_finite_and_not_negative(weight):
    with pytest.raises(DataError, match="a.csv:2: column 'w' has .*, expected a finite weight of at least 0"):
        Labels(["y"], weight="w").weights(Rows(y=[0.0, 1.0], w=[1.0, weight]))
