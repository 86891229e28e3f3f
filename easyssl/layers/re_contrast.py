"""The first loss of Re4: interests are told apart."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.masking import check_reduction
from easyssl.functional.re_contrast import re_contrast
from easyssl.functional.similarity import check_similarity
from easyssl.layers.building import check_not_negative
from easyssl.layers.interest_inputs import (
    check_interest_inputs,
    check_preset,
    check_threshold,
    interest_inputs,
)
from easyssl.losses.collect import report_loss
from easyssl.registry import register


@register("ReContrast")
class ReContrast(keras.layers.Layer):
    """Draws interests to the steps they stand for, away from others.

    The positives of an interest z_k are the steps x_i with more attention than a threshold. With
    s = similarity / temperature, the loss is the mean over all pairs of an interest and a positive of

    `-log(exp(s(z_k, x_i)) / (exp(s(z_k, x_i)) + sum_n exp(s(z_k, n))))`

    where the negatives n are the row's other steps that are no positives of k, its other interests, and the
    steps of other rows. Steps behind a row's length are neither. While training it is reported as
    `<layer name>_contrast_loss`. It is computed in float32, and exactly 0 where no interest has a positive,
    as in rows of one step.

    Gradients reach interests and steps, none the attention: the choice of positives has no gradient. The
    defaults of temperature, threshold and `num_rolled` are those of the published code.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.0.
        temperature: Divisor of the similarities. Defaults to 0.02.
        threshold: Attention that a positive exceeds. Defaults to None, which is 1 / length.
        similarity: "cosine" or "dot". Defaults to "cosine".
        num_rolled: Number of other rows whose steps are negatives, the rows before this one in the batch;
            None for all rows. Defaults to 1.
        preset: "standard", or "official" for what the published code computes: other positives of the
            interest are in the denominator, too, and the mean is over all pairs of interests and steps;
            unlike there, padding does not count. Defaults to "standard".
        reduction: "mean" over the pairs, or their "sum". Defaults to "mean".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a number out of range, or an unknown name or reduction.

    Example:
        >>> interests, attention = tf.constant([[[1.0, 0.0]]]), tf.constant([[[0.8, 0.2]]])
        >>> layer = ReContrast(temperature=1.0)
        >>> round(float(layer([interests, attention, tf.eye(2)[None], tf.constant([2])])), 4)
        0.3133

    References:
        Zhang et al., "Re4: learning to re-contrast, re-attend, re-construct for multi-interest
        recommendation", arXiv 2208.08011.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 0.02,
        threshold: float | None = None,
        similarity: Literal["cosine", "dot"] = "cosine",
        num_rolled: int | None = 1,
        preset: Literal["standard", "official"] = "standard",
        reduction: Literal["mean", "sum"] = "mean",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # attention is compared with 1 / length in float32
        super().__init__(**kwargs)
        self.loss_weight = loss_weight
        self.temperature = temperature
        self.threshold = threshold
        self.similarity = similarity
        self.num_rolled = num_rolled
        self.preset = preset
        self.reduction = reduction
        self.supports_masking = True
        check_similarity(similarity, temperature)
        check_threshold("ReContrast", threshold)
        if num_rolled is not None:
            check_not_negative("ReContrast", num_rolled=num_rolled)
        check_preset("ReContrast", preset)
        check_reduction(reduction)

    def build(self, input_shape: Any) -> None:
        """Checks the shapes; there are no weights."""
        check_interest_inputs(self, input_shape, takes_ids=True)
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Interests before any head `[batch, num_interests, dim]` and attention `[batch,
                num_interests, seq_len]`, as `MultiInterestAttention` gives them; the sequence `[batch,
                seq_len, dim]` and its lengths `[batch]`; optionally ids `[batch, seq_len]`, by which an item
                is no negative of a row that also has it.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        given = interest_inputs(inputs)
        loss = re_contrast(
            given.interests,
            given.items,
            given.positives(self.threshold),
            given.valid,
            ids=given.ids,
            similarity=self.similarity,
            temperature=self.temperature,
            num_rolled=self.num_rolled,
            official=self.preset == "official",
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
            "threshold",
            "similarity",
            "num_rolled",
            "preset",
            "reduction",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
