"""Clustering of recent rows by K-means, in the course of training."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.kmeans import closeness, lloyd, spread_rows
from easyssl.functional.prototypes import row_weights, usage_entropy
from easyssl.functional.replicas import SAME_ON_REPLICAS
from easyssl.functional.row_queue import push_rows
from easyssl.functional.selection import first_argmax
from easyssl.functional.similarity import normalize
from easyssl.layers.building import check_positive, input_shapes, last_dim
from easyssl.losses.collect import report_metric
from easyssl.registry import register

_SIMILARITIES = ("cosine", "euclidean")


@register("KMeansClustering")
class KMeansClustering(keras.layers.Layer):
    """Assigns rows to the centroids of recent rows, which K-means finds anew every so many steps.

    A queue holds the rows of the last training batches. Every `update_every` training calls, and for the
    first time as soon as the queue holds `num_prototypes` rows, `num_iterations` of Lloyd's algorithm run on
    it inside of the training step; see `easyssl.functional.kmeans.lloyd`. They begin with rows spread over
    the queue, later with the centroids that there are, so that clusters keep their numbers. Queue and
    centroids are weights without gradient, saved with the others.

    With s = similarity of a row and a centroid, the assignments are `p = softmax(s / temperature)`, and the
    targets are 1 for the closest centroid and 0 for the others. The outputs are those of
    `SinkhornClustering`, and can take their place in `PrototypeContrast`, `ClusterDistillation` and
    `IntentContrast`; but no gradient flows through them, and there is no loss. The entropy of how often each
    centroid is a row's closest is reported as the metric `<layer name>_usage_entropy`.

    A row counts if its length is positive and its vector is not zero. Until there are centroids, prototypes
    and targets are zeros. Under a distribution strategy the queue holds the rows of all replicas. Everything
    is computed in float32.

    ICLRec clusters all sequences at the beginning of each epoch by the model of that moment. With a queue as
    large as the training data and `update_every` the steps of an epoch, the rows here come from the course of
    the epoch before, augmented by dropout, and from weights that are up to an epoch older.

    Args:
        num_prototypes: Number of clusters.
        temperature: Divisor of the similarities in p. Defaults to 0.1.
        similarity: "cosine", where rows and centroids are scaled to length 1; or "euclidean", minus half of
            the squared distance. Defaults to "cosine".
        queue_size: How many rows the queue holds. Defaults to 8192.
        update_every: After how many training calls clusters are found anew. Defaults to 100.
        num_iterations: Iterations of Lloyd's algorithm. Defaults to 10.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a number out of range, an unknown similarity, or a queue that is smaller than the
            number of clusters.

    Example:
        >>> layer = KMeansClustering(num_prototypes=2, queue_size=64)
        >>> rows = tf.constant([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> assignments, centroids, targets = layer(rows, training=True)
        >>> targets.numpy().tolist()
        [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]

    References:
        Chen et al., "Intent contrastive learning for sequential recommendation", arXiv 2202.02519.
        Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28, 1982.
    """

    def __init__(
        self,
        num_prototypes: int,
        temperature: float = 0.1,
        similarity: Literal["cosine", "euclidean"] = "cosine",
        queue_size: int = 8192,
        update_every: int = 100,
        num_iterations: int = 10,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # rows arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.num_prototypes = num_prototypes
        self.temperature = temperature
        self.similarity = similarity
        self.queue_size = queue_size
        self.update_every = update_every
        self.num_iterations = num_iterations
        self.supports_masking = True
        check_positive(
            "KMeansClustering",
            num_prototypes=num_prototypes,
            queue_size=queue_size,
            update_every=update_every,
            num_iterations=num_iterations,
        )
        if similarity not in _SIMILARITIES:
            raise ValueError(
                f"KMeansClustering: unknown similarity '{similarity}'{nearest(similarity, _SIMILARITIES)}"
            )
        if not temperature > 0:
            raise ValueError(f"KMeansClustering: `temperature` must be positive. Received: {temperature}")
        if queue_size < num_prototypes:
            raise ValueError(
                "KMeansClustering: `queue_size` must be at least `num_prototypes`. Received: "
                f"queue_size={queue_size}, num_prototypes={num_prototypes}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates centroids, queue and the count of calls."""
        shapes = input_shapes(input_shape)
        if [len(shape) for shape in shapes] not in ([2], [2, 1]):
            raise ValueError(
                f"KMeansClustering '{self.name}' takes rows [batch, dim] and optionally lengths [batch]. "
                f"Received shapes: {shapes}"
            )
        dim = last_dim(shapes[0], self)
        self.prototypes = self._state("prototypes", (self.num_prototypes, dim), "float32")
        # Slots that no row has reached hold zeros, which do not count.
        self.queue = self._state("queue", (self.queue_size, dim), "float32")
        self.calls = self._state("calls", (), "int64")
        super().build(input_shape)

    def _state(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            aggregation=SAME_ON_REPLICAS,
        )

    def call(self, inputs: Any, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Assigns; if `training`, fills the queue and finds clusters when it is time to.

        Args:
            inputs: Rows `[batch, dim]`, and optionally the lengths `[batch]` of the sequences that they
                encode.
            training: Whether the model trains. Defaults to None, which is False.

        Returns:
            All float32: the assignments `[batch, num_prototypes]`; the centroids `[num_prototypes, dim]`, of
            length 1 for cosines; the targets `[batch, num_prototypes]`, zero for rows that do not count.
        """
        rows, *lengths = inputs if isinstance(inputs, list | tuple) else [inputs]
        weights = row_weights([rows], *lengths)
        rows = tf.stop_gradient(tf.cast(rows, tf.float32))
        if self.similarity == "cosine":
            rows = normalize(rows)
        prototypes = tf.cast(tf.convert_to_tensor(self.prototypes), tf.float32)
        if training:
            prototypes = self._learn(rows, weights, prototypes)
        if self.similarity == "cosine":
            scores = tf.matmul(rows, prototypes, transpose_b=True)
        else:
            scores = closeness(rows, prototypes)
        assignments = tf.nn.softmax(scores / self.temperature)
        weights *= tf.cast(_found(prototypes), tf.float32)
        targets = tf.one_hot(first_argmax(scores), self.num_prototypes) * weights[:, None]
        if training:
            report_metric(self, f"{self.name}_usage_entropy", usage_entropy(targets, weights=weights))
        return assignments, prototypes, targets

    def _learn(self, rows: tf.Tensor, weights: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
        queue = push_rows(tf.cast(tf.convert_to_tensor(self.queue), tf.float32), rows, weights)
        self.queue.assign(queue)
        calls = tf.convert_to_tensor(self.calls) + 1
        self.calls.assign(calls)
        exists = row_weights([queue])
        enough = tf.reduce_sum(exists) >= self.num_prototypes
        found = _found(prototypes)

        def cluster() -> tf.Tensor:
            first = spread_rows(queue, exists, self.num_prototypes)
            return lloyd(
                queue,
                tf.where(found, prototypes, first),
                weights=exists,
                num_iterations=self.num_iterations,
                spherical=self.similarity == "cosine",
            )

        due = enough & (~found | (calls % self.update_every == 0))
        new = tf.cond(due, cluster, lambda: prototypes)
        self.prototypes.assign(new)
        return new

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the outputs have no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = (
            "num_prototypes",
            "temperature",
            "similarity",
            "queue_size",
            "update_every",
            "num_iterations",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _found(prototypes: tf.Tensor) -> tf.Tensor:
    """Returns whether clusters were found already."""
    return tf.reduce_any(prototypes != 0.0)
