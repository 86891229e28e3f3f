"""Vectors of items that are computed once for many predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class FixedItems:
    """The vectors of all items while weights stand still; not among the weights of the model."""

    def __init__(self) -> None:
        self.active = 0
        self.vectors: tf.Variable | None = None
        self._compiled: Any = None

    def enter(self, compute: Callable[[], tf.Tensor]) -> None:
        """Computes the vectors, unless that was done and not left again.

        Args:
            compute: Returns them; always the same function.
        """
        if self._compiled is None:
            self._compiled = tf.function(compute, autograph=False)
        if not self.active:
            vectors = self._compiled()
            if self.vectors is None:
                self.vectors = tf.Variable(vectors, trainable=False, name="item_vectors")
            else:
                self.vectors.assign(vectors)
        self.active += 1

    def leave(self) -> None:
        """Ends what `enter` began."""
        self.active -= 1
