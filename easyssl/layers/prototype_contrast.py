"""A contrastive loss that also pushes rows away from the prototypes of other clusters."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.masking import check_reduction
from easyssl.functional.prototypes import check_contrast, prototype_contrast, row_weights
from easyssl.functional.selection import first_argmax
from easyssl.layers.building import fit_together, input_shapes
from easyssl.losses.collect import report_loss
from easyssl.registry import register

_FALSE_NEGATIVE_MASKS = ("none", "ids")


@register("PrototypeContrast")
class PrototypeContrast(keras.layers.Layer):
    """Compares two views of the same rows, with rows and prototypes as negatives.

    Each view has to find the other one of its row among the views of the other rows and the prototypes that
    the row is not assigned to. With s = similarity / temperature, the loss of view a of row u, whose other
    view is b, is

    `-log(exp(s(a_u, b_u)) / (exp(s(a_u, b_u)) + sum_n exp(s(a_u, n)) + sum_{k != h} exp(s(a_u, mu_k))))`

    where n runs over the views of other rows, mu_k over the prototypes, and h is where the row's assignment
    is largest, the first one of several. Both directions are added and rows averaged. While training it is
    reported as `<layer name>_contrast_loss`.

    Gradients reach both views, also as negatives of other rows, and the prototypes; none flows through the
    choice of h. A row counts if its length is positive and neither view is zero; with fewer than two such
    rows the loss is exactly 0. Everything is computed in float32.

    The paper names 0.1 and 1 as temperatures, and leaves open whether n runs over both views, whether
    similarities are cosines and whether the prototypes move: the defaults are choices of this layer.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.0.
        temperature: Divisor of the similarities. Defaults to 0.1.
        similarity: "cosine" or "dot". Defaults to "cosine".
        denominator: "standard", which includes the positive, or "decoupled", which leaves it out as the S4Rec
            paper prints it; the loss then has no lower bound. Defaults to "standard".
        negatives: Which views of other rows are negatives: "both_views", or "other_view", only those of the
            view that the anchor is not of. Defaults to "both_views".
        false_negative_mask: "ids", if the last input is ids and rows of one id are no negatives of each
            other, or "none". Defaults to "none".
        prototype_gradient: Whether the loss moves prototypes. Defaults to True.
        cross_replica: Whether the rows of other replicas of a distribution strategy are negatives, too.
            Defaults to False.
        reduction: "mean" or "sum" of the losses of the rows. Defaults to "mean".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown name or reduction, or a temperature that is not positive.

    Example:
        >>> layer = PrototypeContrast(temperature=1.0)
        >>> rows = tf.eye(2)  # each row is assigned to the prototype that it equals
        >>> round(float(layer([rows, rows, rows, rows])), 4)  # 2 * log((e + 3) / e)
        1.4873

    References:
        Wei et al., "Leave no one behind: online self-supervised self-distillation for sequential
        recommendation", arXiv 2404.07219, equations 9 and 10.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 0.1,
        similarity: Literal["cosine", "dot"] = "cosine",
        denominator: Literal["standard", "decoupled"] = "standard",
        negatives: Literal["both_views", "other_view"] = "both_views",
        false_negative_mask: Literal["none", "ids"] = "none",
        prototype_gradient: bool = True,
        cross_replica: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # the inputs arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.loss_weight = loss_weight
        self.temperature = temperature
        self.similarity = similarity
        self.denominator = denominator
        self.negatives = negatives
        self.false_negative_mask = false_negative_mask
        self.prototype_gradient = prototype_gradient
        self.cross_replica = cross_replica
        self.reduction = reduction
        self.supports_masking = True
        check_contrast(similarity, temperature, denominator, negatives)
        check_reduction(reduction)
        if false_negative_mask not in _FALSE_NEGATIVE_MASKS:
            raise ValueError(
                f"PrototypeContrast: unknown false_negative_mask '{false_negative_mask}'"
                f"{nearest(false_negative_mask, _FALSE_NEGATIVE_MASKS)}"
            )

    def build(self, input_shape: Any) -> None:
        """Checks the shapes; there are no weights."""
        shapes = input_shapes(input_shape)
        ranks = [len(shape) for shape in shapes]
        ids = self.false_negative_mask == "ids"
        if ids and shapes[-1][1:] == (1,):
            ranks[-1] = 1
        fits = ranks in ([2, 2, 2, 2, *[1] * ids], [2, 2, 2, 2, 1, *[1] * ids])
        if fits:
            left, right, assignments, prototypes = shapes[:4]
            fits = fit_together(left[1], right[1], prototypes[1])
            fits &= fit_together(assignments[1], prototypes[0])
        if not fits:
            raise ValueError(
                f"PrototypeContrast '{self.name}' takes two views [batch, dim], assignments [batch, "
                "num_prototypes], prototypes [num_prototypes, dim], optionally lengths [batch]"
                f"{', and ids [batch]' if ids else ''}. Received shapes: {shapes}"
            )
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Two views `[batch, dim]`; assignments `[batch, num_prototypes]`, or the balanced targets
                in their stead, and prototypes `[num_prototypes, dim]`, as `SinkhornClustering` gives them;
                optionally lengths `[batch]`; with `false_negative_mask="ids"`, ids `[batch]` or `[batch, 1]`.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        left, right, assignments, prototypes, *rest = inputs
        ids = tf.reshape(rest.pop(), [-1]) if self.false_negative_mask == "ids" else None
        loss = prototype_contrast(
            left,
            right,
            prototypes if self.prototype_gradient else tf.stop_gradient(prototypes),
            first_argmax(assignments),
            similarity=self.similarity,
            temperature=self.temperature,
            denominator=self.denominator,
            negatives=self.negatives,
            weights=row_weights([left, right], *rest),
            ids=ids,
            cross_replica=self.cross_replica,
            reduction=self.reduction,
        )
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
            "denominator",
            "negatives",
            "false_negative_mask",
            "prototype_gradient",
            "cross_replica",
            "reduction",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
