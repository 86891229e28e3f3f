"""The interest that a target meets."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.multi_interest import label_aware_interest, read_interest
from easyssl.layers.building import fit_together, input_shapes
from easyssl.registry import register

_OUTPUTS = ("interest", "score")


@register("InterestReadout")
class InterestReadout(keras.layers.Layer):
    """Picks for each target the interest with the largest dot product, the first one of equals.

    The choice is hard, in training as well: the gradient reaches the interest that is picked and, through
    whatever compares the two, the target, but no other interest. The score is the dot product of the picked
    interest with its target, `max_k z_k . e`, which is what retrieval ranks by; for all items at once there
    is `easyssl.functional.multi_interest.max_scores`. Dot products are computed in float32.

    With `power` the readout is MIND's label-aware attention while training: interests are mixed with the
    weights `softmax_k((z_k . e)^power)`, of which a negative dot product keeps its sign, and gradients reach
    all interests and, through the weights as well, the target. Without `training` the choice is the hard one.

    Args:
        output: "interest" for the picked vectors, or "score" for the largest dot products, in float32.
            Defaults to "interest".
        power: Exponent of the dot products in the weights, from 0 on: 0 takes the mean of the interests, 1 is
            plain attention, and large ones choose the best interest where its dot product is above 1.
            Defaults to None, which is the hard choice.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown output or a negative power.

    Example:
        >>> interests, target = tf.constant([[[1.0, 0.0], [0.0, 2.0]]]), tf.constant([[1.0, 1.0]])
        >>> InterestReadout()([interests, target]).numpy().tolist()
        [[0.0, 2.0]]
        >>> InterestReadout("score")([interests, target]).numpy().tolist()
        [[2.0]]
        >>> InterestReadout(power=0.0)([interests, target], training=True).numpy().tolist()
        [[0.5, 1.0]]

    References:
        Cen et al., "Controllable multi-interest framework for recommendation", arXiv 2005.09347 (hard).
        Li et al., "Multi-interest network with dynamic routing for recommendation at Tmall", arXiv
        1904.08030 (label-aware attention).
    """

    def __init__(
        self,
        output: Literal["interest", "score"] = "interest",
        power: float | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # the inputs arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.readout = output  # Keras has an attribute `output`
        self.power = power
        self.supports_masking = True
        if output not in _OUTPUTS:
            raise ValueError(f"InterestReadout: unknown output '{output}'{nearest(output, _OUTPUTS)}")
        if power is not None and not 0 <= power < float("inf"):
            raise ValueError(f"InterestReadout: `power` must be a number from 0 on. Received: {power}")

    def build(self, input_shape: Any) -> None:
        """Checks the shapes; there are no weights."""
        shapes = input_shapes(input_shape)
        ranks = [len(shape) for shape in shapes]
        if ranks not in ([3, 2], [3, 3]) or not fit_together(shapes[0][-1], shapes[1][-1]):
            raise ValueError(
                f"InterestReadout '{self.name}' takes interests [batch, num_interests, dim] and targets "
                f"[batch, dim] or [batch, num_targets, dim]. Received shapes: {shapes}"
            )
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Reads out.

        Args:
            inputs: Interests `[batch, num_interests, dim]`, and targets `[batch, dim]` or
                `[batch, num_targets, dim]`.
            training: Whether `power` acts. Defaults to None, which is False.

        Returns:
            "interest": in the dtype of the interests and the shape of the targets. "score": float32
            `[batch, num_targets]`, for targets without that axis `[batch, 1]`.
        """
        interests, targets = inputs
        several = targets.shape.rank == 3
        targets = targets if several else targets[:, None, :]
        if training and self.power is not None:
            chosen = label_aware_interest(interests, targets, self.power)
        else:
            chosen = read_interest(interests, targets)
        if self.readout == "score":
            return tf.einsum("bnd,bnd->bn", tf.cast(chosen, tf.float32), tf.cast(targets, tf.float32))
        return chosen if several else chosen[:, 0]

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: targets are no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "output": self.readout, "power": self.power}
