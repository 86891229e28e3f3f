"""The loss of a NextItemModel, and what it learns and draws."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.backbone.plan_next_item import NextItemPlan
from easyssl.functional import next_item
from easyssl.functional.multi_interest import label_aware_interest
from easyssl.functional.negatives import (
    ItemDistribution,
    draw_items,
    draw_unseen,
    item_distribution,
    log_uniform,
)
from easyssl.functional.random import add_random_state, advance, uniform
from easyssl.functional.similarity import comparable
from easyssl.functional.xla import in_xla

_OF_EACH_TARGET = ("BINARY_CROSS_ENTROPY", "GENERALIZED_BINARY_CROSS_ENTROPY")


class Candidates(NamedTuple):
    """The items that a step compares states with.

    Attributes:
        items: int32 `[candidates]`, their numbers; None for all items in their order.
        places: int32 `[all items]`, which candidate an item is, -1 for others; None for all items.
        drawn: int32 numbers of items drawn as negatives: `[num_negatives]` for the whole batch, or
            `[batch, steps, num_negatives]`; None without.
    """

    items: tf.Tensor | None
    places: tf.Tensor | None
    drawn: tf.Tensor | None

    def of(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns which candidates items are, -1 for those that are none."""
        if self.places is None:
            return numbers
        return tf.where(numbers >= 0, tf.gather(self.places, tf.maximum(numbers, 0)), -1)


