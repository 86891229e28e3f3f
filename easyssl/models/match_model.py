"""MatchModel: a user vector and an item vector, and how similar they are."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.backbone.merge import describe
from easyssl.backbone.plan_match import MatchPlan, Tower, plan_match
from easyssl.config import Config
from easyssl.data.hard_negatives import HARD_NEGATIVES
from easyssl.data.transform import FeatureTransform, transform_from_config
from easyssl.functional.masking import EXCLUDED
from easyssl.functional.similarity import comparable, similarities
from easyssl.layers.streaming_frequency import StreamingFrequency
from easyssl.models import heads
from easyssl.models.backbone_model import BackboneModel, Signature
from easyssl.models.hard_negatives import WithHardNegatives, in_columns
from easyssl.models.tasks import REG_POS, Task, match_task

_LOG_PROBABILITIES = "log_probabilities"


@keras.utils.register_keras_serializable(package="easyssl")
class MatchModel(BackboneModel):
    """Two towers made from a config, and the similarity of their vectors.

    The backbone gives a list, see `output_blocks`, with `u` `[batch, dim]` and `v`. With a similarity of
    COSINE both have length 1 and the score of a pair is `<u, v> / temperature`, otherwise `<u, v>`; with
    `scale_simi` it is `abs(w)` times that plus `b`, with learned `w` and `b` that start from 1 and 0.

    With a point-wise loss (CLASSIFICATION, L2_LOSS) each pair has a label. With SOFTMAX_CROSS_ENTROPY `v` is
    `[batch + negatives, dim]`, and row i has to find item i among all of them:

    `sum_i w_i (-log softmax_j(score_ij)[i]) / sum_i w_i`, plus
    `reg_pos_loss = sum_i w_i max(0, -<u_i, v_i>) / sum_i w_i`,

    with w the sample weights. Hard negatives, which a sampler adds for single rows, are the last items of
    `v`. Behind the scores of all others a row has `num_hard_sample` further ones, of its own hard negatives,
    or `-1e30` where it has fewer. With `item_id_feature`, items of the row's own id are no negatives, and
    `log_q_correction` takes the log of the estimated probability of each item from its scores in the loss
    while training. Scores are those of the language's formula, but the loss is computed from the logits: it
    has no `1e-12` inside of the logarithm, which stops gradients where they are needed most.

    Args:
        config: A config whose `model_config.model_class` is MatchModel.
        **kwargs: `name` and `dtype` of the model.

    Attributes:
        tasks: What is predicted, one task, and which losses train it.
        match: Towers, similarity and negatives.

    Call arguments:
        inputs: Transformed features by name.
        training: Whether dropout, augmentation and auxiliary losses act.
        in_batch: Whether a list-wise model scores each user with each item of the batch instead of with its
            own. Default: while training.

    Returns:
        Predictions by name:

        - `user_tower_emb` `[batch, dim]` and `item_tower_emb` `[batch + negatives, dim]`, of length 1 for
          COSINE;
        - `logits` `[batch]` and, point-wise, `probs` `[batch]` (for L2_LOSS, `y` instead of both); with
          `in_batch`, `logits` and `probs` `[batch, batch + negatives]`, and `num_hard_sample` columns more
          with hard negatives;
        - without `training` and `in_batch`, the vectors as text, numbers joined by commas: `user_emb` and
          `item_emb` `[batch]`.

    Raises:
        ConfigError: If the config does not describe a model; the message names the place.

    Example:
        >>> model = MatchModel(load_config("samples/dssm_on_taobao.config"))  # doctest: +SKIP
        >>> model(model.transform(rows))["logits"].shape  # doctest: +SKIP
        TensorShape([32])

    References:
        Huang et al., "Learning deep structured semantic models for web search using clickthrough data", CIKM
        2013; Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations",
        RecSys 2019.
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.match: MatchPlan = plan_match(config, self.plan, self.specs)
        self._scale = ScaledSimilarity(name="similarity") if self.match.scale else None
        self._frequency = (
            StreamingFrequency(self.match.log_q_buckets, 1, self.match.log_q_rate, name="frequency")
            if self.match.log_q_buckets and self.match.list_wise
            else None
        )

    @staticmethod
    def read_tasks(config: Config) -> tuple[Task, ...]:
        """Returns what a config asks the model to predict."""
        return (match_task(config),)

    @functools.cached_property
    def training_transform(self) -> FeatureTransform:
        """The transform of rows to train and to evaluate on; it says for whom hard negatives are."""
        if not self.match.hard:
            return self.transform
        return transform_from_config(self._config, self.specs, WithHardNegatives)

    def create_variables(self) -> None:
        """Creates all variables and checks that every shape fits, without data."""
        super().create_variables()
        if self.match.sampled:  # again with numbers of rows, which differ between users and items
            rows = {HARD_NEGATIVES: 1}
            for name, spec in self.specs.items():
                number = 5 if set(spec.inputs) <= set(self.match.sampled) else 3
                rows |= {f"{name}{part}": number for part in ("", "/length", "/weight")}
            shapes = self.backbone.block_shapes  # those to show have open dimensions
            self._check_shapes(rows)
            self.backbone.block_shapes = shapes

    def call(
        self, inputs: Mapping[str, tf.Tensor], training: bool | None = None, in_batch: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Predicts; see the class."""
        output, blocks = self.backbone(inputs, training=training, return_blocks=self._extra)
        user, item = (self._vector(output, tower) for tower in (self.match.user, self.match.item))
        if user.shape[-1] != item.shape[-1]:
            raise self.backbone.blame(
                "model_config.backbone",
                f"the towers' vectors need one width, but '{self.match.user.block}' gives {describe(user)} "
                f"and '{self.match.item.block}' {describe(item)}",
            )
        in_batch = bool(training) if in_batch is None else in_batch
        if self.match.list_wise and in_batch:
            hard = inputs.get(HARD_NEGATIVES) if self.match.hard else None
            last = tf.shape(item)[0] - (0 if hard is None else tf.shape(hard)[0])
            scores = self._scores(user, item[:last])
            if self.match.mask_accidental_hits:
                candidates = _candidates(inputs[self.match.item_id][:last], tf.shape(user)[0])
                scores = tf.where(candidates, scores, EXCLUDED)
            if hard is not None:
                own = self._hard_scores(user, item[last:], hard, inputs)
                further = in_columns(own, hard, tf.shape(user)[0], self.match.hard)
                scores = tf.concat([scores, further], axis=1)
            predicted = {"logits": scores, "probs": tf.nn.softmax(scores)}
            if self._frequency is not None and training:
                ids = tf.cast(inputs[self.match.item_id], tf.int64)
                found = self._frequency(ids[:last], training=True)
                # Hard negatives are not in the batch because they are popular.
                predicted[_LOG_PROBABILITIES] = tf.pad(found, [[0, 0 if hard is None else self.match.hard]])
        else:
            predicted = self._pairs(user, item)
            if not training:
                predicted |= {"user_emb": _text(user), "item_emb": _text(item)}
        return self.with_extra({**predicted, "user_tower_emb": user, "item_tower_emb": item}, blocks)

    def predict_for_loss(self, features: Mapping[str, tf.Tensor], training: bool) -> Mapping[str, tf.Tensor]:
        """Returns the predictions that losses and metrics are computed from."""
        return self(features, training=training, in_batch=True)

    def supervised_losses(
        self,
        labels: Mapping[str, tf.Tensor],
        predicted: Mapping[str, tf.Tensor],
        sample_weight: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns the unweighted supervised losses by name, scalars."""
        if not self.match.list_wise:
            return super().supervised_losses(labels, predicted, sample_weight, training)
        user, item = predicted["user_tower_emb"], predicted["item_tower_emb"]
        scores = predicted["logits"]
        if scores.shape.rank == 1:  # of pairs, as Keras' own `evaluate` predicts them
            scores = self._scores(user, item)
        if _LOG_PROBABILITIES in predicted:
            scores -= tf.stop_gradient(predicted[_LOG_PROBABILITIES])[None, :]
        rows = tf.shape(user)[0]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.range(rows), logits=scores)
        apart = tf.nn.relu(-tf.reduce_sum(user * item[:rows], axis=-1))
        return {
            loss.name: _mean(apart if loss.loss_type == REG_POS else losses, sample_weight)
            for loss in self.task.losses
        }

    def loss_denominators(
        self,
        rows: int,
        sample_weight: np.ndarray | None = None,
        labels: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, float]:
        """Returns what each supervised loss of a batch was divided by; list-wise, the sum of the weights."""
        if not self.match.list_wise or sample_weight is None:
            return super().loss_denominators(rows, sample_weight, labels)
        total = float(np.sum(sample_weight, dtype=np.float64))
        return {loss.name: total for loss in self.task.losses}

    def signatures(self) -> dict[str, Signature]:
        """Returns `user_tower` and `item_tower`, unless both read one column."""
        if not self.match.separate:
            return {}
        return {
            f"{tower.side}_tower": Signature(tower.columns, functools.partial(self._embed, tower))
            for tower in (self.match.user, self.match.item)
        }

    def _embed(self, tower: Tower, columns: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        features = self.transform.of_columns(columns)
        output = self.backbone(features, training=False, only_blocks=(tower.block,))
        return {f"{tower.side}_tower_emb": comparable(output[0], self.match.similarity)}

    def _vector(self, output: Any, tower: Tower) -> tf.Tensor:
        vector = output[tower.index]
        if isinstance(vector, (list, tuple)) or vector.shape.rank != 2:
            raise self.backbone.blame(
                self.plan.main.block(tower.block).path,
                f"the {tower.side} tower '{tower.block}' has to give one vector a row, [batch, dim], but "
                f"gives {describe(vector)}",
            )
        return comparable(vector, self.match.similarity)

    def _scores(self, user: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """Compares each user with each item: `[batch, batch + negatives]`."""
        return self._scaled(similarities(user, item, "dot", self.match.temperature))

    def _hard_scores(
        self, user: tf.Tensor, item: tf.Tensor, hard: tf.Tensor, inputs: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Compares hard negatives with the users of their rows: `[hard]`."""
        scores = self._similar(tf.gather(user, hard[:, 0]), item)
        if not self.match.mask_accidental_hits:
            return scores
        ids = tf.reshape(inputs[self.match.item_id], [-1])
        theirs = ids[tf.shape(ids)[0] - tf.shape(hard)[0] :]
        same = (tf.gather(ids, hard[:, 0]) == theirs) & (theirs >= 0)
        return tf.where(same, EXCLUDED, scores)

    def _similar(self, user: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """Compares each user with the item of the same place: `[rows]`."""
        return self._scaled(tf.reduce_sum(user * item, axis=-1) / self.match.temperature)

    def _pairs(self, user: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
        score = self._similar(user, item)
        if self.match.list_wise:
            return {"logits": score}
        return heads.predictions(score[:, None], self.task)

    def _scaled(self, similarity: tf.Tensor) -> tf.Tensor:
        return similarity if self._scale is None else self._scale(similarity)


class ScaledSimilarity(keras.layers.Layer):
    """`abs(w) * x + b` with learned scalars that start from 1 and 0, in float32.

    Args:
        **kwargs: Keras layer arguments such as `name`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape: Any) -> None:
        """Creates both scalars."""
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        self.offset = self.add_weight(name="offset", shape=(), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Scales; any shape."""
        return tf.abs(tf.convert_to_tensor(self.scale)) * inputs + self.offset


def _candidates(ids: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns which items each row is compared with: its own, and those of other ids; missing ids differ."""
    ids = tf.reshape(ids, [-1])
    own = tf.range(rows)[:, None] == tf.range(tf.shape(ids)[0])[None, :]
    return own | (ids[:rows, None] != ids[None, :]) | (ids < 0)[None, :]


def _mean(values: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Returns `sum(w * v) / sum(w)`; 0 if all weights are 0."""
    if weights is None:
        return tf.reduce_mean(values)
    weights = tf.reshape(tf.cast(weights, tf.float32), [-1])
    return tf.math.divide_no_nan(tf.reduce_sum(weights * values), tf.reduce_sum(weights))


def _text(vectors: tf.Tensor) -> tf.Tensor:
    return tf.strings.reduce_join(tf.strings.as_string(vectors, precision=7), axis=-1, separator=",")
