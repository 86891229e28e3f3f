"""A transformer over right-padded sequences, the common part of encoders."""

from __future__ import annotations

import math
from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.activations import canonical_activation, works_row_by_row
from easyssl.functional.packing import add_by_step, pack, packing_of, take_step, unpack
from easyssl.functional.sequences import last_steps, read_out
from easyssl.functional.xla import in_xla
from easyssl.layers.building import Shape, build_sublayer, check_positive, check_rate, last_dim
from easyssl.layers.dropout import Dropout
from easyssl.layers.encoder_block import EncoderBlock
from easyssl.layers.encoder_inputs import check_encoder_inputs, check_readout
from easyssl.layers.layer_norm import LayerNorm

_EPSILON = 1e-12
_NORM_POSITIONS = ("post", "pre")


class SequenceTransformer(keras.layers.Layer):
    """Base of the encoders that are transformers.

    Steps are projected, scaled, given positions, normalised and dropped from, and then go through the
    transformer layers. Only valid steps are computed; if only the last one is read, the last transformer
    layer computes only that one. Results do not depend on the amount of padding.

    A subclass says whether it is `causal`, and what it encodes.
    """

    causal: bool

    def __init__(
        self,
        hidden_size: int | None = None,
        num_hidden_layers: int = 2,
        num_attention_heads: int = 2,
        intermediate_size: int | None = None,
        hidden_act: str = "relu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        use_position_embeddings: bool = True,
        scale_embeddings: bool = False,
        embedding_norm: bool = True,
        norm_position: Literal["post", "pre"] = "post",
        initializer_range: float = 0.02,
        output: Literal["last", "mean", "sequence"] = "last",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = canonical_activation(hidden_act)
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.use_position_embeddings = use_position_embeddings
        self.scale_embeddings = scale_embeddings
        self.embedding_norm = embedding_norm
        self.norm_position = norm_position
        self.initializer_range = initializer_range
        self.output_kind = output
        self.supports_masking = True
        self._check()

    def _check(self) -> None:
        owner = type(self).__name__
        sizes = ("num_hidden_layers", "num_attention_heads", "max_position_embeddings")
        optional = tuple(
            name for name in ("hidden_size", "intermediate_size") if getattr(self, name) is not None
        )
        check_positive(owner, **{name: getattr(self, name) for name in (*sizes, *optional)})
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            check_rate(owner, name, getattr(self, name))
        if self.hidden_size is not None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"{owner}: `hidden_size` must be a multiple of `num_attention_heads`. Received: "
                f"hidden_size={self.hidden_size}, num_attention_heads={self.num_attention_heads}"
            )
        if self.norm_position not in _NORM_POSITIONS:
            raise ValueError(
                f"{owner}: unknown norm_position '{self.norm_position}'"
                f"{nearest(self.norm_position, _NORM_POSITIONS)}"
            )
        check_readout(owner, self.output_kind)

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shape = check_encoder_inputs(self, input_shape)[0]
        width = self.hidden_size or last_dim(shape, self)
        tokens = (shape[0], None, width)
        policy = self.dtype_policy
        self.projection = self._projection(shape, width)
        if self.use_position_embeddings:
            self.position_table = self.add_weight(
                name="position_table",
                shape=(self.max_position_embeddings, width),
                initializer=keras.initializers.TruncatedNormal(stddev=self.initializer_range),
            )
        self.embedding_layer_norm = (
            LayerNorm(_EPSILON, dtype=policy, name="embedding_norm") if self.embedding_norm else None
        )
        self.dropout = Dropout(self.hidden_dropout_prob, dtype=policy, name="dropout")
        self.blocks = [self._block(index, width) for index in range(self.num_hidden_layers)]
        self.final_norm = (
            LayerNorm(_EPSILON, dtype=policy, name="final_norm") if self.norm_position == "pre" else None
        )
        for layer in (self.embedding_layer_norm, self.dropout, *self.blocks, self.final_norm):
            if layer is not None:
                build_sublayer(layer, tokens)
        super().build(input_shape)

    def _projection(self, shape: Shape, width: int) -> Any:
        if last_dim(shape, self) == width:
            return None
        dense = keras.layers.Dense(
            width,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=self.initializer_range),
            dtype=self.dtype_policy,
            name="projection",
        )
        build_sublayer(dense, shape)
        return dense

    def _block(self, index: int, width: int) -> EncoderBlock:
        return EncoderBlock(
            self.num_attention_heads,
            self.intermediate_size or width,
            activation=self.hidden_act,
            dropout=self.hidden_dropout_prob,
            attention_dropout=self.attention_probs_dropout_prob,
            initializer_range=self.initializer_range,
            epsilon=_EPSILON,
            causal=self.causal,
            norm_position=self.norm_position,
            dtype=self.dtype_policy,
            name=f"block_{index}",
        )

    @property
    def row_by_row(self) -> bool:
        """Whether no row depends on another, so that rows of several calls can share one."""
        return works_row_by_row(self.hidden_act)

    def encode(
        self,
        sequence: tf.Tensor,
        lengths: tf.Tensor,
        output: str,
        training: bool | None,
        limit: int | None = None,
    ) -> tf.Tensor:
        """Encodes sequences of at most `max_position_embeddings` valid steps.

        Args:
            sequence: `[batch, seq_len, dim]`.
            lengths: int32 `[batch]`, from 0 to `seq_len`.
            output: "last", "mean" or "sequence"; see `easyssl.functional.sequences.read_out`.
            training: Whether to drop.
            limit: How many of a row's last steps are encoded at most. Defaults to None, which is all.

        Returns:
            `[batch, hidden_size]` or `[batch, min(seq_len, limit), hidden_size]`.
        """
        first = None
        if limit is not None and (in_xla() or (sequence.shape[1] or limit + 1) <= limit):
            sequence, lengths = last_steps(sequence, lengths, limit)
        elif limit is not None:
            first, lengths = tf.maximum(lengths - limit, 0), tf.minimum(lengths, limit)
        count = tf.shape(sequence)[1]
        count = count if first is None else tf.minimum(count, limit)
        packing = packing_of(lengths, count)
        tokens = pack(sequence, packing, first)
        if self.projection is not None:
            tokens = self.projection(tokens)
        if self.scale_embeddings:
            tokens *= math.sqrt(tokens.shape[-1])
        if self.use_position_embeddings:
            table = tf.cast(tf.convert_to_tensor(self.position_table), tokens.dtype)
            tokens = add_by_step(tokens, table[:count], packing)
        if self.embedding_layer_norm is not None:
            tokens = self.embedding_layer_norm(tokens)
        tokens = self.dropout(tokens, training=training)
        for block in self.blocks[:-1]:
            tokens = block(tokens, packing=packing, training=training)
        if output != "last":
            tokens = self._normed(self.blocks[-1](tokens, packing=packing, training=training))
            encoded = unpack(tokens, packing)
            if output == "sequence" and not packing.dense:
                return encoded  # zeros are where they have to be
            return read_out(encoded, lengths, output)
        # One step of each row is read, so the last block encodes only that one.
        last = take_step(tokens, lengths - 1, packing)
        block = self.blocks[-1](tokens, packing=packing, queries=last, training=training)
        encoded = self._normed(block)
        return tf.where(lengths[:, None] > 0, encoded, tf.zeros([], encoded.dtype))

    def _normed(self, x: tf.Tensor) -> tf.Tensor:
        return x if self.final_norm is None else self.final_norm(x)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the lengths say what is valid."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "hidden_act",
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "max_position_embeddings",
            "use_position_embeddings",
            "scale_embeddings",
            "embedding_norm",
            "norm_position",
            "initializer_range",
        )
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "output": self.output_kind,
        }