class NextItemLoss(keras.layers.Layer):
    """Compares states with items as a config says.

    Only FULL_SOFTMAX needs the vectors of all items; with the other losses a step computes those of the
    targets and negatives, and updates the tables of these only. Under XLA all are computed, since how many
    differ is not known beforehand.

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
        draws = plan.drawn or plan.targets == "RANDOM_STEP" or bool(plan.streams)
        self.random_state = add_random_state(self) if draws else None
        self.bias = None
        if plan.item_bias:
            self.bias = self.add_weight(name="item_bias", shape=(self.ids,), initializer="zeros")
        super().build(input_shape)

    def set_popularity(self, counts: np.ndarray) -> None:
        """Says how often each item is in the training data, `[items]`."""
        plan = self.plan
        if plan.negatives == "LOG_UNIFORM":
            self.distribution = item_distribution(log_uniform(counts))
        elif plan.negatives == "POPULARITY" or plan.loss == "IN_BATCH_SOFTMAX":
            self.distribution = item_distribution(counts)

    def item_vectors(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Returns items as they are compared, float32 `[items, dim]`, with the bias as one more entry."""
        vectors = comparable(vectors, self.plan.similarity)
        if self.bias is None:
            return vectors
        bias = tf.gather(tf.convert_to_tensor(self.bias), ids)
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

    def draw_stream(self, count: int, num_items: tf.Tensor) -> tf.Tensor:
        """Draws items uniformly, each at most once: int32 `[min(count, items)]`."""
        numbers = uniform(advance(self.random_state), [num_items])
        return tf.math.top_k(numbers, tf.minimum(count, num_items)).indices

    def candidates(self, targets: tf.Tensor, seen: tf.Tensor, steps: Any, num_items: Any) -> Candidates:
        """Draws negatives, and says which items a step needs.

        Args:
            targets: int32, of any shape, the numbers of all items that may be targets; -1 for none.
            seen: int32 `[batch, n]`, numbers of the items that a row is not to get as negatives.
            steps: How many targets a row has at most.
            num_items: How many items there are.
        """
        plan = self.plan
        if plan.loss == "FULL_SOFTMAX":
            return Candidates(None, None, None)
        drawn = None
        if plan.loss == "SAMPLED_SOFTMAX":
            key = advance(self.random_state)
            drawn = draw_items(key, [plan.num_negatives], num_items, self.distribution)
        elif plan.loss in _OF_EACH_TARGET:
            key, batch = advance(self.random_state), tf.shape(seen)[0]
            shape = tf.stack([batch, steps, plan.num_negatives])
            if plan.negatives == "UNIFORM":
                drawn = tf.reshape(draw_unseen(key, seen, steps * plan.num_negatives, num_items), shape)
            else:
                drawn = draw_items(key, shape, num_items, self.distribution)
        if in_xla():
            return Candidates(None, None, drawn)
        pool = [tf.reshape(targets, [-1])] + ([] if drawn is None else [tf.reshape(drawn, [-1])])
        numbers = tf.concat([*pool, [0]], axis=0)  # at least one
        items = tf.unique(tf.maximum(numbers, 0)).y
        places = tf.fill([num_items], -1)
        places = tf.tensor_scatter_nd_update(places, items[:, None], tf.range(tf.shape(items)[0]))
        return Candidates(items, places, drawn)

    def full_softmax(
        self, states: tf.Tensor, items: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns the cross entropy of the targets among all items, which evaluation reports."""
        return next_item.full_softmax(
            states, items, targets, temperature=self.plan.temperature, weights=weights
        )

    def training_loss(
        self,
        states: tf.Tensor,
        vectors: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor | None,
        places: tf.Tensor,
        candidates: Candidates,
        num_items: int | None,
    ) -> tf.Tensor:
        """Returns the loss to minimise, a float32 scalar.

        Args:
            states: From `user_vectors`, `[tokens, dim]` or `[tokens, num_interests, dim]`.
            vectors: From `item_vectors`, of the candidates.
            targets: int32 `[tokens]`, numbers of items; below 0 for tokens that do not count.
            weights: `[tokens]`, or None for ones.
            places: int `[tokens, 2]`, row and step of each token.
            candidates: From `candidates`.
            num_items: How many items there are, if that is known beforehand.
        """
        plan = self.plan
        if plan.interest_power is not None:
            states = self._mixed(states, vectors, candidates.of(targets), plan.interest_power)
        given: dict[str, Any] = {"temperature": plan.temperature, "weights": weights}
        if plan.loss == "FULL_SOFTMAX":
            return next_item.full_softmax(states, vectors, targets, **given)
        wanted = candidates.of(targets)
        if plan.loss == "IN_BATCH_SOFTMAX":
            given["log_probabilities"] = self._log_probabilities(candidates)
            return next_item.sampled_softmax(states, vectors, wanted, wanted, **given)
        negatives = candidates.of(candidates.drawn)
        if plan.loss == "SAMPLED_SOFTMAX":
            given["log_probabilities"] = self._log_probabilities(candidates)
            return next_item.sampled_softmax(states, vectors, wanted, negatives, **given)
        negatives = tf.gather_nd(negatives, places)
        if plan.loss == "BINARY_CROSS_ENTROPY":
            return next_item.binary_cross_entropy(states, vectors, wanted, negatives, **given)
        return next_item.generalized_binary_cross_entropy(
            states,
            vectors,
            wanted,
            negatives,
            calibration=plan.calibration,
            num_negative_items=max(1, (num_items or 2) - 1),
            **given,
        )

    def _mixed(self, states: tf.Tensor, vectors: tf.Tensor, wanted: tf.Tensor, power: float) -> tf.Tensor:
        """Returns the interests `[tokens, dim]` as label-aware attention mixes them."""
        aims = tf.gather(vectors, tf.maximum(wanted, 0))[:, None, :]
        if self.bias is None:
            return label_aware_interest(states, aims, power)[:, 0]
        # The bias of an item says nothing about interests.
        mixed = label_aware_interest(states[..., :-1], aims[..., :-1], power)[:, 0]
        return tf.concat([mixed, states[:, 0, -1:]], axis=-1)

    def _log_probabilities(self, candidates: Candidates) -> tf.Tensor | None:
        """Returns the log of how probable each candidate is as a negative; None for all alike."""
        if not self.plan.log_q_correction or self.distribution is None:
            return None
        all_items = tf.constant(self.distribution.log_probabilities)
        return all_items if candidates.items is None else tf.gather(all_items, candidates.items)
