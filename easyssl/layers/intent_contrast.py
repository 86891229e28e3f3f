"""A contrastive loss between the views of a row and the centroid of its cluster."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.contrastive import nt_xent
from easyssl.functional.masking import check_reduction
from easyssl.functional.prototypes import row_weights
from easyssl.functional.selection import first_argmax
from easyssl.functional.similarity import check_similarity
from easyssl.layers.building import fit_together, input_shapes
from easyssl.losses.collect import report_loss
from easyssl.registry import register

_FALSE_NEGATIVE_MASKS = ("none", "clusters")


@register("IntentContrast")
class IntentContrast(keras.layers.Layer):
    """Draws the views of a row to the centroid of its cluster: intent contrastive learning, ICLRec.

    With c_u the prototype where the assignment of row u is largest, the loss of a view v is the `nt_xent` of
    `easyssl.functional.contrastive` between v_u and c_u: each has to find the other one among the views and
    centroids of the other rows. The mean over the views is reported as `<layer name>_contrast_loss` while
    training.

    Gradients reach the views only, neither assignments nor prototypes. A row counts if its length is positive
    and neither its views nor its prototype are zero, as those of `KMeansClustering` are until clusters are
    found. With fewer than two such rows the loss is exactly 0. Everything is computed in float32.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.0.
        temperature: Divisor of the similarities. Defaults to 1.0.
        similarity: "cosine" or "dot". Defaults to "dot".
        false_negative_mask: "clusters", if rows of one cluster are no negatives of each other, or "none".
            Defaults to "none".
        cross_replica: Whether the rows of other replicas of a distribution strategy are negatives, too.
            Defaults to False.
        reduction: "mean" or "sum" of the losses of the rows. Defaults to "mean".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown name or reduction, or a temperature that is not positive.

    Example:
        >>> layer = IntentContrast()
        >>> rows = tf.eye(2)  # each row is in a cluster of its own, whose centroid it equals
        >>> round(float(layer([rows, rows, rows, rows])), 4)  # log(e + 2) - 1
        0.5514

    References:
        Chen et al., "Intent contrastive learning for sequential recommendation", arXiv 2202.02519.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 1.0,
        similarity: Literal["cosine", "dot"] = "dot",
        false_negative_mask: Literal["none", "clusters"] = "none",
        cross_replica: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # the inputs arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.loss_weight = loss_weight
        self.temperature = temperature
        self.similarity = similarity
        self.false_negative_mask = false_negative_mask
        self.cross_replica = cross_replica
        self.reduction = reduction
        self.supports_masking = True
        check_similarity(similarity, temperature)
        check_reduction(reduction)
        if false_negative_mask not in _FALSE_NEGATIVE_MASKS:
            raise ValueError(
                f"IntentContrast: unknown false_negative_mask '{false_negative_mask}'"
                f"{nearest(false_negative_mask, _FALSE_NEGATIVE_MASKS)}"
            )

    def build(self, input_shape: Any) -> None:
        """Checks the shapes; there are no weights."""
        shapes = input_shapes(input_shape)
        fits = [len(shape) for shape in shapes] in ([2, 2, 2, 2], [2, 2, 2, 2, 1])
        if fits:
            left, right, assignments, prototypes = shapes[:4]
            fits = fit_together(left[1], right[1], prototypes[1])
            fits &= fit_together(assignments[1], prototypes[0])
        if not fits:
            raise ValueError(
                f"IntentContrast '{self.name}' takes two views [batch, dim], assignments [batch, "
                "num_prototypes], prototypes [num_prototypes, dim] and optionally lengths [batch]. Received "
                f"shapes: {shapes}"
            )
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Two views `[batch, dim]`; assignments `[batch, num_prototypes]` and prototypes
                `[num_prototypes, dim]`, as `KMeansClustering` and `SinkhornClustering` give them; optionally
                lengths `[batch]`.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        left, right, assignments, prototypes, *lengths = inputs
        clusters = first_argmax(assignments)
        centroids = tf.stop_gradient(tf.gather(tf.cast(prototypes, tf.float32), clusters))
        weights = row_weights([left, right], *lengths) * row_weights([centroids])
        losses = [
            nt_xent(
                tf.cast(view, tf.float32),
                centroids,
                similarity=self.similarity,
                temperature=self.temperature,
                weights=weights,
                ids=clusters if self.false_negative_mask == "clusters" else None,
                cross_replica=self.cross_replica,
                reduction=self.reduction,
            )
            for view in (left, right)
        ]
        loss = (losses[0] + losses[1]) / 2.0
        if training:
            report_loss(self, f"{self.name}_contrast_loss", loss, self.loss_weight)
        return loss * self.loss_weight

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a scalar has no mask."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = (
            "loss_weight",
            "temperature",
            "similarity",
            "false_negative_mask",
            "cross_replica",
            "reduction",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
