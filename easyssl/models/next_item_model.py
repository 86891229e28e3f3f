"""NextItemModel: from the history of a user to the items to come."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.backbone.groups import own_rows
from easyssl.backbone.plan_next_item import NextItemPlan, plan_next_item
from easyssl.backbone.plan_types import TARGET_ITEM
from easyssl.config import Config
from easyssl.data.item_corpus import ItemCorpus, read_corpus
from easyssl.data.transform import FeatureTransform
from easyssl.functional.controllable import choose_diverse
from easyssl.functional.masking import select_position
from easyssl.functional.packing import dense_packing, pack, packing_of
from easyssl.functional.ranking_twice import rank_twice
from easyssl.functional.retrieval import rank_items
from easyssl.functional.xla import in_xla
from easyssl.metrics.item_ranking import EXCLUDED, KEPT, ranking_from_config
from easyssl.models.backbone_model import BackboneModel
from easyssl.models.fixed_items import FixedItems
from easyssl.models.item_tensors import ItemTensors, item_tensors, symbolic_items
from easyssl.models.next_item_loss import NextItemLoss
from easyssl.models.next_item_outputs import NextItemOutputs
from easyssl.models.row_transforms import RowTransforms
from easyssl.models.tasks import Task
from easyssl.models.terms import LossTerm

LOSS = "next_item_loss"
_SEQUENCES = ("EVERY_STEP", "HIDDEN_STEPS")


@keras.utils.register_keras_serializable(package="easyssl")
class NextItemModel(BackboneModel):
    """Users and items made from a config, trained to find the next item of each history.

    The backbone gives a list of two, see `output_blocks`: what the user block makes of the features of a row,
    and the vectors `[items, dim]` that the item block makes of the features of all items of
    `data_config.item_corpus`. Sharing tables by `embedding_name` ties items to the steps of histories. What
    the user block gives depends on `model_config.next_item.targets`:

    - EVERY_STEP: states `[batch, seq_len, dim]` that each predict the following item, such as those of a
      causal encoder with `output: "sequence"`;
    - NEXT_STEP, RANDOM_STEP: `[batch, dim]`, or interests `[batch, num_interests, dim]`, of which the one
      most similar to the target learns, and an item's score is the largest one;
    - HIDDEN_STEPS: a list of states `[batch, seq_len, dim]` and which steps were hidden, bool
      `[batch, seq_len]`: those that a `ClozeMask` gives.

    The loss is a mean over all targets of a batch. Evaluation reports the cross entropy of the next item
    among all items, whatever the model was trained with, so that models can be compared.

    Args:
        config: A config whose `model_config.model_class` is NextItemModel.
        **kwargs: `name` and `dtype` of the model.

    Attributes:
        next_item: What the config says about targets, loss and lists.
        training_transform: The transform from the raw columns of histories that were cut.

    Call arguments:
        inputs: Transformed features by name.
        training: Whether dropout, augmentation and auxiliary losses act.

    Returns:
        Predictions by name: `item_ids` `[batch, top_k]`, the best items as the corpus names them, best first,
        and `scores` `[batch, top_k]`, -inf where there are no more; `user_emb`, as compared with items. While
        training, what the loss is computed from.

    Raises:
        ConfigError: If the config does not describe a model; the message names the place.
        DataError: If the corpus cannot be read.

    Example:
        >>> model = NextItemModel(load_config("samples/next_item/sasrec_on_beauty.config"))  # doctest: +SKIP
        >>> model(model.transform({"items": tf.constant(["3|17|5"])}))["item_ids"]  # doctest: +SKIP

    References:
        Kang and McAuley, "Self-attentive sequential recommendation", arXiv 1808.09781.
        Cen et al., "Controllable multi-interest framework for recommendation", KDD 2020.
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.next_item: NextItemPlan = plan_next_item(config, self.plan, self.specs)
        history = self.specs[self.next_item.history]
        self.objective_of_items = NextItemLoss(self.next_item, history.rows, name="next_item")
        self.objective_of_items.build(None)
        self._corpus: ItemCorpus | None = None
        self._items: ItemTensors | None = None
        self._symbolic: ItemTensors | None = None
        self._make_symbolic: Callable[[], ItemTensors] | None = None
        self._block_outputs = NextItemOutputs(self.next_item, self.backbone)
        self._fixed = FixedItems()
        self._own = RowTransforms(config, self.specs, self.next_item)
        self._ranking = ranking_from_config(config)

    @staticmethod
    def read_tasks(config: Config) -> tuple[Task, ...]:
        """Returns the one task, which has no label."""
        config.refuse("model_config")
        weight = config.message.model_config.next_item.loss_weight
        return (Task("", 1, (LossTerm("NEXT_ITEM", weight, LOSS),)),)

    @property
    def transform(self) -> FeatureTransform:
        """The transform from raw histories to this model's inputs."""
        return self._own.serving

    @property
    def training_transform(self) -> FeatureTransform:
        """The same with the items after the histories."""
        return self._own.training

    @property
    def corpus(self) -> ItemCorpus:
        """The items; read when first asked for."""
        if self._corpus is None:
            self._corpus = read_corpus(self._config)
            if self._corpus.popularity is not None:
                self.objective_of_items.set_popularity(self._corpus.popularity)
        return self._corpus

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | None = None) -> dict[str, tf.Tensor]:
        """Predicts; see the class."""
        if training:
            return self._targets(inputs)
        users, items = self._compared(inputs)
        excluded = None
        if self.next_item.exclude_history:
            excluded = self.items.places_of(inputs[self._own.seen])
        ids, scores = self._list(users, items, excluded)
        return {"item_ids": self._names(ids), "scores": scores, "user_emb": users}

    def predict_for_loss(self, features: Mapping[str, tf.Tensor], training: bool) -> Mapping[str, tf.Tensor]:
        """Returns what the loss is computed from, or with `training` unset, the ranking of the targets."""
        if training:
            return self._targets(features)
        users, items = self._compared(features)
        targets = self.items.places_of(features[self._own.after])
        predicted = {"users": users, "items": items, "targets": targets}
        if users.shape.rank == 3:
            predicted["interests"] = users[..., :-1] if self.next_item.item_bias else users
        seen = self.items.places_of(features[self._own.seen])
        rankings = rank_twice(users, items, targets, k=self._ranking.longest, excluded=seen)
        for name, found in zip((KEPT, EXCLUDED), rankings, strict=True):
            if name in self._ranking.protocols:
                predicted |= {f"ranks_{name}": found.ranks, f"lists_{name}": found.ids}
        if self._ranking.reads_popularity:
            predicted["popularity"] = tf.constant(self.corpus.popularity)
        return {**predicted, "history_lengths": features[f"{self._own.seen}/length"]}

    def supervised_losses(
        self,
        labels: Mapping[str, tf.Tensor],
        predicted: Mapping[str, tf.Tensor],
        sample_weight: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns the loss of the next item."""
        loss = self.objective_of_items
        if "places" not in predicted:
            targets = predicted["targets"][:, 0]
            return {LOSS: loss.full_softmax(predicted["users"], predicted["items"], targets, sample_weight)}
        weights = None
        if sample_weight is not None:
            weights = tf.gather(tf.reshape(sample_weight, [-1]), predicted["places"][:, 0])
        value = loss.training_loss(
            predicted["users"],
            predicted["items"],
            predicted["targets"],
            weights,
            predicted["places"],
            predicted["candidates"],
            self.items.buckets.shape[0],
        )
        return {LOSS: value}

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """Computes the vectors of all items once, for all predictions inside of the `with` block."""
        self._fixed.enter(self._item_vectors)
        try:
            yield
        finally:
            self._fixed.leave()

    @property
    def fixed_variables(self) -> list[tf.Variable]:
        """What predictions inside of `inference` read beside the model's variables."""
        return [] if self._fixed.vectors is None else [self._fixed.vectors]

    def exported_arrays(self) -> dict[str, np.ndarray]:
        """Returns the vectors and names of all items, for an index of one's own."""
        names = self.corpus.ids
        if names.dtype == object:
            names = np.array([name.decode() for name in names])
        return {"item_vectors": self.item_vectors().numpy(), "item_ids": names}

    @property
    def items(self) -> ItemTensors:
        """The items as the model reads them."""
        if self._symbolic is not None:
            return self._symbolic
        if self._items is None:
            with tf.init_scope():
                ids = self.specs[self.next_item.history].rows
                self._items = item_tensors(self._config, self.corpus, self._own.items, ids)
        return self._items

    def item_vectors(self) -> tf.Tensor:
        """Returns the vectors of all items as they are compared with users, float32 `[items, dim]`."""
        return self._fixed.vectors if self._fixed.active else self._item_vectors()

    def _item_vectors(self) -> tf.Tensor:
        name = self.plan.main.outputs[self.next_item.item]
        vectors = self.backbone(self.items.features, training=False, only_blocks=(name,))[0]
        return self.objective_of_items.item_vectors(vectors, self.items.buckets)

    def _compared(self, inputs: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns users and items as they are compared, `[batch, ...]` and `[items, dim]`."""
        name = self.plan.main.outputs[self.next_item.user]
        output = self.backbone(inputs, training=False, only_blocks=(name,))[0]
        states = self._block_outputs.states(output)[0]
        if self.next_item.targets in _SEQUENCES:
            # What was hidden last is the item to come.
            steps = inputs[f"{self.next_item.history}/length"]
            states = select_position(states, steps if self.next_item.targets == "HIDDEN_STEPS" else steps - 1)
        return self.objective_of_items.user_vectors(states), self.item_vectors()

    def _targets(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the states that predict items, and which ones."""
        plan, loss, items = self.next_item, self.objective_of_items, self.items
        after = inputs[self._own.after]
        ids, lengths = self._own.whole(inputs, plan.history)
        following = _following(ids, lengths, after[:, 0])
        if plan.targets == "RANDOM_STEP":
            lengths = loss.cut(lengths)
            inputs = {**inputs, **self._own.shortened(inputs, lengths)}
        one = plan.targets not in _SEQUENCES
        if one:
            following = select_position(following[:, :, None], lengths - 1)
            following = tf.where(lengths[:, None] > 0, following, -1)
        possible = ids if plan.targets == "HIDDEN_STEPS" else following
        seen = tf.concat([items.places_of(inputs[self._own.seen]), items.places_of(after)], axis=1)
        steps, num_items = tf.shape(following)[1], tf.shape(items.buckets)[0]
        candidates = loss.candidates(items.places_of(possible), seen, steps, num_items)
        streams = {own_rows(g): items.rows(loss.draw_stream(n, num_items)) for g, n in plan.streams}
        compared = items.features if candidates.items is None else items.rows(candidates.items)
        found = {TARGET_ITEM: following[:, 0] if one else after[:, 0]}
        output = self.backbone({**inputs, **compared, **streams, **found}, training=True)
        states, hidden = self._block_outputs.states(output[plan.user])
        vectors = self._block_outputs.vectors(output[plan.item])
        if one:
            rows = tf.range(tf.shape(ids, out_type=tf.int64)[0])
            places = tf.stack([rows, tf.zeros_like(rows)], axis=1)
        elif hidden is None:
            packing = packing_of(lengths, steps)
            places, states = packing.coordinates, pack(states, packing)
        else:
            places = dense_packing(hidden).coordinates if in_xla() else tf.where(hidden)
            following, states = tf.where(hidden, ids, -1), tf.gather_nd(states, places)
        known = items.buckets if candidates.items is None else tf.gather(items.buckets, candidates.items)
        return {
            "users": loss.user_vectors(states),
            "items": loss.item_vectors(vectors, known),
            "targets": items.places_of(tf.gather_nd(following, places)),
            "places": places,
            "candidates": candidates,
        }

    def _list(self, users: tf.Tensor, items: tf.Tensor, excluded: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the best items `[batch, top_k]` and their scores."""
        plan = self.next_item
        if not plan.diversity:
            return rank_items(users, items, k=plan.top_k, excluded=excluded)[1:]
        found = rank_items(users, items, k=plan.diversity_candidates, excluded=excluded)
        categories = tf.gather(tf.constant(self.corpus.numbers_of(plan.category)), tf.maximum(found.ids, 0))
        places, scores = choose_diverse(found.scores, categories, k=plan.top_k, diversity=plan.diversity)
        ids = tf.gather(found.ids, tf.maximum(places, 0), batch_dims=1)
        return tf.where(places >= 0, ids, -1), scores

    def _names(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the names of items in the corpus, the empty text or -1 for none."""
        names = tf.constant(self.corpus.ids.tolist() if self.corpus.ids.dtype == object else self.corpus.ids)
        none = tf.constant("" if names.dtype == tf.string else -1, names.dtype)
        return tf.where(ids >= 0, tf.gather(names, tf.maximum(ids, 0)), none)

    def _check_shapes(self, rows: Mapping[str, int]) -> None:
        # Reading the corpus is not needed to know what fits.
        history = self.specs[self.next_item.history]
        self._make_symbolic = lambda: symbolic_items(self._own.items, history.rows)
        try:
            super()._check_shapes(rows)
        finally:
            self._make_symbolic = self._symbolic = None

    def _forward(self, features: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        if self._make_symbolic is not None:
            self._symbolic = self._make_symbolic()
        return super()._forward(features)


def _following(ids: tf.Tensor, lengths: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
    """Returns the id that follows each step, int64 `[batch, seq_len]`, -1 for steps that are not valid."""
    shifted = tf.concat([ids[:, 1:], tf.fill(tf.shape(ids[:, :1]), tf.constant(-1, ids.dtype))], axis=1)
    last = tf.range(tf.shape(ids)[1])[None, :] == lengths[:, None] - 1
    return tf.where(last, after[:, None], shifted)
