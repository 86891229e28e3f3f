"""The intents behind a sequence, told apart by prototypes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.masking import length_mask, masked_softmax, select_position
from easyssl.functional.sequences import last_steps
from easyssl.layers.building import Shape, build_sublayer, check_positive, last_dim
from easyssl.layers.encoder_inputs import check_encoder_inputs, encoder_inputs
from easyssl.layers.layer_norm import LayerNorm
from easyssl.registry import register


@register("DisentangledIntents")
class DisentangledIntents(keras.layers.Layer):
    """Shares out the states of a sequence among intents: the head of DSSRec on a sequence encoder.

    With states z_i, i = 1 .. n, prototypes c_k and positions a_i:

    - `p(k | i) = softmax_k(LN(z_i) . LN(c_k) / sqrt(dim))`: which intent a step is about;
    - `p(i) = softmax_i(key_i . query / sqrt(dim))`: how much it says about what comes next, where
      `key_i = h_i + relu(W h_i + b)` with `h_i = LN(z_i + a_i)`, and `query = LN(z_n + a_n + b')`;
    - `intent_k = LN(beta_k + sum_i p(k | i) p(i) z_i)`.

    Each LN has weights of its own. A row of length 0 gives zeros, and padding may hold anything. Of more than
    `max_position_embeddings` steps the last ones count. All but the product with W is computed in float32
    under every policy. Gradients reach all valid states that are kept.

    With `future_input` the future of the sequence comes behind its past, and is shared out with the same
    weights, but a beta of its own; see `SequenceSplit` and `IntentPrediction`.

    Args:
        num_intents: Number of intents.
        max_position_embeddings: How many of the last steps of a sequence count. Defaults to 512.
        future_input: Whether the layer may get a future. Defaults to False.
        initializer_range: Standard deviation of the truncated normal initializer of prototypes, positions and
            biases. Defaults to 0.02.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a size that is not positive.

    Example:
        >>> layer = DisentangledIntents(num_intents=4)
        >>> layer([tf.random.normal([3, 5, 8]), tf.constant([5, 2, 0])]).shape
        TensorShape([3, 4, 8])

    References:
        Ma et al., "Disentangled self-supervision in sequential recommenders", KDD 2020.
    """

    def __init__(
        self,
        num_intents: int,
        max_position_embeddings: int = 512,
        future_input: bool = False,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_intents = num_intents
        self.max_position_embeddings = max_position_embeddings
        self.future_input = future_input
        self.initializer_range = initializer_range
        self.supports_masking = True
        check_positive(
            "DisentangledIntents", num_intents=num_intents, max_position_embeddings=max_position_embeddings
        )

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shape = check_encoder_inputs(self, input_shape)[0]
        dim = last_dim(shape, self)
        self.prototypes = self._weight("prototypes", (self.num_intents, dim))
        self.positions = self._weight("positions", (self.max_position_embeddings, dim))
        self.query_bias = self._weight("query_bias", (dim,))
        self.past_bias = self._weight("past_bias", (self.num_intents, dim))
        if self.future_input:
            self.future_bias = self._weight("future_bias", (self.num_intents, dim))
        self.state_norm = self._norm("state_norm", shape)
        self.prototype_norm = self._norm("prototype_norm", (self.num_intents, dim))
        self.key_norm = self._norm("key_norm", shape)
        self.query_norm = self._norm("query_norm", (shape[0], dim))
        self.intent_norm = self._norm("intent_norm", (shape[0], self.num_intents, dim))
        self.key_dense = keras.layers.Dense(dim, activation="relu", dtype=self.dtype_policy, name="key")
        build_sublayer(self.key_dense, shape)
        super().build(input_shape)

    def _weight(self, name: str, shape: tuple[int, ...]) -> Any:
        initializer = keras.initializers.TruncatedNormal(stddev=self.initializer_range)
        return self.add_weight(name=name, shape=shape, initializer=initializer)

    def _norm(self, name: str, shape: Shape) -> LayerNorm:
        norm = LayerNorm(name=name, dtype="float32")
        build_sublayer(norm, shape)
        return norm

    def call(self, inputs: Any) -> Any:
        """Shares out.

        Args:
            inputs: States `[batch, seq_len, dim]` and lengths `[batch]`, which are clipped to `seq_len`; with
                `future_input` optionally the states and lengths of the future, whose `seq_len` may be
                another one. Further inputs are ignored.

        Returns:
            The intents `[batch, num_intents, dim]`; with a future a tuple of its past's and its own.
        """
        past = self._intents(inputs[:2], self.past_bias)
        if not self.future_input or len(inputs) < 4:
            return past
        return past, self._intents(inputs[2:4], self.future_bias)

    def _intents(self, inputs: Any, bias: Any) -> tf.Tensor:
        states, lengths = last_steps(*encoder_inputs(inputs), self.max_position_embeddings)
        steps = tf.shape(states)[1]
        valid = length_mask(lengths, steps)
        states = tf.where(valid[:, :, None], tf.cast(states, tf.float32), 0.0)
        scale = float(states.shape[-1]) ** -0.5
        prototypes = self.prototype_norm(_float32(self.prototypes))
        about = tf.nn.softmax(tf.matmul(self.state_norm(states), prototypes, transpose_b=True) * scale)
        placed = states + _float32(self.positions)[None, :steps]
        hidden = self.key_norm(placed)
        keys = hidden + tf.cast(self.key_dense(tf.cast(hidden, self.compute_dtype)), tf.float32)
        query = self.query_norm(select_position(placed, lengths - 1) + _float32(self.query_bias))
        weights = masked_softmax(tf.einsum("bld,bd->bl", keys, query) * scale, valid)
        summed = tf.einsum("blk,bld->bkd", about * weights[:, :, None], states)
        intents = self.intent_norm(summed + _float32(bias))
        return tf.cast(tf.where(lengths[:, None, None] > 0, intents, 0.0), self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: intents are no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("num_intents", "max_position_embeddings", "future_input", "initializer_range")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _float32(weight: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(weight), tf.float32)
