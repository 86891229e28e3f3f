"""What the losses on interests take."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from easyssl.errors import nearest
from easyssl.functional.masking import length_mask
from easyssl.functional.multi_interest import interest_positives
from easyssl.layers.building import Shape, fit_together, input_shapes

_PRESETS = ("standard", "official")


class InterestInputs(NamedTuple):
    """The inputs of a loss on interests.

    Attributes:
        interests: `[batch, num_interests, dim]`, before any head.
        attention: `[batch, num_interests, seq_len]`.
        items: `[batch, seq_len, dim]`.
        lengths: int32 `[batch]`.
        ids: `[batch, seq_len]`, or None.
    """

    interests: tf.Tensor
    attention: tf.Tensor
    items: tf.Tensor
    lengths: tf.Tensor
    ids: tf.Tensor | None

    @property
    def valid(self) -> tf.Tensor:
        """Which steps are valid, bool `[batch, seq_len]`."""
        return length_mask(self.lengths, tf.shape(self.items)[1])

    def positives(self, threshold: float | None) -> tf.Tensor:
        """Which steps each interest stands for; see `interest_positives`."""
        return interest_positives(self.attention, self.valid, threshold)


def interest_inputs(inputs: Any) -> InterestInputs:
    """Names the inputs of a layer, a list that `check_interest_inputs` accepted the shapes of."""
    interests, attention, items, lengths, *rest = inputs
    return InterestInputs(interests, attention, items, tf.cast(lengths, tf.int32), rest[0] if rest else None)


def check_interest_inputs(layer: Any, input_shape: Any, takes_ids: bool = False) -> list[Shape]:
    """Checks the shapes of the inputs in a layer's `build`.

    Args:
        layer: The layer, named in the error.
        input_shape: What `build` received.
        takes_ids: Whether ids may come last. Defaults to False.

    Returns:
        The shapes of interests, attention, items and lengths.

    Raises:
        ValueError: If they are other ones.
    """
    shapes = input_shapes(input_shape)
    ranks = [len(shape) for shape in shapes]
    fits = ranks == [3, 3, 3, 1] or (takes_ids and ranks == [3, 3, 3, 1, 2])
    if fits:
        interests, attention, items = shapes[:3]
        fits = fit_together(interests[1], attention[1]) and fit_together(interests[2], items[2])
        fits = fits and fit_together(attention[2], items[1])
    if not fits:
        raise ValueError(
            f"{type(layer).__name__} '{layer.name}' takes interests [batch, num_interests, dim], attention "
            "[batch, num_interests, seq_len], a sequence [batch, seq_len, dim] and lengths [batch]"
            f"{', and optionally ids [batch, seq_len]' if takes_ids else ''}. Received shapes: {shapes}"
        )
    return shapes[:4]


def check_preset(layer: str, preset: str) -> None:
    """Raises `ValueError` unless a preset is "standard" or "official".

    Args:
        layer: The layer's class, named in the error.
        preset: The preset.

    Raises:
        ValueError: With what was received.
    """
    if preset not in _PRESETS:
        raise ValueError(f"{layer}: unknown preset '{preset}'{nearest(preset, _PRESETS)}")


def check_threshold(layer: str, threshold: float | None) -> None:
    """Raises `ValueError` unless a threshold of attention is None or in [0, 1).

    Args:
        layer: The layer's class, named in the error.
        threshold: The threshold.

    Raises:
        ValueError: With what was received.
    """
    if threshold is not None and not 0 <= threshold < 1:
        raise ValueError(f"{layer}: `threshold` must be in [0, 1). Received: threshold={threshold}")
