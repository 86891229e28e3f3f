"""A loss between two representations, added to whatever else is trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.contrastive import decoupled, l2_distance, nt_xent, one_way, symmetric
from easyssl.functional.masking import check_reduction
from easyssl.functional.prototypes import row_weights
from easyssl.functional.similarity import check_similarity
from easyssl.functional.spread_out import spread_out
from easyssl.losses.collect import report_loss
from easyssl.registry import register

_NAMES = {
    "l2_loss": "l2_loss",
    "nce_loss": "nce_loss",
    "info_nce": "info_nce_loss",
    "symmetric": "symmetric_loss",
    "decoupled": "decoupled_loss",
    "spread_out": "spread_out_loss",
}
_CONTRASTIVE: dict[str, Callable[..., tf.Tensor]] = {
    "nce_loss": nt_xent,
    "info_nce": one_way,
    "symmetric": symmetric,
    "decoupled": decoupled,
}


@register("AuxiliaryLoss")
class AuxiliaryLoss(keras.layers.Layer):
    """Compares two views of the same rows, or rows among themselves, and reports a loss while training.

    With rows a_i of the first input, b_i of the second, and s = similarity / temperature, the types are

    - `l2_loss`: the mean over rows of `|a_i - b_i|^2`;
    - `info_nce`: the mean over rows of `-log(exp(s(a_i, b_i)) / sum_j exp(s(a_i, b_j)))`, where each row of
      the first input has to find its own among those of the second;
    - `symmetric`: the mean of that in both directions;
    - `nce_loss` (NT-Xent): the mean over all 2 * batch views v of `-log(exp(s(v, v')) / sum_w exp(s(v, w)))`,
      where v' is the other view of v's row, and w runs over all views but v;
    - `decoupled`: `nce_loss` without v' in the sum, which has no lower bound;
    - `spread_out`, of a single input: the mean over rows of `sum_{j != i} similarity(a_i, a_j)^2`, which
      makes rows orthogonal to each other.

    The loss is reported through `easyssl.losses.report_loss` as `<layer name>_<loss_type>`, with `_loss` at
    the end if the type does not end so; outside of `collect_losses` that is Keras's `add_loss`. Everything is
    computed in float32. With a batch of one every loss but `l2_loss` is exactly 0.

    A row one of whose views is a vector of zeros, as encoders give for an empty sequence, has weight 0: it is
    neither in the mean nor a negative of other rows. Where no row is left the loss is exactly 0, and so are
    its gradients. Gradients reach both inputs, also as negatives.

    A further input of ids tells false negatives: rows of one id, such as the same user or the same target
    item twice in a batch, are then not compared with each other.

    Args:
        loss_type: "l2_loss", "nce_loss", "info_nce", "symmetric", "decoupled" or "spread_out".
        loss_weight: Factor of the loss. Defaults to 1.0.
        temperature: Divisor of the similarities in contrastive losses; EasyRec's default. CL4SRec has 1.0.
            Defaults to 0.1.
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

        Zhang et al., "Learning spread-out local feature descriptors", arXiv 1708.06320.
    """

    def __init__(
        self,
        loss_type: Literal["l2_loss", "nce_loss", "info_nce", "symmetric", "decoupled", "spread_out"],
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
            inputs: Two tensors `[batch, dim]`, for "spread_out" one, and optionally ids `[batch]` or
                `[batch, 1]`.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.

        Raises:
            ValueError: If the inputs are not matrices of one width, as many as the loss compares, and ids for
                another loss than "l2_loss" only.
        """
        views, ids = self._views(inputs)
        weights = row_weights(views)
        if self.loss_type == "l2_loss":
            loss = l2_distance(*views, weights=weights, reduction=self.reduction)
        else:
            contrastive = _CONTRASTIVE.get(self.loss_type)
            compare = (
                spread_out if contrastive is None else partial(contrastive, temperature=self.temperature)
            )
            loss = compare(
                *views,
                similarity="cosine" if self.normalize else "dot",
                weights=weights,
                ids=ids,
                cross_replica=self.cross_replica,
                reduction=self.reduction,
            )
        if training:
            report_loss(self, f"{self.name}_{_NAMES[self.loss_type]}", loss, self.loss_weight)
        return loss * self.loss_weight

    def _views(self, inputs: Any) -> tuple[list[tf.Tensor], tf.Tensor | None]:
        inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        count = 1 if self.loss_type == "spread_out" else 2
        shapes = [tuple(x.shape) for x in inputs]
        views, rest = shapes[:count], shapes[count:]
        fits = [len(shape) for shape in views] == [2] * count and views[0][-1] == views[-1][-1]
        if len(rest) == 1 and self.loss_type != "l2_loss":
            fits &= len(rest[0]) == 1 or (len(rest[0]) == 2 and rest[0][1] == 1)
        else:
            fits &= not rest
        if not fits:
            matrices = "one input [batch, dim]" if count == 1 else "two inputs [batch, dim] of one width"
            ids = "" if self.loss_type == "l2_loss" else ", and optionally ids [batch]"
            raise ValueError(
                f"AuxiliaryLoss '{self.name}' takes {matrices}{ids}. Received shapes: "
                + ", ".join(map(str, shapes))
            )
        return inputs[:count], tf.reshape(inputs[count], [-1]) if rest else None

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
