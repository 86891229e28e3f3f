"""The estimate of how often ids come, as a layer that learns it while a model trains."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.frequency import hash_buckets, log_probability, updated_gap
from easyssl.functional.replicas import SAME_ON_REPLICAS, gather_rows


class StreamingFrequency(keras.layers.Layer):
    """Gives for each id the log of the estimated probability that a batch holds it.

    Each call in training is a step, which is counted before the estimate is made. Under a distribution
    strategy a step has the ids of all replicas. A call takes time for its ids only, whatever the number of
    buckets.

    Args:
        num_buckets: Buckets of each hash function.
        num_hashes: Hash functions.
        rate: Weight of the newest gap.
        **kwargs: Keras layer arguments such as `name`.
    """

    def __init__(self, num_buckets: int, num_hashes: int, rate: float, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.num_buckets = num_buckets
        self.num_hashes = num_hashes
        self.rate = rate

    def build(self, input_shape: Any) -> None:
        """Creates the arrays, one stretch for each hash function, and the count of steps."""
        size = self.num_buckets * self.num_hashes

        def state(name: str, shape: tuple[int, ...], dtype: str) -> Any:
            return self.add_weight(
                name=name,
                shape=shape,
                dtype=dtype,
                initializer="zeros",
                trainable=False,
                aggregation=SAME_ON_REPLICAS,
            )

        self.last_step = state("last_step", (size,), "int64")
        self.gap = state("gap", (size,), "float32")
        self.steps = state("steps", (), "int64")
        super().build(input_shape)

    def call(self, ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Estimates, and learns if `training`.

        Args:
            ids: Integers `[batch]`.
            training: Whether to count the ids first. Defaults to None, which is False.

        Returns:
            float32 `[batch]`.
        """
        steps = tf.convert_to_tensor(self.steps)
        if training:
            steps += 1
            self.steps.assign(steps)
            self._count(gather_rows(ids), steps)
        return log_probability(tf.gather(_variable(self.gap), self._places(ids)), steps)

    def _count(self, ids: tf.Tensor, step: tf.Tensor) -> None:
        places = tf.reshape(self._places(ids), [-1])
        gap, last_step = _variable(self.gap), _variable(self.last_step)
        gaps = updated_gap(tf.gather(gap, places), tf.gather(last_step, places), step, self.rate)
        # Ids that come twice, or share a bucket, write the same numbers.
        gap.scatter_update(tf.IndexedSlices(gaps, places))
        last_step.scatter_update(tf.IndexedSlices(tf.fill(tf.shape(places), step), places))

    def _places(self, ids: tf.Tensor) -> tf.Tensor:
        stretches = tf.range(self.num_hashes, dtype=tf.int64)[:, None] * self.num_buckets
        return hash_buckets(ids, self.num_buckets, self.num_hashes) + stretches


def _variable(weight: Any) -> tf.Variable:
    """Returns the variable behind a weight, which can be read and written row by row."""
    return weight if isinstance(weight, tf.Variable) else weight.value
