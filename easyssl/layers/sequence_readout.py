"""What is read of the states of a sequence."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.sequences import read_out, reverse_steps
from easyssl.layers.encoder_inputs import check_encoder_inputs, encoder_inputs
from easyssl.registry import register

_OUTPUTS = ("last", "mean", "concat")


@register("SequenceReadout")
class SequenceReadout(keras.layers.Layer):
    """Sums up the states of a sequence, as encoders give them with `output="sequence"`.

    So one encoder serves both a loss of every step and one of whole rows. Nothing is trained. Padding may
    hold anything; a row of length 0 gives zeros. Means are computed in float32 under every policy.

    Args:
        output: "last" for the last valid state; "mean" for the mean of the valid states; "concat" for all of
            them end to end, the last one first, so that the dot product of two such rows compares their
            recent steps with each other, which is what ICLRec does. Defaults to "last".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown output.

    Example:
        >>> states, lengths = tf.constant([[[1.0], [3.0], [9.0]]]), tf.constant([2])
        >>> [SequenceReadout(o)([states, lengths]).numpy().tolist() for o in ("last", "mean", "concat")]
        [[[3.0]], [[2.0]], [[3.0, 1.0, 0.0]]]

    References:
        Chen et al., "Intent contrastive learning for sequential recommendation", arXiv 2202.02519.
    """

    def __init__(self, output: Literal["last", "mean", "concat"] = "last", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_kind = output
        self.supports_masking = True
        if output not in _OUTPUTS:
            raise ValueError(f"SequenceReadout: unknown output '{output}'{nearest(output, _OUTPUTS)}")

    def build(self, input_shape: Any) -> None:
        """Checks the shapes."""
        check_encoder_inputs(self, input_shape)
        super().build(input_shape)

    @property
    def row_by_row(self) -> bool:
        """Whether no row depends on another or on padding, so that rows of several calls can share one."""
        return self.output_kind != "concat"

    def call(self, inputs: Any) -> tf.Tensor:
        """Reads.

        Args:
            inputs: States `[batch, seq_len, dim]` and lengths `[batch]`, clipped to `seq_len`, since
                an encoder may have kept the last steps only; further inputs are ignored.

        Returns:
            `[batch, dim]`; with "concat" `[batch, seq_len * dim]`.
        """
        states, lengths = encoder_inputs(inputs)
        if self.output_kind != "concat":
            return read_out(states, lengths, self.output_kind)
        steps = reverse_steps(read_out(states, lengths, "sequence"), lengths)
        shape = tf.shape(steps)
        flat = tf.reshape(steps, [shape[0], shape[1] * shape[2]])
        if None not in steps.shape[1:]:
            flat = tf.ensure_shape(flat, [None, steps.shape[1] * steps.shape[2]])
        return flat

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "output": self.output_kind}
