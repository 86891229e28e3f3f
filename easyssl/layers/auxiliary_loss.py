"""A loss between two representations, added to whatever else is trained."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.contrastive import check_similarity, l2_distance, nt_xent, one_way
from easyssl.losses.collect import report_loss
from easyssl.registry import register

_NAMES = {"l2_loss": "l2_loss", "nce_loss": "nce_loss", "info_nce": "info_nce_loss"}


@register("AuxiliaryLoss")
class AuxiliaryLoss(keras.layers.Layer):
    """Compares two views of the same rows and reports the result as a loss while training.

    The loss is reported through `easyssl.losses.report_loss` as `<layer name>_l2_loss`, `<layer
    name>_nce_loss` or `<layer name>_info_nce_loss`; outside of `collect_losses` that is Keras's `add_loss`.
    Everything is computed in float32. With a batch of one both contrastive losses are exactly 0.

    Args:
        loss_type: "l2_loss", the mean squared distance; "nce_loss", where each of the 2 * batch views has to
            find the other one of its row among all others; or "info_nce", where each row of the first input
            has to find its row among those of the second.
        loss_weight: Factor of the loss. Defaults to 1.0.
        temperature: Divisor of the similarities. Defaults to 0.1.
        normalize: Whether similarities are cosines; otherwise they are dot products. Defaults to False.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown loss type or a temperature that is not positive.

    Example:
        >>> from easyssl.losses import collect_losses
        >>> layer = AuxiliaryLoss("nce_loss", loss_weight=0.5, temperature=1.0, name="cl")
        >>> with collect_losses() as collected:
        ...     loss = layer([tf.eye(2), tf.eye(2)], training=True)
        >>> round(float(collected.terms["cl_nce_loss"].value), 4), round(float(loss), 4)
        (0.5514, 0.2757)

    References:
        Xie et al., "Contrastive learning for sequential recommendation", arXiv 2010.14395.
    """

    def __init__(
        self,
        loss_type: Literal["l2_loss", "nce_loss", "info_nce"],
        loss_weight: float = 1.0,
        temperature: float = 0.1,
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # the inputs arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.loss_type = loss_type
        self.loss_weight = loss_weight
        self.temperature = temperature
        self.normalize = normalize
        self.supports_masking = True
        if loss_type not in _NAMES:
            raise ValueError(f"AuxiliaryLoss: unknown loss_type '{loss_type}'{nearest(loss_type, _NAMES)}")
        check_similarity("dot", temperature)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Two tensors `[batch, dim]`.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.

        Raises:
            ValueError: If the inputs are not two matrices of one width.
        """
        left, right = self._views(inputs)
        similarity = "cosine" if self.normalize else "dot"
        if self.loss_type == "l2_loss":
            loss = l2_distance(left, right)
        elif self.loss_type == "nce_loss":
            loss = nt_xent(left, right, similarity=similarity, temperature=self.temperature)
        else:
            loss = one_way(left, right, similarity=similarity, temperature=self.temperature)
        if training:
            report_loss(self, f"{self.name}_{_NAMES[self.loss_type]}", loss, self.loss_weight)
        return loss * self.loss_weight

    def _views(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        shapes = [x.shape for x in inputs] if isinstance(inputs, list | tuple) else [inputs.shape]
        ranks = [len(shape) for shape in shapes]
        if ranks != [2, 2] or shapes[0][-1] != shapes[1][-1]:
            raise ValueError(
                f"AuxiliaryLoss '{self.name}' takes two inputs [batch, dim] of one width. Received shapes: "
                + ", ".join(str(tuple(shape)) for shape in shapes)
            )
        return inputs[0], inputs[1]

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
        }
