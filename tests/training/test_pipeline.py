"""The thread that prepares batches, and what it makes of labels and weights."""

import threading
import types

import numpy as np
import pytest

from easyssl.errors import DataError
from easyssl.training.labels import Labels, place_of_all
from easyssl.training.pipeline import Prefetcher


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_come_prepared_and_in_order():
    with Prefetcher(range(50), lambda x: x * x, capacity=3) as items:
        assert list(items) == [x * x for x in range(50)]
    assert not prefetch_threads()


@pytest.mark.parametrize("capacity", [1, 4, 100])
def test_leaving_early_ends_the_thread(capacity):
    made = []

    def endless():
        number = 0
        while True:
            yield number
            number += 1

    with Prefetcher(endless(), made.append, capacity) as items:
        for count, _ in enumerate(items):
            if count == 5:
                break
    assert not prefetch_threads()
    assert len(made) <= 6 + capacity + 2


def test_an_error_comes_at_its_place():
    def prepare(number):
        if number == 3:
            raise DataError("a.csv:4: bad")
        return number

    seen = []
    with pytest.raises(DataError, match="a.csv:4"), Prefetcher(range(9), prepare, capacity=9) as items:
        for item in items:
            seen.append(item)
    assert seen == [0, 1, 2]
    assert not prefetch_threads()


def test_an_error_of_the_source_comes_too():
    def source():
        yield 1
        raise KeyError("defect")

    with pytest.raises(KeyError, match="defect"), Prefetcher(source(), lambda x: x, capacity=2) as items:
        list(items)


def raw(**columns):
    rows = len(next(iter(columns.values())))
    return types.SimpleNamespace(
        columns=columns,
        lines=np.arange(5, 5 + rows),
        paths=np.array(["a.csv"] * rows, object),
    )


def text(*cells):
    return np.array([cell.encode() for cell in cells], object)


def test_numbers_keep_their_type_and_text_becomes_float():
    labels = Labels(["a", "b", "c"])
    found = labels.labels(
        raw(a=np.array([1, 0], np.int32), b=text("0.5", "-1"), c=np.array([0.1, 2.0], np.float64))
    )
    assert {name: value.dtype for name, value in found.items()} == {
        "a": np.int32,
        "b": np.float32,
        "c": np.float32,
    }
    np.testing.assert_allclose(found["b"], [0.5, -1])
    assert labels.weights(raw(a=np.zeros(2))) is None


def test_a_wide_label_is_split_at_every_character_of_its_separator():
    labels = Labels(["a"], {"a": "|;"}, {"a": 3})
    found = labels.labels(raw(a=text("1|2;3", "4;;5|6")))["a"]
    np.testing.assert_array_equal(found, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("labels", "batch", "message"),
    [
        (Labels(["a"]), raw(a=text("1", "x")), "a.csv:6: column 'a' has 'x', expected a number"),
        (Labels(["a"], {"a": "|"}, {"a": 2}), raw(a=text("1|2", "1")), "a.csv:6: label 'a' has 1 values"),
        (Labels(["a"], {"a": "|"}, {"a": 2}), raw(a=text("1|2", "1|y")), "a.csv:6: column 'a' has 'y'"),
        (Labels(["b"]), raw(a=text("1")), "a.csv:5: the column 'b' is missing"),
    ],
)
def test_bad_labels_are_told_with_their_line(labels, batch, message):
    with pytest.raises(DataError, match=message.replace("|", r"\|")):
        labels.labels(batch)


@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_bad_weights_are_told_with_their_line(bad):
    labels = Labels([], weight="w")
    np.testing.assert_array_equal(labels.weights(raw(w=text("1", "0.5"))), [1, 0.5])
    with pytest.raises(DataError, match=r"a.csv:6: column 'w' has .*at least 0"):
        labels.weights(raw(w=np.array([1.0, bad])))


def test_the_rows_of_a_batch_are_told_by_file():
    batch = types.SimpleNamespace(lines=[7, 3, 9, 2], paths=["a", "a", "b", "a"])
    assert place_of_all(batch) == "a:2-7, b:9-9"
