"""The task of guessing steps of a sequence from the others."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.cloze import cloze_positions
from easyssl.functional.random import add_random_state, advance
from easyssl.functional.sequences import append_step
from easyssl.layers.building import input_shapes
from easyssl.layers.encoder_inputs import encoder_inputs
from easyssl.registry import register


@register("ClozeMask")
class ClozeMask(keras.layers.Layer):
    """Chooses the steps that a cloze task hides while training.

    `max(1, floor(mask_rate * length))` distinct steps of each row are chosen, every choice being equally
    likely; or, with probability `last_only_rate`, just the last one, which is what a recommender has to guess
    when it serves. Each call draws anew.

    Chosen ids become `mask_id`. Embeddings come back as they are: what they are replaced by is a trained
    vector of the encoder, which also marks the place behind the last step that is to be recommended. So hand
    the three outputs to `BERT4RecEncoder`, and its states at the chosen steps to a loss against the items
    that were there.

    Without `training` nothing is chosen, or with `append_next` the item to come: a step behind the last one,
    as a next-item model with targets HIDDEN_STEPS asks for. Rows of length 0 have nothing to choose from.

    Args:
        mask_rate: Share of a row's steps that is chosen, in (0, 1]. Defaults to 0.2.
        last_only_rate: Probability of a row that only its last step is chosen. Defaults to 0.5.
        mask_id: What chosen ids become: an id of its own, not the padding. Defaults to None.
        append_next: Whether rows get one more step without `training`, which is the one that is chosen. The
            encoder then needs a position for it. Defaults to False.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If a rate is out of its range.

    Example:
        >>> layer = ClozeMask(last_only_rate=1.0, mask_id=9)
        >>> ids, lengths, chosen = layer([tf.constant([[4, 5, 6, -1]]), tf.constant([3])], training=True)
        >>> ids.numpy().tolist(), chosen.numpy().tolist()
        ([[4, 5, 9, -1]], [[False, False, True, False]])

    References:
        Sun et al., "BERT4Rec: sequential recommendation with bidirectional encoder representations from
        transformer", arXiv 1904.06690.
    """

    def __init__(
        self,
        mask_rate: float = 0.2,
        last_only_rate: float = 0.5,
        mask_id: int | None = None,
        append_next: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mask_rate = mask_rate
        self.last_only_rate = last_only_rate
        self.mask_id = mask_id
        self.append_next = append_next
        self.seed = seed
        self.supports_masking = True
        if not 0 < mask_rate <= 1:
            raise ValueError(f"ClozeMask: `mask_rate` must be in (0, 1]. Received: mask_rate={mask_rate}")
        if not 0 <= last_only_rate <= 1:
            raise ValueError(
                f"ClozeMask: `last_only_rate` must be in [0, 1]. Received: last_only_rate={last_only_rate}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates the random state."""
        shapes = input_shapes(input_shape)
        if [len(shape) for shape in shapes[:2]] not in ([3, 1], [2, 1]):
            raise ValueError(
                f"ClozeMask '{self.name}' takes a sequence [batch, seq_len, dim] or ids [batch, seq_len], "
                f"and lengths [batch]. Received shapes: {shapes}"
            )
        self.random_state = add_random_state(self, self.seed)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Chooses if `training`.

        Args:
            inputs: A sequence `[batch, seq_len, dim]` or ids `[batch, seq_len]`, and the lengths `[batch]`;
                further inputs are ignored.
            training: Whether the model trains. Defaults to None, which is False.

        Returns:
            The sequence, or the ids with `mask_id` at the chosen steps; the lengths, int32 `[batch]`; and
            which steps are chosen, bool `[batch, seq_len]`. With `append_next` and without `training`,
            `seq_len` is one more, and so is each length but 0.

        Raises:
            ValueError: For ids without a `mask_id`.
        """
        sequence, lengths = encoder_inputs(inputs)
        if sequence.shape.rank == 2 and self.mask_id is None:
            raise ValueError(f"ClozeMask '{self.name}': masking ids needs `mask_id`")
        shape = tf.shape(sequence)
        if not training and not self.append_next:
            return sequence, lengths, tf.zeros(shape[:2], tf.bool)
        if not training:
            some = lengths > 0
            chosen = (tf.range(shape[1] + 1)[None, :] == lengths[:, None]) & some[:, None]
            longer = append_step(sequence, lengths, tf.zeros([], sequence.dtype))
            if sequence.shape.rank == 2:
                steps = tf.range(shape[1] + 1)[None, :]
                longer = tf.where(steps < lengths[:, None], longer, tf.constant(-1, sequence.dtype))
                longer = tf.where(chosen, tf.cast(self.mask_id, sequence.dtype), longer)
            return longer, lengths + tf.cast(some, tf.int32), chosen
        key = advance(self.random_state)
        chosen = cloze_positions(lengths, shape[1], key, self.mask_rate, self.last_only_rate)
        if sequence.shape.rank == 2:
            sequence = tf.where(chosen, tf.cast(self.mask_id, sequence.dtype), sequence)
        return sequence, lengths, chosen

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the lengths say what is valid."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "mask_rate": self.mask_rate,
            "last_only_rate": self.last_only_rate,
            "mask_id": self.mask_id,
            "append_next": self.append_next,
            "seed": self.seed,
        }
