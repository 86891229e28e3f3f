"""Batches brought to the devices that work on them, ahead of time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from easyssl.data.hard_negatives import HARD_NEGATIVES
from easyssl.models.hard_negatives import of_rows
from easyssl.training.devices import Devices, Replicas
from easyssl.training.pipeline import Batch, Share
from easyssl.training.step import inputs_of


class Placement:
    """Copies prepared batches to the devices; runs in the thread of a `Prefetcher`.

    On one device a batch stays whole; a CPU has it already. Several devices each get consecutive rows, as
    evenly as they go, and all negatives, of those for single rows its own; sequences keep the length of the
    whole batch. A device for which there is no row gets the first one as a dummy that does not count, since
    all devices have to take part in a step. A batch without any row is left as it is.

    Args:
        prepare: Makes a batch.
        devices: Where to copy it.

    Example:
        >>> [number_of_rows(5, 2, index) for index in range(2)]
        [(0, 3), (3, 5)]
    """

    def __init__(self, prepare: Callable[[Any], Batch], devices: Devices) -> None:
        self.prepare = prepare
        self.devices = devices

    def __call__(self, raw: Any) -> Batch:
        """Prepares a batch and copies it."""
        batch = self.prepare(raw)
        if not batch.rows:
            return batch
        if isinstance(self.devices, Replicas):
            names = self.devices.names
            shares = tuple(self._share(batch, len(names), index) for index in range(len(names)))
            return dataclasses.replace(batch, shares=shares)
        name = self.devices.names[0]
        return batch if "CPU" in name.upper() else on_device(batch, name)

    def _share(self, batch: Batch, number: int, index: int) -> Share:
        begin, end = number_of_rows(batch.rows, number, index)
        rows = end - begin
        if not rows:
            begin, end = 0, 1
        whole = inputs_of(batch)
        inputs = tf.nest.map_structure(lambda tensor: _part(tensor, begin, end, batch.rows), whole)
        if HARD_NEGATIVES in whole["features"]:
            inputs["features"] = of_rows(whole["features"], batch.rows, begin, end)
        weighted = rows
        if rows and "weights" in inputs:
            weighted = int(tf.math.count_nonzero(inputs["weights"]))
        return Share(copied(inputs, self.devices.names[index]), rows, weighted)


def number_of_rows(rows: int, number: int, index: int) -> tuple[int, int]:
    """Returns the first row, and the one behind the last, of one of `number` even parts."""
    size, rest = divmod(rows, number)
    begin = index * size + min(index, rest)
    return begin, begin + size + (index < rest)


def _part(tensor: tf.Tensor, begin: int, end: int, rows: int) -> tf.Tensor:
    """Returns some rows of a tensor, and all negatives that stand behind the rows."""
    part = tensor[begin:end]
    return part if tensor.shape[0] == rows else tf.concat([part, tensor[rows:]], axis=0)


def copied(tensors: Any, device: str) -> Any:
    """Returns a structure of tensors on a device."""
    with tf.device(device):
        return tf.nest.map_structure(tf.identity, tensors)


def on_device(batch: Batch, device: str) -> Batch:
    """Returns a batch whose tensors are on a device."""
    weights = None if batch.weights is None else copied(batch.weights, device)
    return dataclasses.replace(
        batch, features=copied(batch.features, device), labels=copied(batch.labels, device), weights=weights
    )
