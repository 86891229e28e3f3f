"""The loss of a NextItemModel, and what it learns and draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.backbone.plan_next_item import NextItemPlan
from easyssl.functional import next_item
from easyssl.functional.negatives import (
    ItemDistribution,
    draw_items,
    draw_unseen,
    item_distribution,
    log_uniform,
)
from easyssl.functional.random import add_random_state, advance, uniform
from easyssl.functional.similarity import comparable


class NextItemLoss(keras.layers.Layer):
    """Compares states with items as a config says.

    A layer only so that its variables belong to the model; it is not called.

    Args:
        plan: What the config says.
        ids: How many ids items have.
        **kwargs: Keras layer arguments such as `name`.
    """

    def __init__(self, plan: NextItemPlan, ids: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.plan = plan
        self.ids = ids
        self.distribution: ItemDistribution | None = None

    def build(self, input_shape: Any = None) -> None:
        """Creates the biases of items and the state of random numbers, if there are any."""
        plan = self.plan
        self.random_state = add_random_state(self) if plan.drawn or plan.targets == "RANDOM_STEP" else None
        self.bias = None
        if plan.item_bias:
            self.bias = self.add_weight(name="item_bias", shape=(self.ids,), initializer="zeros")
        super().build(input_shape)

    def set_popularity(self, counts: np.ndarray) -> None:
        """Says how often each item is in the training data, `[items]`; a model of it is made once."""
        if self.plan.negatives == "UNIFORM" and self.plan.loss != "IN_BATCH_SOFTMAX":
            return
        self.distribution = item_distribution(
            log_uniform(counts) if self.plan.negatives == "LOG_UNIFORM" else counts
        )

    def item_vectors(self, vectors: tf.Tensor, buckets: tf.Tensor) -> tf.Tensor:
        """Returns items as they are compared, float32 `[items, dim]`, with the bias as one more entry."""
        vectors = comparable(vectors, self.plan.similarity)
        if self.bias is None:
            return vectors
        bias = tf.gather(tf.convert_to_tensor(self.bias), buckets)
        return tf.concat([vectors, bias[:, None]], axis=1)

    def user_vectors(self, states: tf.Tensor) -> tf.Tensor:
        """Returns states as they are compared, float32 `[..., dim]`."""
        states = comparable(states, self.plan.similarity)
        return states if self.bias is None else tf.concat([states, tf.ones_like(states[..., :1])], axis=-1)

    def cut(self, lengths: tf.Tensor) -> tf.Tensor:
        """Draws where histories are cut: int32 `[batch]`, from 1 to each length, 0 for rows of length 0."""
        share = uniform(advance(self.random_state), tf.shape(lengths))
        drawn = tf.cast(share * tf.cast(lengths, tf.float32), tf.int32)
        return tf.minimum(drawn + 1, lengths)

    def full_softmax(
        self, states: tf.Tensor, items: tf.Tensor, targets: tf.Tensor, weights: Any
    ) -> tf.Tensor:
        """Returns the cross entropy of the targets among all items, which evaluation reports."""
        return next_item.full_softmax(
            states, items, targets, temperature=self.plan.temperature, weights=weights
        )

    def training_loss(
        self,
        states: tf.Tensor,
        items: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor | None,
        places: tf.Tensor,
        steps: Any,
        seen: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the loss to minimise, a float32 scalar.

        Args:
            states: From `user_vectors`, `[tokens, dim]` or `[tokens, num_interests, dim]`.
            items: From `item_vectors`.
            targets: int32 `[tokens]`, numbers of items; below 0 for tokens that do not count.
            weights: `[tokens]`, or None for ones.
            places: int `[tokens, 2]`, row and step of each token.
            steps: How many steps a row has at most.
            seen: int32 `[batch, n]`, numbers of the items that a row is not to get as negatives.
        """
        plan = self.plan
        given: dict[str, Any] = {"temperature": plan.temperature, "weights": weights}
        if plan.loss == "FULL_SOFTMAX":
            return next_item.full_softmax(states, items, targets, **given)
        if plan.loss == "IN_BATCH_SOFTMAX":
            return next_item.sampled_softmax(
                states, items, targets, targets, log_probabilities=self._log_probabilities(), **given
            )
        if plan.loss == "SAMPLED_SOFTMAX":
            drawn = draw_items(
                advance(self.random_state), [plan.num_negatives], tf.shape(items)[0], self.distribution
            )
            return next_item.sampled_softmax(
                states, items, targets, drawn, log_probabilities=self._log_probabilities(), **given
            )
        negatives = self._negatives(places, steps, seen, tf.shape(items)[0])
        if plan.loss == "BINARY_CROSS_ENTROPY":
            return next_item.binary_cross_entropy(states, items, targets, negatives, **given)
        return next_item.generalized_binary_cross_entropy(
            states,
            items,
            targets,
            negatives,
            calibration=plan.calibration,
            num_negative_items=items.shape[0] - 1 if items.shape[0] else 1,
            **given,
        )

    def _log_probabilities(self) -> tf.Tensor | None:
        if not self.plan.log_q_correction or self.distribution is None:
            return None
        return tf.constant(self.distribution.log_probabilities)

    def _negatives(self, places: tf.Tensor, steps: Any, seen: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Draws `[tokens, num_negatives]` items."""
        count, key = self.plan.num_negatives, advance(self.random_state)
        if self.plan.negatives != "UNIFORM":
            return draw_items(key, tf.stack([tf.shape(places)[0], count]), items, self.distribution)
        drawn = draw_unseen(key, seen, steps * count, items)
        return tf.gather_nd(tf.reshape(drawn, [-1, steps, count]), places)
