"""One layer of a transformer, as a config has it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.packing import Packing, dense_packing, pack, packing_of, packing_of_mask, unpack
from easyssl.layers.building import build_sublayer, check_positive, check_rate, input_shapes, last_dim
from easyssl.layers.encoder_block import EncoderBlock
from easyssl.registry import register

_EPSILON = 1e-6


def step_packing(told: tf.Tensor | None, steps: tf.Tensor) -> Packing:
    """Returns the packing of the valid steps.

    Args:
        told: Lengths `[batch]`, a mask `[batch, seq_len]`, or None for all steps.
        steps: `[batch, seq_len, ...]`.
    """
    if told is None:
        return dense_packing(tf.ones(tf.shape(steps)[:2], tf.bool))
    if told.shape.rank == 2:
        return packing_of_mask(tf.cast(told, tf.bool))
    count = tf.shape(steps)[1]
    return packing_of(tf.clip_by_value(tf.cast(told, tf.int32), 0, count), count)


def check_heads(layer: str, hidden_size: int, num_attention_heads: int) -> None:
    """Raises `ValueError` unless the heads share a width evenly.

    Args:
        layer: The layer's class, named in the error.
        hidden_size: The width.
        num_attention_heads: Number of heads.

    Raises:
        ValueError: With what was received.
    """
    check_positive(layer, hidden_size=hidden_size, num_attention_heads=num_attention_heads)
    if hidden_size % num_attention_heads:
        raise ValueError(
            f"{layer}: `hidden_size` must be a multiple of `num_attention_heads`. Received: "
            f"hidden_size={hidden_size}, num_attention_heads={num_attention_heads}"
        )


def encoder_block(layer: Any, name: str) -> EncoderBlock:
    """Makes a transformer layer from the parameters that its owner holds under the names of configs.

    Args:
        layer: The owner.
        name: The transformer layer's name.
    """
    return EncoderBlock(
        layer.num_attention_heads,
        layer.intermediate_size,
        activation=layer.hidden_act,
        dropout=layer.hidden_dropout_prob,
        attention_dropout=layer.attention_probs_dropout_prob,
        epsilon=_EPSILON,
        dtype=layer.dtype_policy,
        name=name,
    )


@register("TransformerBlock")
class TransformerBlock(keras.layers.Layer):
    """Self-attention with several heads and a feed-forward network, each with residual and normalisation.

    `h = LN(x + drop(attention(x)))`, `y = LN(h + drop(W2 act(W1 h + b1) + b2))`, where LN is a layer
    normalisation with epsilon 1e-6. All kernels start truncated normal with a standard deviation of 0.02.

    Only valid steps are computed; those that are not valid are never attended to, may hold anything, and come
    out as zeros, so the amount of padding does not matter. Softmax and normalisation run in float32 under
    every policy.

    A config gives the parameters of one `transformer` message; what of it is meant for `TransformerEncoder`
    has no effect here. There are no positions and no causality.

    Args:
        hidden_size: Width of input and output, a multiple of the number of heads.
        num_attention_heads: Number of attention heads.
        intermediate_size: Width inside of the feed-forward network.
        hidden_act: Activation inside of the feed-forward network. Defaults to "relu".
        hidden_dropout_prob: Dropout rate before each residual. Defaults to 0.1.
        attention_probs_dropout_prob: Dropout rate of the attention weights. Defaults to 0.0.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive, heads that do not divide `hidden_size`, rates outside of
            [0, 1), an unknown activation, or at build for an input of another width.

    Example:
        >>> layer = TransformerBlock(hidden_size=8, num_attention_heads=2, intermediate_size=16)
        >>> layer([tf.random.normal([3, 5, 8]), tf.constant([5, 2, 0])]).shape
        TensorShape([3, 5, 8])

    References:
        Vaswani et al., "Attention is all you need", arXiv 1706.03762.
    """

    def __init__(
        self,
        hidden_size: int,
        num_attention_heads: int,
        intermediate_size: int,
        hidden_act: str = "relu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.supports_masking = True
        check_heads("TransformerBlock", hidden_size, num_attention_heads)
        check_positive("TransformerBlock", intermediate_size=intermediate_size)
        check_rate("TransformerBlock", "hidden_dropout_prob", hidden_dropout_prob)
        check_rate("TransformerBlock", "attention_probs_dropout_prob", attention_probs_dropout_prob)
        self.block = encoder_block(self, "block")

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shapes = input_shapes(input_shape)
        if [len(shape) for shape in shapes] not in ([3], [3, 1], [3, 2]):
            raise ValueError(
                f"TransformerBlock '{self.name}' takes steps [batch, seq_len, dim] and, if wanted, a mask "
                f"[batch, seq_len] or lengths [batch]. Received shapes: {shapes}"
            )
        if last_dim(shapes[0], self) != self.hidden_size:
            raise ValueError(
                f"TransformerBlock '{self.name}' keeps the width of its input, which `hidden_size` must be. "
                f"Received: width={shapes[0][2]}, hidden_size={self.hidden_size}"
            )
        build_sublayer(self.block, (shapes[0][0], None, self.hidden_size))
        super().build(input_shape)

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> tf.Tensor:
        """Encodes.

        Args:
            inputs: Steps `[batch, seq_len, dim]`; or a list of them and of a mask `[batch, seq_len]`, which
                is not 0 where steps are valid, or of lengths `[batch]`.
            mask: Keras's mask of the steps, which acts if `inputs` has none. Defaults to None.
            training: Whether to drop. Defaults to None, which is False.

        Returns:
            `[batch, seq_len, dim]`.
        """
        steps, *told = inputs if isinstance(inputs, list | tuple) else [inputs]
        if not told and (known := _of_steps(mask)) is not None:
            told = [known]
        steps = tf.convert_to_tensor(steps)
        packing = step_packing(tf.convert_to_tensor(told[0]) if told else None, steps)
        # Whatever invalid steps hold must not reach a product with zero, which XLA computes.
        steps = tf.where(packing.mask[:, :, None], steps, tf.zeros([], steps.dtype))
        tokens = self.block(pack(steps, packing), packing=packing, training=training)
        encoded = unpack(tokens, packing)
        return tf.where(packing.mask[:, :, None], encoded, tf.zeros([], encoded.dtype))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Returns the mask of the steps."""
        return _of_steps(mask)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = (
            "hidden_size",
            "num_attention_heads",
            "intermediate_size",
            "hidden_act",
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _of_steps(mask: Any) -> Any:
    """Returns Keras's mask of the first input."""
    return mask[0] if isinstance(mask, list | tuple) else mask
