"""A loss between two representations, added to whatever else is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.contrastive import decoupled, l2_distance, nt_xent, one_way, symmetric
from easyssl.functional.masking import check_reduction
from easyssl.functional.prototypes import row_weights
from easyssl.functional.similarity import check_similarity
from easyssl.losses.collect import report_loss
from easyssl.registry import register

_NAMES = {
    "l2_loss": "l2_loss",
    "nce_loss": "nce_loss",
    "info_nce": "info_nce_loss",
    "symmetric": "symmetric_loss",
    "decoupled": "decoupled_loss",
}
_CONTRASTIVE: dict[str, Callable[..., tf.Tensor]] = {
    "nce_loss": nt_xent,
    "info_nce": one_way,
    "symmetric": symmetric,
    "decoupled": decoupled,
}


@register("AuxiliaryLoss")
class AuxiliaryLoss(keras.layers.Layer):
    """Compares two views of the same rows and reports the result as a loss while training.

    With rows a_i of the first input, b_i of the second, and s = similarity / temperature, the types are

    - `l2_loss`: the mean over rows of `|a_i - b_i|^2`;
    - `info_nce`: the mean over rows of `-log(exp(s(a_i, b_i)) / sum_j exp(s(a_i, b_j)))`, where each row of
      the first input has to find its own among those of the second;
    - `symmetric`: the mean of that in both directions;
    - `nce_loss` (NT-Xent): the mean over all 2 * batch views v of `-log(exp(s(v, v')) / sum_w exp(s(v, w)))`,
      where v' is the other view of v's row, and w runs over all views but v;
    - `decoupled`: `nce_loss` without v' in the sum, which has no lower bound.

    The loss is reported through `easyssl.losses.report_loss` as `<layer name>_<loss_type>`, with `_loss` at
    the end if the type does not end so; outside of `collect_losses` that is Keras's `add_loss`. Everything is
    computed in float32. With a batch of one every contrastive loss is exactly 0.

    A row one of whose views is a vector of zeros, as encoders give for an empty sequence, has weight 0: it is
    neither in the mean nor a negative of other rows. Where no row is left the loss is exactly 0, and so are
    its gradients. Gradients reach both inputs, also as negatives.

    A third input of ids tells false negatives: rows of one id, such as the same user or the same target
    item twice in a batch, are then no negatives of each other.

    Args:
        loss_type: "l2_loss", "nce_loss", "info_nce", "symmetric" or "decoupled".
        loss_weight: Factor of the loss. Defaults to 1.0.
        temperature: Divisor of the similarities; EasyRec's default. CL4SRec has 1.0. Defaults to 0.1.
        normalize: Whether similarities are cosines; otherwise they are dot products. Defaults to False.
        cross_replica: Whether the rows of other replicas of a distribution strategy are negatives, too.
            Defaults to False.
        reduction: "mean" or "sum" of the losses of the rows. "nce_loss" and "decoupled" have two a row, one
            for each view. Defaults to "mean".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown loss type or reduction, or a temperature that is not positive.

    Example:
        >>> from easyssl.losses import collect_losses
        >>> layer = AuxiliaryLoss("nce_loss", loss_weight=0.5, temperature=1.0, name="cl")
        >>> with collect_losses() as collected:
        ...     loss = layer([tf.eye(2), tf.eye(2)], training=True)
        >>> round(float(collected.terms["cl_nce_loss"].value), 4), round(float(loss), 4)
        (0.5514, 0.2757)

    References:
        Xie et al., "Contrastive learning for sequential recommendation", arXiv 2010.14395.

        Yeh et al., "Decoupled contrastive learning", arXiv 2110.06848.
    """

    def __init__(
        self,
        loss_type: Literal["l2_loss", "nce_loss", "info_nce", "symmetric", "decoupled"],
        loss_weight: float = 1.0,
        temperature: float = 0.1,
        normalize: bool = False,
        cross_replica: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # the inputs arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.loss_type = loss_type
        self.loss_weight = loss_weight
        self.temperature = temperature
        self.normalize = normalize
        self.cross_replica = cross_replica
        self.reduction = reduction
        self.supports_masking = True
        if loss_type not in _NAMES:
            raise ValueError(f"AuxiliaryLoss: unknown loss_type '{loss_type}'{nearest(loss_type, _NAMES)}")
        check_similarity("dot", temperature)
        check_reduction(reduction)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Two tensors `[batch, dim]`, and optionally ids `[batch]` or `[batch, 1]`.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.

        Raises:
            ValueError: If the inputs are not two matrices of one width, and ids for a contrastive loss only.
        """
        left, right, ids = self._views(inputs)
        weights = row_weights([left, right])
        if self.loss_type == "l2_loss":
            loss = l2_distance(left, right, weights=weights, reduction=self.reduction)
        else:
            loss = _CONTRASTIVE[self.loss_type](
                left,
                right,
                similarity="cosine" if self.normalize else "dot",
                temperature=self.temperature,
                weights=weights,
                ids=ids,
                cross_replica=self.cross_replica,
                reduction=self.reduction,
            )
        if training:
            report_loss(self, f"{self.name}_{_NAMES[self.loss_type]}", loss, self.loss_weight)
        return loss * self.loss_weight

    def _views(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        shapes = [x.shape for x in inputs] if isinstance(inputs, list | tuple) else [inputs.shape]
        views, rest = shapes[:2], [tuple(shape) for shape in shapes[2:]]
        fits = [len(shape) for shape in views] == [2, 2] and views[0][-1] == views[1][-1]
        if len(rest) == 1 and self.loss_type != "l2_loss":
            fits &= len(rest[0]) == 1 or (len(rest[0]) == 2 and rest[0][1] == 1)
        else:
            fits &= not rest
        if not fits:
            ids = "" if self.loss_type == "l2_loss" else ", and optionally ids [batch]"
            raise ValueError(
                f"AuxiliaryLoss '{self.name}' takes two inputs [batch, dim] of one width{ids}. "
                "Received shapes: " + ", ".join(str(tuple(shape)) for shape in shapes)
            )
        return inputs[0], inputs[1], tf.reshape(inputs[2], [-1]) if rest else None

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a scalar has no mask."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "loss_type": self.loss_type,
            "loss_weight": self.loss_weight,
            "temperature": self.temperature,
            "normalize": self.normalize,
            "cross_replica": self.cross_replica,
            "reduction": self.reduction,
        }
