"""Attention between two sequences without projections."""

from __future__ import annotations

import math
from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.masking import masked_softmax
from easyssl.layers.attention_inputs import (
    attention_inputs,
    check_attention_inputs,
    only_valid,
    value_mask,
    visible_steps,
)
from easyssl.layers.building import build_sublayer, check_rate, fit_together
from easyssl.layers.dropout import Dropout
from easyssl.registry import register

_MODES = ("dot", "concat")


@register("Attention")
class Attention(keras.layers.Layer):
    """Lets each step of a query gather from the steps of a value, by the likeness of query and key.

    `output = drop(softmax(s)) V`, where the score of query step q and key step k is

    - "dot": `q . k`, times a learned scale with `use_scale`, or else divided by `sqrt(dim)` with
      `scale_by_dim`; or
    - "concat": `c * sum(tanh(q + k))` with a learned c, and with `use_scale` a learned scale of `q + k`.

    Scale and c start at 1. The last input may hold lengths: steps of value and key behind them do not count,
    and a row of length 0 gathers zeros. (EasyRec has no such input, and attends to padding.) A Keras mask of
    the value acts in the same way; that of the query is passed on. Scores and softmax are in float32 under
    every policy.

    A config's `Attention` is this one, not Keras's.

    Args:
        use_scale: Whether scores have a learned scale. Defaults to False.
        scale_by_dim: Whether scores of mode "dot" are divided by `sqrt(dim)`; does not act with `use_scale`.
            Defaults to False.
        score_mode: "dot" or "concat". Defaults to "dot".
        dropout: Dropout rate of the weights. Defaults to 0.0.
        seed: Seed of the dropout; None takes one that `keras.utils.set_random_seed` determines. Defaults to
            None.
        return_attention_scores: Whether the weights are handed out, too. Defaults to False.
        use_causal_mask: Whether a step sees only itself and earlier ones. Defaults to False.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown mode or a rate outside of [0, 1).

    Example:
        >>> query, value = tf.constant([[[0.0, 0.0]]]), tf.constant([[[1.0, 3.0], [3.0, 5.0], [9.0, 9.0]]])
        >>> Attention()([query, value, tf.constant([2])]).numpy().tolist()
        [[[2.0, 4.0]]]

    References:
        Luong et al., "Effective approaches to attention-based neural machine translation", arXiv 1508.04025.
        Bahdanau et al., "Neural machine translation by jointly learning to align and translate", arXiv
        1409.0473.
    """

    def __init__(
        self,
        use_scale: bool = False,
        scale_by_dim: bool = False,
        score_mode: Literal["dot", "concat"] = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.use_scale = use_scale
        self.scale_by_dim = scale_by_dim
        self.score_mode = score_mode
        self.dropout = dropout
        self.seed = seed
        self.return_attention_scores = return_attention_scores
        self.use_causal_mask = use_causal_mask
        self.supports_masking = True
        check_rate("Attention", "dropout", dropout)
        if score_mode not in _MODES:
            raise ValueError(f"Attention: unknown score_mode '{score_mode}'{nearest(score_mode, _MODES)}")
        self.weights_dropout = Dropout(dropout, seed, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape: Any) -> None:
        """Creates the scale and c, if there are any."""
        query, value, key = check_attention_inputs(self, input_shape)
        if not fit_together(query[2], key[2]) or not fit_together(value[1], key[1]):
            raise ValueError(
                f"Attention '{self.name}' compares query and key, so they have one width; value and key have "
                f"as many steps. Received shapes: query {query}, value {value}, key {key}"
            )
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones") if self.use_scale else None
        self.factor = None
        if self.score_mode == "concat":
            self.factor = self.add_weight(name="factor", shape=(), initializer="ones")
        build_sublayer(self.weights_dropout, (query[0], query[1], value[1]))
        super().build(input_shape)

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Attends.

        Args:
            inputs: A list of query `[batch, query_steps, dim]`, value `[batch, steps, value_dim]`, if wanted
                key `[batch, steps, dim]`, which is the value otherwise, and if wanted lengths `[batch]`.
            mask: Keras's masks of the inputs. Defaults to None.
            training: Whether to drop weights. Defaults to None.

        Returns:
            `[batch, query_steps, value_dim]`; with `return_attention_scores` a tuple of it and of the
            weights `[batch, query_steps, steps]`.
        """
        query, value, key, lengths = attention_inputs(inputs)
        valid = value_mask(value, lengths, mask)
        value, key = only_valid(value, valid), only_valid(key, valid)
        visible = visible_steps(valid, self.use_causal_mask, query, value)
        weights = tf.cast(masked_softmax(self._scores(query, key), visible), value.dtype)
        weights = self.weights_dropout(weights, training=training)
        output = tf.matmul(weights, value)
        return (output, weights) if self.return_attention_scores else output

    def _scores(self, query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        """Returns how much each step of the query is like each of the key, float32."""
        query, key = tf.cast(query, tf.float32), tf.cast(key, tf.float32)
        scale = None if self.scale is None else tf.cast(self.scale, tf.float32)
        if self.factor is not None:
            total = query[:, :, None] + key[:, None]
            inner = tf.tanh(total if scale is None else scale * total)
            return tf.cast(self.factor, tf.float32) * tf.reduce_sum(inner, axis=-1)
        if scale is None and self.scale_by_dim:
            query /= math.sqrt(query.shape[-1])
        scores = tf.matmul(query, key, transpose_b=True)
        return scores if scale is None else scale * scores

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Returns the query's mask, for the output; there is none for the weights."""
        told = mask[0] if isinstance(mask, list | tuple) else None
        return [told, None] if told is not None and self.return_attention_scores else told

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = (
            "use_scale",
            "scale_by_dim",
            "score_mode",
            "dropout",
            "seed",
            "return_attention_scores",
            "use_causal_mask",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
