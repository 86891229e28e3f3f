"""The second loss of Re4: attention agrees with retrieval."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.masking import check_reduction
from easyssl.functional.multi_interest import re_attend
from easyssl.layers.interest_inputs import check_interest_inputs, interest_inputs
from easyssl.losses.collect import report_loss
from easyssl.registry import register

_TARGETS = ("retrieval", "attention")


@register("ReAttend")
class ReAttend(keras.layers.Layer):
    """Aligns the attention of an interest with what the interest retrieves from the sequence.

    The retrieval distribution of interest z_k is `r_k = softmax_i(z_k . x_i)` over the valid steps x_i, by
    the dot product that ranks items. The loss is its cross entropy with the attention,
    `-sum_i r_ki log a_ki`, averaged over interests and rows with a valid step, and exactly 0 without such a
    row. While training it is reported as `<layer name>_attend_loss`. It is computed in float32.

    Gradients reach interests, items and attention, unless the target is stopped.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.0.
        target: "retrieval", as above, or "attention" for `-sum_i a_ki log r_ki`. Defaults to "retrieval".
        target_stop_gradient: Whether the target is constant; the published code lets it move, training is
            steadier if it does not. Defaults to False.
        reduction: "mean" over interests and rows, or their "sum". Defaults to "mean".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown target or reduction.

    Example:
        >>> interests, attention = tf.zeros([1, 1, 2]), tf.constant([[[0.5, 0.5]]])
        >>> round(float(ReAttend()([interests, attention, tf.eye(2)[None], tf.constant([2])])), 4)
        0.6931

    References:
        Zhang et al., "Re4: learning to re-contrast, re-attend, re-construct for multi-interest
        recommendation", arXiv 2208.08011.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        target: Literal["retrieval", "attention"] = "retrieval",
        target_stop_gradient: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # the logarithm needs the attention in float32
        super().__init__(**kwargs)
        self.loss_weight = loss_weight
        self.target = target
        self.target_stop_gradient = target_stop_gradient
        self.reduction = reduction
        self.supports_masking = True
        check_reduction(reduction)
        if target not in _TARGETS:
            raise ValueError(f"ReAttend: unknown target '{target}'{nearest(target, _TARGETS)}")

    def build(self, input_shape: Any) -> None:
        """Checks the shapes; there are no weights."""
        check_interest_inputs(self, input_shape)
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Interests before any head `[batch, num_interests, dim]` and attention `[batch,
                num_interests, seq_len]`, as `MultiInterestAttention` gives them; the sequence `[batch,
                seq_len, dim]` and its lengths `[batch]`.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        given = interest_inputs(inputs)
        loss = re_attend(
            given.interests,
            given.attention,
            given.items,
            given.valid,
            target=self.target,
            target_stop_gradient=self.target_stop_gradient,
            reduction=self.reduction,
        )
        if training:
            report_loss(self, f"{self.name}_attend_loss", loss, self.loss_weight)
        return loss * self.loss_weight

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a scalar has no mask."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("loss_weight", "target", "target_stop_gradient", "reduction")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
