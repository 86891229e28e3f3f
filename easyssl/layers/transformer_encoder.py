"""A transformer over token ids."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.packing import Packing, add_by_step, unpack
from easyssl.functional.positions import sinusoids
from easyssl.layers.building import build_sublayer, check_positive, check_rate, input_shapes
from easyssl.layers.dropout import Dropout
from easyssl.layers.embedding_table import EmbeddingTable
from easyssl.layers.transformer_block import check_heads, encoder_block, step_packing
from easyssl.registry import register


@register("TransformerEncoder")
class TransformerEncoder(keras.layers.Layer):
    """Embeds tokens and lets all of them gather from all others, layer by layer.

    `x_t = drop(sqrt(hidden_size) * E[id_t] + p_t)`, then layers like `TransformerBlock`. The positions p are
    fixed sines and cosines (`easyssl.functional.positions.sinusoids`), or a learned table with
    `use_position_embeddings`. (EasyRec has that switch and does not act on it.)

    The output is the state of every token, or of the first one, of which the last layer then computes only
    that one. Which ids are tokens is told by a mask or by lengths; without either, all that are not negative,
    as those behind the end of a feature's cell are. What is no token is neither read nor attended to and
    comes out as zeros, so the amount of padding does not matter; a row without a token gives zeros. Tokens
    behind `max_position_embeddings` are cut.

    The table starts uniform between -0.05 and 0.05, and has sparse gradients. Softmax and normalisation run
    in float32 under every policy.

    Args:
        hidden_size: Width of the encoder, a multiple of the number of heads, and even unless positions are
            learned.
        num_hidden_layers: Number of transformer layers.
        num_attention_heads: Number of attention heads.
        intermediate_size: Width inside of the feed-forward networks.
        vocab_size: Number of different ids; one that is not below it is read as 0.
        hidden_act: Activation inside of the feed-forward networks. Defaults to "relu".
        hidden_dropout_prob: Dropout rate of the input and before each residual. Defaults to 0.1.
        max_position_embeddings: Number of tokens that are encoded at most. Defaults to 512.
        use_position_embeddings: Whether positions are learned. Defaults to False.
        output_all_token_embeddings: Whether to return all tokens, not the first. Defaults to True.
        attention_probs_dropout_prob: Dropout rate of the attention weights. Defaults to 0.0.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive, heads that do not divide `hidden_size`, an odd
            `hidden_size` with fixed positions, rates outside of [0, 1), or an unknown activation.

    Example:
        >>> layer = TransformerEncoder(hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        ...                            intermediate_size=16, vocab_size=100)
        >>> layer(tf.constant([[3, 14, 15], [9, -1, -1]])).shape
        TensorShape([2, 3, 8])

    References:
        Vaswani et al., "Attention is all you need", arXiv 1706.03762.
    """

    def __init__(
        self,
        hidden_size: int,
        num_hidden_layers: int,
        num_attention_heads: int,
        intermediate_size: int,
        vocab_size: int,
        hidden_act: str = "relu",
        hidden_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        use_position_embeddings: bool = False,
        output_all_token_embeddings: bool = True,
        attention_probs_dropout_prob: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.vocab_size = vocab_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.use_position_embeddings = use_position_embeddings
        self.output_all_token_embeddings = output_all_token_embeddings
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.supports_masking = True
        self._check()
        uniform = keras.initializers.RandomUniform(-0.05, 0.05)
        self.table = EmbeddingTable(vocab_size, hidden_size, uniform, name="table")
        self.dropout = Dropout(hidden_dropout_prob, dtype=self.dtype_policy, name="dropout")
        self.blocks = [encoder_block(self, f"block_{index}") for index in range(num_hidden_layers)]

    def _check(self) -> None:
        owner = "TransformerEncoder"
        check_heads(owner, self.hidden_size, self.num_attention_heads)
        sizes = ("num_hidden_layers", "intermediate_size", "vocab_size", "max_position_embeddings")
        check_positive(owner, **{name: getattr(self, name) for name in sizes})
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            check_rate(owner, name, getattr(self, name))
        if self.hidden_size % 2 and not self.use_position_embeddings:
            raise ValueError(
                f"{owner}: fixed positions need an even `hidden_size`. Received: "
                f"hidden_size={self.hidden_size}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shapes = input_shapes(input_shape)
        if [len(shape) for shape in shapes] not in ([2], [2, 1], [2, 2]):
            raise ValueError(
                f"TransformerEncoder '{self.name}' takes ids [batch, seq_len] and, if wanted, a mask "
                f"[batch, seq_len] or lengths [batch]. Received shapes: {shapes}"
            )
        if self.use_position_embeddings:
            self.position_table = self.add_weight(
                name="position_table",
                shape=(self.max_position_embeddings, self.hidden_size),
                initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            )
        build_sublayer(self.table, (None,))
        for layer in (self.dropout, *self.blocks):
            build_sublayer(layer, (shapes[0][0], None, self.hidden_size))
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Encodes.

        Args:
            inputs: Ids `[batch, seq_len]`; or a list of them and, if wanted, of a mask `[batch, seq_len]`,
                bool or of floating numbers that are not 0 where ids are tokens, or of lengths `[batch]`.
            training: Whether to drop. Defaults to None, which is False.

        Returns:
            `[batch, seq_len, hidden_size]`, of at most `max_position_embeddings` tokens; or
            `[batch, hidden_size]`.

        Raises:
            ValueError: For a mask of integers, which could be the ids of another text.
        """
        ids, packing = self._tokens(inputs)
        # In tokens, before they are embedded: padding is not looked up.
        embedded = self.table(tf.gather_nd(ids, packing.coordinates))
        tokens = tf.cast(embedded * math.sqrt(self.hidden_size), self.compute_dtype)
        positions = self._positions(tf.shape(ids)[1])
        tokens = add_by_step(tokens, tf.cast(positions, tokens.dtype), packing)
        tokens = self.dropout(tokens, training=training)
        for block in self.blocks[:-1]:
            tokens = block(tokens, packing=packing, training=training)
        if self.output_all_token_embeddings:
            tokens = self.blocks[-1](tokens, packing=packing, training=training)
            valid, encoded = packing.mask[:, :, None], unpack(tokens, packing)
        else:
            steps = unpack(tokens, packing)
            valid = tf.reduce_any(packing.mask, axis=1)[:, None]
            encoded = self.blocks[-1](steps, mask=packing.mask, queries=steps[:, 0], training=training)
        return tf.where(valid, encoded, tf.zeros([], encoded.dtype))

    def _tokens(self, inputs: Any) -> tuple[tf.Tensor, Packing]:
        """Returns the ids, int64, and which of them are tokens."""
        ids, *told = inputs if isinstance(inputs, list | tuple) else [inputs]
        ids = tf.cast(tf.convert_to_tensor(ids)[:, : self.max_position_embeddings], tf.int64)
        valid = tf.convert_to_tensor(told[0]) if told else ids >= 0
        if valid.shape.rank == 2:
            if valid.dtype.is_integer:
                raise ValueError(
                    f"TransformerEncoder '{self.name}': a mask is bool or of floating numbers; several texts "
                    f"are what TextEncoder takes. Received a mask of dtype {valid.dtype.name}"
                )
            valid = valid[:, : self.max_position_embeddings]
        return ids, step_packing(valid, ids)

    def _positions(self, steps: tf.Tensor) -> tf.Tensor:
        if self.use_position_embeddings:
            return tf.convert_to_tensor(self.position_table)[:steps]
        return sinusoids(steps, self.hidden_size)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the inputs say what a token is."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "vocab_size",
            "hidden_act",
            "hidden_dropout_prob",
            "max_position_embeddings",
            "use_position_embeddings",
            "output_all_token_embeddings",
            "attention_probs_dropout_prob",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
