"""What each of several devices gets of a batch, and how its loss counts."""

import types

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.losses.reduction import mean_of_nonzero
from easyssl.training.devices import Devices, Replicas
from easyssl.training.pipeline import Batch
from easyssl.training.placement import Placement, number_of_rows
from easyssl.training.replicated_step import replica_inputs


def replicas(number):
    devices = Replicas.__new__(Replicas)  # without a strategy, which would need devices of its own
    devices.names = ("/CPU:0",) * number
    return devices


def batch(losses, weights=None):
    raw = types.SimpleNamespace(lines=np.arange(len(losses)))
    weights = None if weights is None else tf.constant(weights, tf.float32)
    return Batch(raw, {"x": tf.constant(losses, tf.float32)}, {"y": tf.range(len(losses))}, weights)


@given(rows=st.integers(0, 50), number=st.integers(1, 9))
def test_parts_are_even_and_cover_all_rows(rows, number):
    parts = [number_of_rows(rows, number, index) for index in range(number)]
    assert [row for begin, end in parts for row in range(begin, end)] == list(range(rows))
    sizes = [end - begin for begin, end in parts]
    assert max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_parts_of_a_mean_add_up_to_it(data):
    rows = data.draw(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=12))
    weights = None
    if data.draw(st.booleans()):
        some = st.sampled_from([0.0, 0.5, 1.0, 3.0])
        weights = data.draw(st.lists(some, min_size=len(rows), max_size=len(rows)))
    number = data.draw(st.integers(1, 5))
    placed = Placement(lambda raw: batch(rows, weights), replicas(number))(None)
    assert sum(share.rows for share in placed.shares) == len(rows)
    total = 0.0
    for own in replica_inputs(placed):
        total += float(own["factor"] * mean_of_nonzero(own["features"]["x"], own.get("weights")))
        assert own["features"]["x"].shape[0] == own["labels"]["y"].shape[0] >= 1
    whole = float(mean_of_nonzero(tf.constant(rows), None if weights is None else tf.constant(weights)))
    assert total == pytest.approx(whole, rel=1e-5, abs=1e-5)


def test_one_device_gets_the_batch_as_it_is():
    whole = batch([1.0, 2.0])
    devices = Devices()
    devices.names = ("/CPU:0",)
    assert Placement(lambda raw: whole, devices)(None) is whole


def test_each_device_gets_all_negatives_but_the_hard_ones_of_others():
    features = {
        "user": tf.constant([1, 2, 3]),
        "item": tf.constant([10, 20, 30, 40, 50, 11, 31, 32]),
        "hard_neg_indices": tf.constant([[0, 0], [2, 0], [2, 1]], tf.int64),
    }
    whole = Batch(types.SimpleNamespace(lines=np.arange(3)), features, {}, None)
    placed = Placement(lambda raw: whole, replicas(4))(None)
    found = [
        {name: part.numpy().tolist() for name, part in s.inputs["features"].items()} for s in placed.shares
    ]
    first = {"user": [1], "item": [10, 40, 50, 11], "hard_neg_indices": [[0, 0]]}
    assert found == [
        first,
        {"user": [2], "item": [20, 40, 50], "hard_neg_indices": []},
        {"user": [3], "item": [30, 40, 50, 31, 32], "hard_neg_indices": [[0, 0], [0, 1]]},
        first,  # a dummy
    ]
