"""How losses and metrics that layers compute reach whoever trains.

A layer calls `report_loss` or `report_metric`. A training step that wants everything by name opens
`collect_losses`; anywhere else a loss goes the Keras way, through `add_loss`, and metrics are not kept.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import tensorflow as tf

_active = threading.local()
# Keras 3 calls a layer in a graph of this name to learn the shapes of its outputs; nothing is computed there.
_DRY_RUN = "scratch_graph"


class LossTerm(NamedTuple):
    """One reported loss.

    Attributes:
        value: The unweighted loss, a float32 scalar.
        weighted: What it adds to the total.
    """

    value: tf.Tensor
    weighted: tf.Tensor


class CollectedLosses:
    """The losses and metrics of one forward pass, by name, in the order of their report.

    A name that is reported again, such as by a layer that is called twice, gets the suffix `_1`, then `_2`:
    every report counts.
    """

    def __init__(self) -> None:
        self.terms: dict[str, LossTerm] = {}
        self.metrics: dict[str, tf.Tensor] = {}
        self._graph = _current_graph()

    def report(self, name: str, value: tf.Tensor, weight: float | tf.Tensor = 1.0) -> None:
        """Adds a term unless Keras only asks for shapes.

        Args:
            name: The name; a suffix is added if it is taken.
            value: The unweighted loss, a scalar.
            weight: Its weight in the total. Defaults to 1.0.

        Raises:
            RuntimeError: If the loss is inside of another graph, which it cannot leave.
        """
        if self._reachable("loss", name):
            self.add(name, value, weight)

    def report_metric(self, name: str, value: tf.Tensor) -> None:
        """Adds a metric unless Keras only asks for shapes.

        Args:
            name: The name; a suffix is added if it is taken.
            value: A scalar.

        Raises:
            RuntimeError: If the metric is inside of another graph, which it cannot leave.
        """
        if self._reachable("metric", name):
            self.metrics[_unused(name, self.metrics)] = tf.stop_gradient(tf.cast(value, tf.float32))

    def _reachable(self, kind: str, name: str) -> bool:
        graph = _current_graph()
        if graph is self._graph:
            return True
        if graph is None or not graph.name.startswith(_DRY_RUN):
            raise RuntimeError(
                f"{kind} '{name}' is computed in a tf.function, tf.cond or loop inside of collect_losses, "
                "which it cannot leave; open collect_losses in there"
            )
        return False

    def add(self, name: str, value: tf.Tensor, weight: float | tf.Tensor = 1.0) -> str:
        """Adds a term.

        Args:
            name: The name; a suffix is added if it is taken.
            value: The unweighted loss, a scalar.
            weight: Its weight in the total. Defaults to 1.0.

        Returns:
            The name under which the term is kept.
        """
        unique = _unused(name, self.terms)
        value = tf.cast(value, tf.float32)
        self.terms[unique] = LossTerm(value, value * tf.cast(weight, tf.float32))
        return unique

    def total(self) -> tf.Tensor:
        """Returns the sum of the weighted terms, a float32 scalar; 0 without terms."""
        return tf.add_n([tf.zeros([]), *(term.weighted for term in self.terms.values())])


@contextmanager
def collect_losses() -> Iterator[CollectedLosses]:
    """Collects what layers report inside the `with` block, in this thread.

    Inside, nothing goes to `add_loss`. Blocks may be nested; the innermost one collects.

    Yields:
        The `CollectedLosses`, filled as the layers are called.

    Example:
        >>> from tensorflow import keras
        >>> layer = keras.layers.Identity(name="aux")
        >>> with collect_losses() as collected:
        ...     report_loss(layer, "aux_l2_loss", tf.constant(4.0), weight=0.5)
        >>> float(collected.terms["aux_l2_loss"].value), float(collected.total())
        (4.0, 2.0)
    """
    outer = getattr(_active, "collected", None)
    collected = CollectedLosses()
    _active.collected = collected
    try:
        yield collected
    finally:
        _active.collected = outer


def report_loss(layer: Any, name: str, value: tf.Tensor, weight: float | tf.Tensor = 1.0) -> None:
    """Reports a loss from inside a layer's `call`.

    Args:
        layer: The layer that computed it.
        name: Its name in logs, such as `<layer name>_nce_loss`.
        value: The unweighted loss, a scalar.
        weight: Its weight in the total loss. Defaults to 1.0.
    """
    collected = getattr(_active, "collected", None)
    if collected is None:
        layer.add_loss(tf.cast(value, tf.float32) * weight)
    else:
        collected.report(name, value, weight)


def report_metric(layer: Any, name: str, value: tf.Tensor) -> None:
    """Reports a number worth watching, such as the load of experts, from inside a layer's `call`.

    Outside of `collect_losses` nothing happens.

    Args:
        layer: The layer that computed it.
        name: Its name in logs, such as `<layer name>_load`.
        value: A scalar; no gradient flows through it.

    Example:
        >>> from tensorflow import keras
        >>> layer = keras.layers.Identity(name="experts")
        >>> with collect_losses() as collected:
        ...     report_metric(layer, "experts_load", tf.constant(0.25))
        >>> float(collected.metrics["experts_load"])
        0.25
    """
    collected = getattr(_active, "collected", None)
    if collected is not None:
        collected.report_metric(name, value)


def _unused(name: str, taken: Container[str]) -> str:
    unique, count = name, 0
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    return unique


def _current_graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
