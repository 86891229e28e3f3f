"""The sequence encoder of Behavior Sequence Transformer."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.activations import activation, canonical_activation, works_row_by_row
from easyssl.functional.packing import Packing, add_by_step, join_row, pack, packing_of, take_step, unpack
from easyssl.layers.building import (
    build_sublayer,
    check_longest,
    check_positive,
    check_rate,
    input_shapes,
    last_dim,
)
from easyssl.layers.dropout import Dropout
from easyssl.layers.encoder_block import EncoderBlock
from easyssl.layers.layer_norm import LayerNorm
from easyssl.registry import register

_POSITIONS = ("head", "tail", "ignore")
_EPSILON = 1e-12


@register("BST")
class BST(keras.layers.Layer):
    """Encodes a behaviour sequence, with or without the target item, by a post-norm transformer.

    Sequence and target are projected to `hidden_size` if their width differs from it. The target is one more
    token at the head or tail. Learned positions, layer normalisation and dropout follow, then the transformer
    layers. Steps behind a row's length are never attended to and come out as zeros, so results do not depend
    on the amount of padding.

    The output is one of:

    - with `output_all_token_embeddings` all tokens, padded or cut to `max_position_embeddings` steps, plus
      one for the target, and flattened. Without a target its place holds zeros, or with
      `reserve_target_position=False` does not exist;
    - otherwise one token: for "head" the first (the target if there is one, else the first step), for "tail"
      the last (the target if there is one, else the last valid step), for "ignore" the last valid step.

    "ignore" means that a target is neither needed nor used. At the head the target has position 0 and the
    steps follow from 1; at the tail it has the position behind the last possible step.

    Args:
        hidden_size: Width of the encoder, a multiple of the number of heads.
        num_hidden_layers: Number of transformer layers.
        num_attention_heads: Number of attention heads.
        intermediate_size: Width inside of the feed-forward networks.
        hidden_act: Activation inside of the feed-forward networks. Defaults to "gelu".
        hidden_dropout_prob: Dropout rate of the input and before each residual. Defaults to 0.1.
        attention_probs_dropout_prob: Dropout rate of the attention weights. Defaults to 0.1.
        max_position_embeddings: The longest sequence. Padding beyond it is cut; so are steps with
            `output_all_token_embeddings`, and otherwise a longer sequence is an error when executed eagerly
            (inside of a graph, which cannot raise on every device, it is cut). Defaults to 512.
        use_position_embeddings: Whether positions are added. Defaults to True.
        initializer_range: Standard deviation of the truncated normal initializer of the transformer's
            kernels. Defaults to 0.02.
        output_all_token_embeddings: Whether to return all tokens. Defaults to True.
        target_item_position: "head", "tail" or "ignore". Defaults to "head".
        reserve_target_position: Whether all tokens include a place for a target that is not given. Defaults
            to True.
        kernel_regularizer: Keras regularizer of the two projections' kernels. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive, heads that do not divide `hidden_size`, rates outside of
            [0, 1), or an unknown activation or position.

    Example:
        >>> layer = BST(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        ...             max_position_embeddings=10, output_all_token_embeddings=False)
        >>> sequence, lengths, target = tf.random.normal([3, 5, 4]), tf.constant([5, 2, 0]), tf.zeros([3, 4])
        >>> layer([sequence, lengths, target]).shape
        TensorShape([3, 8])

    References:
        Chen et al., "Behavior sequence transformer for e-commerce recommendation in Alibaba", arXiv
        1905.06874.
    """

    def __init__(
        self,
        hidden_size: int,
        num_hidden_layers: int,
        num_attention_heads: int,
        intermediate_size: int,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        use_position_embeddings: bool = True,
        initializer_range: float = 0.02,
        output_all_token_embeddings: bool = True,
        target_item_position: Literal["head", "tail", "ignore"] = "head",
        reserve_target_position: bool = True,
        kernel_regularizer: Any = None,
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
        self.initializer_range = initializer_range
        self.output_all_token_embeddings = output_all_token_embeddings
        self.target_item_position = target_item_position
        self.reserve_target_position = reserve_target_position
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self._check()
        policy = self.dtype_policy
        self.norm = LayerNorm(_EPSILON, dtype=policy, name="norm")
        self.dropout = Dropout(hidden_dropout_prob, dtype=policy, name="dropout")
        self.blocks = [
            EncoderBlock(
                num_attention_heads,
                intermediate_size,
                activation=self.hidden_act,
                dropout=hidden_dropout_prob,
                attention_dropout=attention_probs_dropout_prob,
                initializer_range=initializer_range,
                epsilon=_EPSILON,
                dtype=policy,
                name=f"block_{index}",
            )
            for index in range(num_hidden_layers)
        ]

    def _check(self) -> None:
        check_positive(
            "BST",
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            max_position_embeddings=self.max_position_embeddings,
        )
        check_rate("BST", "hidden_dropout_prob", self.hidden_dropout_prob)
        check_rate("BST", "attention_probs_dropout_prob", self.attention_probs_dropout_prob)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                "BST: `hidden_size` must be a multiple of `num_attention_heads`. Received: "
                f"hidden_size={self.hidden_size}, num_attention_heads={self.num_attention_heads}"
            )
        if self.target_item_position not in _POSITIONS:
            raise ValueError(
                f"BST: unknown target_item_position '{self.target_item_position}'"
                + nearest(self.target_item_position, _POSITIONS)
            )

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; a target of `None` is the same as no target."""
        if isinstance(inputs, list | tuple) and len(inputs) == 3 and inputs[2] is None:
            inputs = inputs[:2]
        return super().__call__(inputs, *args, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Creates all weights; whether there is a target is decided here."""
        shapes = input_shapes(input_shape)
        ranks = [len(shape) for shape in shapes]
        if ranks[:2] != [3, 1] or ranks[2:] not in ([], [2]):
            raise ValueError(
                f"BST '{self.name}' takes a sequence [batch, seq_len, dim], lengths [batch] and, if wanted, "
                f"a target [batch, dim]. Received shapes: {shapes}"
            )
        self._built_with_target = len(shapes) == 3 and self.target_item_position != "ignore"
        self.sequence_projection = self._projection("sequence_projection", shapes[0])
        self.target_projection = (
            self._projection("target_projection", shapes[2]) if self._built_with_target else None
        )
        if self.use_position_embeddings:
            self.position_table = self.add_weight(
                name="position_table",
                shape=(self._num_tokens, self.hidden_size),
                initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            )
        tokens = (shapes[0][0], None, self.hidden_size)
        for layer in (self.norm, self.dropout, *self.blocks):
            build_sublayer(layer, tokens)
        super().build(input_shape)

    def _projection(self, name: str, shape: tuple[int | None, ...]) -> Any:
        if last_dim(shape, self) == self.hidden_size:
            return None
        dense = keras.layers.Dense(
            self.hidden_size,
            activation=activation("relu"),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )
        build_sublayer(dense, shape)
        return dense

    @property
    def row_by_row(self) -> bool:
        """Whether no row depends on another, so that rows of several calls can share one."""
        return works_row_by_row(self.hidden_act)

    @property
    def _has_target_slot(self) -> bool:
        reserved = self.output_all_token_embeddings and self.reserve_target_position
        return self.target_item_position != "ignore" and (self._built_with_target or reserved)

    @property
    def _num_tokens(self) -> int:
        return self.max_position_embeddings + self._has_target_slot

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Encodes.

        Args:
            inputs: A sequence `[batch, seq_len, dim]`, its lengths `[batch]` and optionally a target
                `[batch, target_dim]`.
            training: Whether to drop. Defaults to None, which is False.

        Returns:
            `[batch, hidden_size]`, or all tokens as `[batch, tokens * hidden_size]`.

        Raises:
            ValueError: If there is a target in one call of the layer and none in another.
        """
        sequence, lengths, target = self._split(inputs)
        packing = packing_of(lengths, tf.minimum(tf.shape(sequence)[1], self.max_position_embeddings))
        tokens = pack(sequence, packing)
        if self.sequence_projection is not None:
            tokens = self.sequence_projection(tokens)
        if target is not None:
            if self.target_projection is not None:
                target = self.target_projection(target)
            tokens, packing = join_row(target, tokens, packing, first=self.target_item_position == "head")
        if self.use_position_embeddings:
            tokens = add_by_step(tokens, self._positions(packing, tokens.dtype, target is not None), packing)
        tokens = self.norm(tokens, factor=self.dropout.factor(training))
        tokens = self.dropout(tokens, training=training, scaled=True)
        for block in self.blocks[:-1]:
            tokens = block(tokens, packing=packing, training=training)
        if self.output_all_token_embeddings:
            tokens = unpack(self.blocks[-1](tokens, packing=packing, training=training), packing)
            tokens = tf.where(packing.mask[:, :, None], tokens, tf.zeros([], tokens.dtype))
            return self._flatten(tokens, target is not None)
        # One step of each row is read, so the last block encodes only that one.
        step = lengths - 1
        if self.target_item_position == "head":
            step = tf.zeros_like(lengths)
        elif target is not None:
            step = tf.fill(tf.shape(lengths), tf.shape(packing.mask)[1] - 1)
        query = take_step(tokens, step, packing)
        encoded = self.blocks[-1](tokens, packing=packing, queries=query, training=training)
        return tf.where(tf.reduce_any(packing.mask, axis=1)[:, None], encoded, tf.zeros([], encoded.dtype))

    def _split(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        target = inputs[2] if len(inputs) == 3 and self.target_item_position != "ignore" else None
        if (target is not None) != self._built_with_target:
            raise ValueError(
                f"BST '{self.name}' was first called {'with' if self._built_with_target else 'without'} a "
                f"target and now {'with' if target is not None else 'without'} one; use two layers"
            )
        longest = self.max_position_embeddings
        lengths = tf.cast(inputs[1], tf.int32)
        if not self.output_all_token_embeddings:
            check_longest(self, lengths, longest, "max_position_embeddings")
        return inputs[0], tf.clip_by_value(lengths, 0, longest), target

    def _positions(self, packing: Packing, dtype: Any, has_target: bool) -> tf.Tensor:
        """Returns the position of each step, `[seq_len, hidden_size]`."""
        table = tf.cast(tf.convert_to_tensor(self.position_table), dtype)
        count = tf.shape(packing.mask)[1]
        if self._has_target_slot and self.target_item_position == "head":
            return table[:count] if has_target else table[1 : count + 1]
        if has_target:
            return tf.concat([table[: count - 1], table[-1:]], axis=0)
        return table[:count]

    def _flatten(self, tokens: tf.Tensor, has_target: bool) -> tf.Tensor:
        """Gives every token its own place in the output, whatever the padded length of the batch."""
        head = self.target_item_position == "head"
        missing = self._num_tokens - tf.shape(tokens)[1]
        if not self._has_target_slot:
            tokens = tf.pad(tokens, [[0, 0], [0, missing], [0, 0]])
        elif has_target and not head:
            gap = tf.pad(tokens[:, :-1], [[0, 0], [0, missing], [0, 0]])
            tokens = tf.concat([gap, tokens[:, -1:]], axis=1)
        else:
            reserved = 1 if head and not has_target else 0
            tokens = tf.pad(tokens, [[0, 0], [reserved, missing - reserved], [0, 0]])
        return tf.reshape(tokens, [-1, self._num_tokens * self.hidden_size])

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
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
            "initializer_range",
            "output_all_token_embeddings",
            "target_item_position",
            "reserve_target_position",
        )
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
