"""How losses that layers compute reach whoever trains.

A layer calls `report_loss`. A training step that wants every loss by name opens `collect_losses`; anywhere
else the loss goes the Keras way, through `add_loss`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
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
    """The losses of one forward pass, by name, in the order of their report.

    A name that is reported again, such as by a layer that is called twice, gets the suffix `_1`, then `_2`:
    every report counts.
    """

    def __init__(self) -> None:
        self.terms: dict[str, LossTerm] = {}
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
        graph = _current_graph()
        if graph is self._graph:
            self.add(name, value, weight)
        elif graph is None or not graph.name.startswith(_DRY_RUN):
            raise RuntimeError(
                f"loss '{name}' is computed in a tf.function, tf.cond or loop inside of collect_losses, "
                "which it cannot leave; open collect_losses in there"
            )

    def add(self, name: str, value: tf.Tensor, weight: float | tf.Tensor = 1.0) -> str:
        """Adds a term.

        Args:
            name: The name; a suffix is added if it is taken.
            value: The unweighted loss, a scalar.
            weight: Its weight in the total. Defaults to 1.0.

        Returns:
            The name under which the term is kept.
        """
        unique, count = name, 0
        while unique in self.terms:
            count += 1
            unique = f"{name}_{count}"
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


def _current_graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
