"""The softmax over the items of a batch, for models that retrieve."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.contrastive import one_way
from easyssl.functional.masking import check_reduction
from easyssl.functional.similarity import check_similarity
from easyssl.layers.building import build_sublayer, check_positive, fit_together, input_shapes
from easyssl.layers.streaming_frequency import StreamingFrequency
from easyssl.losses.collect import report_loss
from easyssl.registry import register

_CORRECTIONS = ("none", "given", "streaming")
_SIDE_INPUTS = ("ids", "probabilities", "weights")
_LEAST_PROBABILITY = 1e-12


@register("BatchSoftmax")
class BatchSoftmax(keras.layers.Layer):
    """Each query has to find its item among the items of the batch.

    With s = similarity / temperature the loss is

    `-log(exp(s(q_i, x_i) - log p_i) / sum_j exp(s(q_i, x_j) - log p_j))`, averaged over rows by weight.

    While training it is reported as `<layer name>_batch_softmax_loss`; for serving, score items by the
    similarity alone. Items of a batch come in proportion to their popularity, and `log p` makes up for that:
    with `correction="given"` p is an input, with "streaming" it is estimated from the ids of past batches, in
    memory that does not grow with the number of items: the inverse of the average number of steps between
    two batches that hold the item. The estimate is a weight of the layer, is learned while training only, and
    is saved. With "none" there is no `log p`.

    An item that is in the batch for another row, too, is an accidental hit: with ids as input it is no
    negative. A row of weight 0 counts for nothing, not even as a negative. Everything is computed in float32.
    With a batch of one the loss is exactly 0. Gradients reach queries and items, also as negatives, and no
    probabilities.

    `tfrs.tasks.Retrieval` computes the same loss, as a sum. It is not called here: it imports under tf_keras
    only, so that Keras 3 would need this code in any case, and it knows neither streaming estimates, nor
    rows that are no negatives, nor other replicas. The tests compare both.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.0.
        temperature: Divisor of the similarities; the second reference has 0.07 and 0.06, and no correction.
            Defaults to 0.07.
        similarity: "cosine" or "dot". Defaults to "cosine".
        correction: "none", "given" or "streaming". Defaults to "none".
        side_inputs: What follows queries and items among the inputs, in order: some of "ids", "probabilities"
            and "weights", each `[batch]`. Defaults to None, which is nothing.
        mask_accidental_hits: Whether items of the row's own id are no negatives, if there are ids. Defaults
            to True.
        cross_replica: Whether items of other replicas of a distribution strategy are negatives, too.
            Defaults to False.
        num_buckets: Buckets for hashed ids of "streaming", 12 bytes each. Defaults to 1048576.
        num_hashes: Hash functions of "streaming", each with its own buckets; with more of them rare items
            are told from popular ones of the same bucket. Defaults to 1.
        frequency_rate: Weight of the newest gap in the average of "streaming", in (0, 1]. Defaults to 0.01.
        reduction: "mean" or "sum" of the losses of the rows. `tfrs.tasks.Retrieval`
            has the sum. Defaults to "mean".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown name, a number out of range, or a correction without its input.

    Example:
        >>> layer = BatchSoftmax(temperature=1.0, side_inputs=["ids"])
        >>> queries = items = tf.eye(2)
        >>> round(float(layer([queries, items, tf.constant([3, 4])])), 4)  # log(e + 1) - 1
        0.3133
        >>> float(layer([queries, items, tf.constant([3, 3])]))
        0.0

    References:
        Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys
        2019; Yao et al., "Self-supervised learning for large-scale item recommendations", arXiv 2007.12865.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 0.07,
        similarity: Literal["cosine", "dot"] = "cosine",
        correction: Literal["none", "given", "streaming"] = "none",
        side_inputs: list[str] | None = None,
        mask_accidental_hits: bool = True,
        cross_replica: bool = False,
        num_buckets: int = 1048576,
        num_hashes: int = 1,
        frequency_rate: float = 0.01,
        reduction: Literal["mean", "sum"] = "mean",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # ids, weights and probabilities keep their precision
        super().__init__(**kwargs)
        self.loss_weight = loss_weight
        self.temperature = temperature
        self.similarity = similarity
        self.correction = correction
        self.side_inputs = tuple(side_inputs or ())
        self.mask_accidental_hits = mask_accidental_hits
        self.cross_replica = cross_replica
        self.num_buckets = num_buckets
        self.num_hashes = num_hashes
        self.frequency_rate = frequency_rate
        self.reduction = reduction
        self.supports_masking = True
        self._check()
        self.frequency = (
            StreamingFrequency(num_buckets, num_hashes, frequency_rate, name="frequency")
            if correction == "streaming"
            else None
        )

    def _check(self) -> None:
        check_similarity(self.similarity, self.temperature)
        check_reduction(self.reduction)
        check_positive("BatchSoftmax", num_buckets=self.num_buckets, num_hashes=self.num_hashes)
        if not 0 < self.frequency_rate <= 1:
            raise ValueError(
                f"BatchSoftmax: `frequency_rate` must be in (0, 1]. Received: {self.frequency_rate}"
            )
        for name in self.side_inputs:
            if name not in _SIDE_INPUTS:
                raise ValueError(f"BatchSoftmax: unknown side input '{name}'{nearest(name, _SIDE_INPUTS)}")
        if len(set(self.side_inputs)) < len(self.side_inputs):
            raise ValueError(f"BatchSoftmax: a side input comes twice. Received: {list(self.side_inputs)}")
        correction = self.correction
        if correction not in _CORRECTIONS:
            raise ValueError(
                f"BatchSoftmax: unknown correction '{correction}'{nearest(correction, _CORRECTIONS)}"
            )
        needed = {"given": "probabilities", "streaming": "ids"}.get(correction)
        if needed is not None and needed not in self.side_inputs:
            raise ValueError(f"BatchSoftmax: the correction '{correction}' needs '{needed}' in side_inputs")
        if "probabilities" in self.side_inputs and correction != "given":
            raise ValueError("BatchSoftmax: 'probabilities' are only used with the correction 'given'")

    def build(self, input_shape: Any) -> None:
        """Creates what the estimate of probabilities needs."""
        shapes = input_shapes(input_shape)
        vectors = [len(shape) == 1 or (len(shape) == 2 and shape[1] in (1, None)) for shape in shapes[2:]]
        fits = [len(shape) for shape in shapes[:2]] == [2, 2] and len(vectors) == len(self.side_inputs)
        if not (fits and all(vectors) and fit_together(shapes[0][1], shapes[1][1])):
            sides = "".join(f", {name} [batch]" for name in self.side_inputs)
            raise ValueError(
                f"BatchSoftmax '{self.name}' takes queries and items [batch, dim] of one width{sides}. "
                f"Received shapes: {shapes}"
            )
        if self.frequency is not None:
            build_sublayer(self.frequency, (None,))
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Queries and items `[batch, dim]`, then the side inputs, `[batch]` or `[batch, 1]`.
            training: Whether to report, and to learn probabilities. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        queries, items, *rest = inputs
        sides = {name: tf.reshape(x, [-1]) for name, x in zip(self.side_inputs, rest, strict=True)}
        loss = one_way(
            queries,
            items,
            similarity=self.similarity,
            temperature=self.temperature,
            weights=sides.get("weights"),
            ids=sides.get("ids") if self.mask_accidental_hits else None,
            log_probabilities=self._log_probabilities(sides, training),
            cross_replica=self.cross_replica,
            reduction=self.reduction,
        )
        if training:
            report_loss(self, f"{self.name}_batch_softmax_loss", loss, self.loss_weight)
        return loss * self.loss_weight

    def _log_probabilities(self, sides: dict[str, tf.Tensor], training: bool | None) -> tf.Tensor | None:
        if self.frequency is not None:
            return self.frequency(sides["ids"], training=training)
        if self.correction == "given":
            probabilities = tf.cast(sides["probabilities"], tf.float32)
            return tf.math.log(tf.maximum(probabilities, _LEAST_PROBABILITY))
        return None

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a scalar has no mask."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "loss_weight": self.loss_weight,
            "temperature": self.temperature,
            "similarity": self.similarity,
            "correction": self.correction,
            "side_inputs": list(self.side_inputs),
            "mask_accidental_hits": self.mask_accidental_hits,
            "cross_replica": self.cross_replica,
            "num_buckets": self.num_buckets,
            "num_hashes": self.num_hashes,
            "frequency_rate": self.frequency_rate,
            "reduction": self.reduction,
        }
