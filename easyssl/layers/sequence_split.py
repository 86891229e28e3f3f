"""The past and the future of a sequence."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.masking import length_mask
from easyssl.functional.random import add_random_state, advance, uniform
from easyssl.functional.sequences import reverse_steps
from easyssl.layers.building import input_shapes
from easyssl.layers.encoder_inputs import encoder_inputs
from easyssl.registry import register


@register("SequenceSplit")
class SequenceSplit(keras.layers.Layer):
    """Cuts sequences in two at random while training.

    A row of n steps, n >= 2, is cut behind its step s, drawn uniformly from 1 .. n - 1: the past holds steps
    1 .. s, the future s + 1 .. n. A shorter row has no future. Each call draws anew. Without `training` all
    is past.

    Args:
        reverse_future: Whether the future comes with its last step first, so that what an encoder sees at the
            end is what comes right after the past. Defaults to True.
        pad_id: What padding of ids becomes. Defaults to -1.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Example:
        >>> layer = SequenceSplit(seed=9)
        >>> parts = layer([tf.constant([[5, 6, 7, 8, 9]]), tf.constant([5])], training=True)
        >>> [(ids.numpy().tolist(), lengths.numpy().tolist()) for ids, lengths in parts]
        [([[5, 6, 7, -1, -1]], [3]), ([[9, 8, -1, -1, -1]], [2])]

    References:
        Ma et al., "Disentangled self-supervision in sequential recommenders", KDD 2020.
    """

    def __init__(
        self, reverse_future: bool = True, pad_id: int = -1, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.reverse_future = reverse_future
        self.pad_id = pad_id
        self.seed = seed
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the random state."""
        shapes = input_shapes(input_shape)
        if [len(shape) for shape in shapes[:2]] not in ([3, 1], [2, 1]):
            raise ValueError(
                f"SequenceSplit '{self.name}' takes a sequence [batch, seq_len, dim] or ids [batch, seq_len] "
                f"and lengths [batch]. Received shapes: {shapes}"
            )
        self.random_state = add_random_state(self, self.seed)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Cuts if `training`.

        Args:
            inputs: A sequence `[batch, seq_len, dim]` or ids `[batch, seq_len]`, and the lengths `[batch]`;
                further inputs are ignored.
            training: Whether the model trains. Defaults to None, which is False.

        Returns:
            A list of the past and the future, each a tuple of a sequence in the shape of the input, with
            zeros or `pad_id` in the padding, and lengths, int32 `[batch]`.
        """
        sequence, lengths = encoder_inputs(inputs)
        before = lengths
        if training:
            share = uniform(advance(self.random_state), tf.shape(lengths))
            cut = 1 + tf.cast(share * tf.cast(lengths - 1, tf.float32), tf.int32)
            before = tf.where(lengths < 2, lengths, tf.minimum(cut, lengths - 1))
        after = lengths - before
        future = reverse_steps(sequence, lengths)
        if not self.reverse_future:
            future = reverse_steps(future, after)
        return [(self._padded(sequence, before), before), (self._padded(future, after), after)]

    def _padded(self, sequence: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        valid = length_mask(lengths, tf.shape(sequence)[1])
        if sequence.shape.rank == 3:
            return tf.where(valid[:, :, None], sequence, tf.zeros([], sequence.dtype))
        return tf.where(valid, sequence, tf.cast(self.pad_id, sequence.dtype))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the lengths say what is valid."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("reverse_future", "pad_id", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
