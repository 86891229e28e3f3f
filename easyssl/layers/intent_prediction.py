"""A loss between the intents of the past and those of the future."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.intents import check_intents, predict_intents
from easyssl.functional.prototypes import row_weights
from easyssl.layers.building import fit_together, input_shapes
from easyssl.losses.collect import report_loss
from easyssl.registry import register


@register("IntentPrediction")
class IntentPrediction(keras.layers.Layer):
    """Lets the past of a sequence predict the intents of its future: DSSRec's sequence-to-sequence loss.

    Each intent of the past has to find the intent of the same number of its own future among all intents of
    all futures of the batch; the formula is in `easyssl.functional.intents.predict_intents`. Only the pairs
    that fit best count, as many as `kept_share` says. While training it is reported as
    `<layer name>_intent_loss`.

    Gradients reach both sides; which pairs are kept has none. A row counts if neither side is all zeros,
    which `DisentangledIntents` gives for empty sequences. Everything is computed in float32.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.0.
        temperature: Divisor of the dot products. Defaults to None, which is `sqrt(dim)`.
        kept_share: Share of the pairs that count, in (0, 1]. Defaults to 0.5.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a number out of range.

    Example:
        >>> layer = IntentPrediction(temperature=1.0, kept_share=1.0)
        >>> intents = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
        >>> round(float(layer([intents, intents])), 4)  # log(e + 1) - 1
        0.3133

    References:
        Ma et al., "Disentangled self-supervision in sequential recommenders", KDD 2020.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float | None = None,
        kept_share: float = 0.5,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # the inputs arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.loss_weight = loss_weight
        self.temperature = temperature
        self.kept_share = kept_share
        self.supports_masking = True
        check_intents(temperature, kept_share)

    def build(self, input_shape: Any) -> None:
        """Checks the shapes; there are no weights."""
        shapes = input_shapes(input_shape)
        fits = [len(shape) for shape in shapes] == [3, 3]
        if not fits or not all(fit_together(a, b) for a, b in zip(*shapes, strict=True)):
            raise ValueError(
                f"IntentPrediction '{self.name}' takes intents of the past and of the future, both [batch, "
                f"num_intents, dim]. Received shapes: {shapes}"
            )
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Intents of the past and of the future, both `[batch, num_intents, dim]`.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        past, future = inputs
        present = [tf.reduce_any(x != 0, axis=1) for x in (past, future)]
        loss = predict_intents(
            past,
            future,
            temperature=self.temperature,
            kept_share=self.kept_share,
            weights=row_weights([tf.cast(x, tf.float32) for x in present]),
        )
        if training:
            report_loss(self, f"{self.name}_intent_loss", loss, self.loss_weight)
        return loss * self.loss_weight

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a scalar has no mask."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("loss_weight", "temperature", "kept_share")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
