"""Random changes of a sequence, for contrastive learning."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.augment import augment_sequence
from easyssl.functional.random import add_random_state, advance
from easyssl.layers.building import check_positive, input_shapes, last_dim
from easyssl.registry import register


@register("SeqAugment")
class SeqAugment(keras.layers.Layer):
    """Crops, masks or reorders each sequence while training.

    Every row gets one operator, drawn uniformly from the enabled ones, independently of the other rows:

    - crop keeps a contiguous window of `floor(crop_rate * length)` steps, at least `min_crop_len`, and moves
      it to the front; enabled by `crop_rate < 1`;
    - mask replaces `floor(mask_rate * length)` distinct steps by one trained vector; enabled by
      `mask_rate > 0`;
    - reorder permutes a contiguous window of `floor(reorder_rate * length)` steps; enabled by
      `reorder_rate > 0`.

    Every window is equally likely, the one at the end included. Rows of length 0 stay as they are. Each call
    draws anew, so two calls on one input give two views. Without `training` the input comes back unchanged,
    unless `apply_in_eval`.

    The mask vector is created in the variable dtype, float32 under mixed precision.

    Args:
        mask_rate: Share of the steps that a mask replaces. Defaults to 0.6.
        crop_rate: Share of the steps that a crop keeps. Defaults to 0.2.
        reorder_rate: Share of the steps that a reorder permutes. Defaults to 0.6.
        min_crop_len: Steps that a crop keeps at least, as far as the row has them. Defaults to 1.
        apply_in_eval: Whether to augment when not training, too. Defaults to False.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If a rate is not in [0, 1] or `min_crop_len` is not positive.

    Example:
        >>> layer = SeqAugment(mask_rate=0.0, crop_rate=0.5, reorder_rate=0.0, seed=7)
        >>> sequence, lengths = tf.random.normal([2, 6, 4]), tf.constant([6, 3])
        >>> view, view_lengths = layer([sequence, lengths], training=True)
        >>> view.shape, view_lengths.numpy().tolist()
        (TensorShape([2, 6, 4]), [3, 1])

    References:
        Xie et al., "Contrastive learning for sequential recommendation", arXiv 2010.14395, section 3.3.
    """

    def __init__(
        self,
        mask_rate: float = 0.6,
        crop_rate: float = 0.2,
        reorder_rate: float = 0.6,
        min_crop_len: int = 1,
        apply_in_eval: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mask_rate = mask_rate
        self.crop_rate = crop_rate
        self.reorder_rate = reorder_rate
        self.min_crop_len = min_crop_len
        self.apply_in_eval = apply_in_eval
        self.seed = seed
        self.supports_masking = True
        for name in ("mask_rate", "crop_rate", "reorder_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"SeqAugment: `{name}` must be in [0, 1]. Received: {getattr(self, name)}")
        check_positive("SeqAugment", min_crop_len=min_crop_len)

    def build(self, input_shape: Any) -> None:
        """Creates the mask vector and the random state."""
        shapes = input_shapes(input_shape)
        if len(shapes) < 2 or len(shapes[0]) != 3:
            raise ValueError(
                f"SeqAugment '{self.name}' takes a sequence [batch, seq_len, dim] and lengths [batch]. "
                f"Received shapes: {shapes}"
            )
        # Glorot's bounds come from both dimensions, so the 1 belongs to the definition.
        self.mask_vector = self.add_weight(
            name="mask_vector", shape=(1, last_dim(shapes[0], self)), initializer="glorot_uniform"
        )
        self.random_state = add_random_state(self, self.seed)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Augments if `training` or `apply_in_eval`.

        Args:
            inputs: A sequence `[batch, seq_len, dim]` and its lengths `[batch]`; further inputs, such as the
                target of a group in sequence mode, are ignored.
            training: Whether the model trains. Defaults to None, which is False.

        Returns:
            The sequence `[batch, seq_len, dim]` and its lengths, int32 `[batch]`.
        """
        sequence, lengths = inputs[0], tf.cast(inputs[1], tf.int32)
        if not (training or self.apply_in_eval):
            return sequence, lengths
        return augment_sequence(
            sequence,
            lengths,
            tf.convert_to_tensor(self.mask_vector)[0],
            advance(self.random_state),
            mask_rate=self.mask_rate,
            crop_rate=self.crop_rate,
            reorder_rate=self.reorder_rate,
            min_crop_len=self.min_crop_len,
        )

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the lengths say what is valid."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "mask_rate": self.mask_rate,
            "crop_rate": self.crop_rate,
            "reorder_rate": self.reorder_rate,
            "min_crop_len": self.min_crop_len,
            "apply_in_eval": self.apply_in_eval,
            "seed": self.seed,
        }
