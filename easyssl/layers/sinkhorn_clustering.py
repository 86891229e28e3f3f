"""Online clustering with balanced targets."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.prototypes import at_least_two, cluster_cross_entropy, row_weights, usage_entropy
from easyssl.functional.replicas import SAME_ON_REPLICAS, num_replicas, replica_sum
from easyssl.functional.row_queue import push_rows
from easyssl.functional.similarity import check_similarity, comparable
from easyssl.functional.sinkhorn import check_sinkhorn, sinkhorn
from easyssl.layers.building import check_not_negative, check_positive, input_shapes, last_dim
from easyssl.losses.collect import report_loss, report_metric
from easyssl.registry import register


@register("SinkhornClustering")
class SinkhornClustering(keras.layers.Layer):
    """Learns prototypes to which the rows of a batch are assigned evenly.

    With s = similarity of a row and a prototype, the assignments are `p = softmax(s / temperature)`, and the
    targets q solve the balanced assignment of the batch: every row sums to 1, and every prototype receives an
    equal share of the batch. They are `q_uk = m_u exp(s_uk / epsilon) v_k`, whose factors Sinkhorn-Knopp
    iterations fit: v so that columns sum to batch / num_prototypes, then m so that rows sum to 1. While
    training, the layer reports the cross entropy `-mean_u sum_k q_uk log p_uk` as
    `<layer name>_cluster_loss`, and the entropy of how often each prototype is a row's best one as the metric
    `<layer name>_usage_entropy`; log(num_prototypes) is even use.

    The gradient flows through p into prototypes and rows, never through q. A row counts if its length is
    positive and its vector is not zero; with fewer than two such rows on all replicas the loss is exactly 0.
    Under a distribution strategy the targets are balanced over the rows of all replicas. Everything is
    computed in float32. Values that are not finite reach the loss, for the training loop to see.

    A batch smaller than the number of prototypes cannot show what an even share is. A queue helps: it holds
    the rows of recent training batches, without gradient, and is saved with the weights. They take part in
    the balancing whenever fewer rows than prototypes count in the batch.

    Cosines, temperature, epsilon and the number of iterations are those of SwAV. S4Rec names 0.1 and 1 as
    temperatures and leaves the others open.

    Args:
        num_prototypes: Number of prototypes.
        temperature: Divisor of the similarities in p. Defaults to 0.1.
        epsilon: Entropy weight of the targets; the smaller, the harder they are. Defaults to 0.05.
        num_iterations: Sinkhorn iterations. Defaults to 3.
        similarity: "cosine", with prototypes that are kept at length 1, or "dot". Defaults to "cosine".
        swap: Whether there are two views, and the targets of each train the assignments of the other, as in
            SwAV. Defaults to False, which is one view that trains on its own targets, as in S4Rec.
        queue_size: How many rows the queue holds; 0 for none. Defaults to 0.
        freeze_steps: Training calls during which the prototypes get no gradient. Defaults to 0.
        loss_weight: Factor of the loss. Defaults to 1.0.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a number out of range or an unknown similarity.

    Example:
        >>> from easyssl.losses import collect_losses
        >>> layer = SinkhornClustering(num_prototypes=4, name="intents")
        >>> with collect_losses() as collected:
        ...     assignments, prototypes, targets = layer(tf.random.normal([32, 8]), training=True)
        >>> assignments.shape, prototypes.shape, targets.shape
        (TensorShape([32, 4]), TensorShape([4, 8]), TensorShape([32, 4]))
        >>> list(collected.terms), list(collected.metrics)
        (['intents_cluster_loss'], ['intents_usage_entropy'])

    References:
        Wei et al., "Leave no one behind: online self-supervised self-distillation for sequential
        recommendation", arXiv 2404.07219.
        Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments", arXiv
        2006.09882.
    """

    def __init__(
        self,
        num_prototypes: int,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        num_iterations: int = 3,
        similarity: Literal["cosine", "dot"] = "cosine",
        swap: bool = False,
        queue_size: int = 0,
        freeze_steps: int = 0,
        loss_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # rows arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.num_prototypes = num_prototypes
        self.temperature = temperature
        self.epsilon = epsilon
        self.num_iterations = num_iterations
        self.similarity = similarity
        self.swap = swap
        self.queue_size = queue_size
        self.freeze_steps = freeze_steps
        self.loss_weight = loss_weight
        self.supports_masking = True
        check_positive("SinkhornClustering", num_prototypes=num_prototypes)
        check_not_negative("SinkhornClustering", queue_size=queue_size, freeze_steps=freeze_steps)
        check_similarity(similarity, temperature)
        check_sinkhorn(epsilon, num_iterations)

    @property
    def _num_views(self) -> int:
        return 2 if self.swap else 1

    def build(self, input_shape: Any) -> None:
        """Creates the prototypes, and the queue and the count of calls if they are asked for."""
        shapes = input_shapes(input_shape)
        ranks = [len(shape) for shape in shapes]
        views = [2] * self._num_views
        dims = {last_dim(shape, self) for shape in shapes[: self._num_views]}
        if ranks not in (views, [*views, 1]) or len(dims) > 1:
            several = "two views [batch, dim]" if self.swap else "rows [batch, dim]"
            raise ValueError(
                f"SinkhornClustering '{self.name}' takes {several} and optionally lengths [batch]. Received "
                f"shapes: {shapes}"
            )
        (dim,) = dims
        self.prototypes = self.add_weight(
            name="prototypes",
            shape=(self.num_prototypes, dim),
            initializer=keras.initializers.RandomNormal(stddev=dim**-0.5),  # of length 1 on average
            # The similarity normalises anyway; without this the lengths would grow and slow learning down.
            constraint=keras.constraints.UnitNorm(axis=1) if self.similarity == "cosine" else None,
        )
        if self.queue_size:
            # Slots that no row has reached hold zeros, which do not count.
            self.queue = self._state("queue", (self._num_views, self.queue_size, dim), "float32")
        if self.freeze_steps:
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
        """Assigns, and reports the loss if `training`.

        Args:
            inputs: Rows `[batch, dim]`, with `swap` two views of them; then optionally the lengths `[batch]`
                of the sequences that they encode.
            training: Whether to report the loss and to fill the queue. Defaults to None, which is False.

        Returns:
            Of the first view, all float32: the assignments `[batch, num_prototypes]`; the prototypes
            `[num_prototypes, dim]`, of length 1 for cosines; the targets `[batch, num_prototypes]`, zero for
            rows that do not count.
        """
        inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        views = inputs[: self._num_views]
        weights = row_weights(views, *inputs[self._num_views :])
        prototypes = comparable(self._trained_prototypes(training), self.similarity)
        rows = [comparable(view, self.similarity) for view in views]
        scores = [tf.matmul(view, prototypes, transpose_b=True) for view in rows]
        count = replica_sum(tf.reduce_sum(weights))
        targets = [self._targets(i, scores[i], prototypes, weights, count) for i in range(len(rows))]
        assignments = tf.nn.softmax(scores[0] / self.temperature)
        if training:
            used = weights * at_least_two(count)
            losses = [
                cluster_cross_entropy(target, score / self.temperature, weights=used)
                for target, score in zip(reversed(targets), scores, strict=True)
            ]
            loss = tf.add_n(losses) / len(losses)
            report_loss(self, f"{self.name}_cluster_loss", loss, self.loss_weight)
            report_metric(self, f"{self.name}_usage_entropy", usage_entropy(assignments, weights=weights))
            if self.queue_size:
                self._push(tf.stack(rows), weights)
        return assignments, prototypes, targets[0]

    def _trained_prototypes(self, training: bool | None) -> tf.Tensor:
        prototypes = tf.convert_to_tensor(self.prototypes)
        if not training or not self.freeze_steps:
            return prototypes
        calls = tf.convert_to_tensor(self.calls)
        self.calls.assign(calls + 1)
        return tf.where(calls < self.freeze_steps, tf.stop_gradient(prototypes), prototypes)

    def _targets(
        self, view: int, scores: tf.Tensor, prototypes: tf.Tensor, weights: tf.Tensor, count: tf.Tensor
    ) -> tf.Tensor:
        if self.queue_size:
            queue = tf.cast(tf.convert_to_tensor(self.queue)[view], tf.float32)
            scores = tf.concat([scores, tf.matmul(queue, prototypes, transpose_b=True)], axis=0)
            needed = tf.cast(count < self.num_prototypes, tf.float32)
            # Every replica has the whole queue, so each brings its share of it.
            weights = tf.concat([weights, row_weights([queue]) * needed / num_replicas()], axis=0)
        targets = sinkhorn(
            scores,
            epsilon=self.epsilon,
            num_iterations=self.num_iterations,
            weights=weights,
            largest=1.0 if self.similarity == "cosine" else None,
        )
        return targets[: tf.shape(scores)[0] - self.queue_size]

    def _push(self, rows: tf.Tensor, weights: tf.Tensor) -> None:
        """Puts the rows that count in front, and drops as many at the end."""
        queue = tf.transpose(tf.cast(tf.convert_to_tensor(self.queue), tf.float32), [1, 0, 2])
        filled = push_rows(queue, tf.transpose(rows, [1, 0, 2]), weights)
        self.queue.assign(tf.cast(tf.transpose(filled, [1, 0, 2]), self.queue.dtype))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the outputs have no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = (
            "num_prototypes",
            "temperature",
            "epsilon",
            "num_iterations",
            "similarity",
            "swap",
            "queue_size",
            "freeze_steps",
            "loss_weight",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
