"""What all models of a config share: features, backbone, extra outputs, and the terms of the loss."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from easyssl.backbone.compile import Backbone
from easyssl.backbone.plan import build_plan
from easyssl.config import Config
from easyssl.config.bind import typed_values
from easyssl.data.features.spec import build_feature_specs
from easyssl.data.loss_columns import LossColumn
from easyssl.data.transform import FeatureTransform, transform_from_config
from easyssl.losses import collect_losses
from easyssl.models.distillation import check_distillation, distillation_terms
from easyssl.models.fit_and_save import FitAndSave
from easyssl.models.loss_terms import weight_strategy
from easyssl.models.objective import Objective
from easyssl.models.tasks import Task
from easyssl.models.terms import LossTerm, divisor, label_limits, label_names, loss_columns


@dataclass(frozen=True)
class Losses:
    """What a step's loss is made of.

    Attributes:
        total: Scalar; the sum of `weighted`.
        unweighted: Scalars by name, before their weight.
        weighted: The same times their weight.
        predictions: What the model predicted on the way.
        metrics: Scalars that layers reported, by name.
    """

    total: tf.Tensor
    unweighted: Mapping[str, tf.Tensor]
    weighted: Mapping[str, tf.Tensor]
    predictions: Mapping[str, tf.Tensor]
    metrics: Mapping[str, tf.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Signature:
    """A further function of an exported model.

    Attributes:
        columns: The raw columns that it reads.
        function: From these columns `[batch]` by name to named outputs.
    """

    columns: tuple[str, ...]
    function: Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]


class BackboneModel(FitAndSave):
    """A model made from a config; subclasses say what is predicted and which losses train it.

    A subclass has `read_tasks` and `call`, and where predictions for the loss differ from those for serving,
    `predict_for_loss`.

    Args:
        config: A config.
        **kwargs: `name` and `dtype` of the model.

    Attributes:
        tasks: What is predicted and which losses train it.
        objective: The supervised losses of all tasks, and their weights.
        specs: The features by name.
        plan: The plan of the backbone.
        backbone: The backbone, a Keras layer.

    Raises:
        ConfigError: If the config does not describe a model; the message names the place.
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        message = config.message.model_config
        self._config = config
        self.tasks: tuple[Task, ...] = self.read_tasks(config)
        terms = [term for task in self.tasks for term in task.losses]
        terms += distillation_terms(config, self.tasks)
        self.objective = Objective(terms, weight_strategy(config), name="objective")
        self.objective.build(None)
        specs = build_feature_specs(config)
        self.specs = MappingProxyType(specs)
        self.plan = build_plan(config, specs)
        self.backbone = Backbone(
            self.plan,
            specs,
            config,
            kernel_l2=message.model_params.l2_regularization,
            embedding_l2=message.embedding_regularization,
            variational_dropout=(
                typed_values(message.variational_dropout) if message.HasField("variational_dropout") else None
            ),
            name="backbone",
        )
        self._extra = tuple(
            block.name
            for block in self.plan.main.blocks
            if any(layer.kwargs.get("add_to_outputs") for layer in block.layers)
        )
        self._transform: FeatureTransform | None = None

    @staticmethod
    @abc.abstractmethod
    def read_tasks(config: Config) -> tuple[Task, ...]:
        """Returns what a config asks the model to predict.

        Raises:
            ConfigError: If it does not fit this kind of model.
        """

    def supervised_losses(
        self,
        labels: Mapping[str, tf.Tensor],
        predicted: Mapping[str, tf.Tensor],
        sample_weight: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns the unweighted losses of `terms` by name, scalars.

        Args:
            labels: Label columns by name, and what `loss_columns` read by key, each `[batch]`.
            predicted: What `predict_for_loss` returned.
            sample_weight: `[batch]`, or None for ones.
            training: Whether losses that draw random weights do. Defaults to False.
        """
        return self.objective.losses_of(labels, predicted, sample_weight, training)

    def loss_denominators(
        self,
        rows: int,
        sample_weight: np.ndarray | None = None,
        labels: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, float]:
        """Returns what each supervised loss of a batch was divided by, by name.

        The losses of several batches, weighted by these, average to the loss of all their rows, if they look
        at each row alone.

        Args:
            rows: Number of rows of the batch.
            sample_weight: `[batch]`, or None for ones.
            labels: What losses read beside predictions; needed where rows are weighted by task.
        """
        return {term.name: divisor(term, rows, sample_weight, labels or {}) for term in self.terms}

    def predict_for_loss(self, features: Mapping[str, tf.Tensor], training: bool) -> Mapping[str, tf.Tensor]:
        """Returns the predictions that losses and metrics are computed from.

        Args:
            features: Transformed features by name.
            training: Whether dropout, augmentation and auxiliary losses act.
        """
        return self(features, training=training)

    def signatures(self) -> dict[str, Signature]:
        """Returns what an export offers beside `serving_default`, by name."""
        return {}

    @property
    def transform(self) -> FeatureTransform:
        """The transform from raw columns to this model's inputs; made when first asked for."""
        if self._transform is None:
            self._transform = transform_from_config(self._config, self.specs)
        return self._transform

    @property
    def training_transform(self) -> FeatureTransform:
        """The transform of rows to train and to evaluate on; some hold more than those to predict for."""
        return self.transform

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """Inside of the `with` block weights stand still, so that predictions may share what needs no row."""
        yield

    def exported_arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays that stand beside an exported model as `assets.extra/<name>.npy`."""
        return {}

    @property
    def fixed_variables(self) -> list[tf.Variable]:
        """What predictions inside of `inference` read beside the model's variables."""
        return []

    @property
    def pipeline_config(self) -> Config:
        """The config that the model was made from."""
        return self._config

    @property
    def task(self) -> Task:
        """The first task, the only one of most models."""
        return self.tasks[0]

    @property
    def terms(self) -> tuple[LossTerm, ...]:
        """The supervised losses of all tasks."""
        return self.objective.terms

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the label columns that the losses read."""
        return label_names(self.terms)

    @property
    def loss_columns(self) -> tuple[LossColumn, ...]:
        """What the losses read beside labels, such as sessions."""
        return loss_columns(self.terms)

    @property
    def label_limits(self) -> dict[str, tuple[float, float, bool]]:
        """Lowest and highest label that the losses can use, and whether it must be whole, by column."""
        return label_limits(self.terms)

    def create_variables(self) -> None:
        """Creates all variables and checks that every shape fits, without data.

        Raises:
            ConfigError: At the block whose layer does not take what it is given.
        """
        self._check_shapes({})

    def _check_shapes(self, rows: Mapping[str, int]) -> None:
        """Predicts in a graph without data; `rows` tells the number of rows of what is not to be open."""
        # A graph that is thrown away: layers create their variables outside of it, and its shapes have the
        # unknown dimensions that a batch would hide.
        transform = self.training_transform  # its tables belong to no graph
        with tf.__internal__.FuncGraph("shapes").as_default():
            features = transform.symbolic_output()
            for name in features.keys() & rows.keys():
                features[name] = tf.ensure_shape(features[name], [rows[name], *features[name].shape[1:]])
            predicted = self._trace(lambda: self._forward(features))
        check_distillation(self._config, self.terms, predicted)

    @tf.autograph.experimental.do_not_convert
    def _forward(self, features: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        with collect_losses():
            return self.predict_for_loss(features, training=True)

    def _trace(self, run: Callable[[], Any]) -> Any:
        self.backbone.checking = True
        try:
            return run()
        except Exception as e:
            blamed = self.backbone.blamed
            if blamed is None:
                raise
            raise self._config.error(blamed.path, str(blamed)) from e
        finally:
            self.backbone.checking = False

    def with_extra(
        self, predicted: dict[str, tf.Tensor], blocks: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Adds the outputs of layers with `add_to_outputs` to predictions.

        Args:
            predicted: Predictions by name.
            blocks: Values of blocks by name.
        """
        for name in self._extra:
            predicted[name] = _squeeze(tf.cast(blocks[name], tf.float32))
        return predicted

    def compute_losses(
        self,
        features: Mapping[str, tf.Tensor],
        labels: Mapping[str, tf.Tensor],
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> Losses:
        """Predicts and computes every term of the loss.

        Args:
            features: Transformed features by name.
            labels: Label columns by name, and what `loss_columns` read by key, each `[batch]`.
            sample_weight: `[batch]`, or None for ones.
            training: Without it, only the supervised losses are computed.

        Returns:
            The losses by name: supervised, auxiliary and regularisation.
        """
        with collect_losses() as collected:
            predicted = self.predict_for_loss(features, training=training)
        unweighted = self.supervised_losses(labels, predicted, sample_weight, training)
        weighted = self.objective.weighted(unweighted, training)
        for name, (value, scaled) in collected.terms.items():
            unweighted[name], weighted[name] = value, scaled
        if training and self.losses:
            penalty = tf.add_n([tf.cast(loss, tf.float32) for loss in self.losses])
            unweighted["l2_regularization_loss"] = weighted["l2_regularization_loss"] = penalty
        total = tf.add_n([tf.cast(value, tf.float32) for value in weighted.values()])
        return Losses(total, unweighted, weighted, predicted, dict(collected.metrics))


def _squeeze(value: tf.Tensor) -> tf.Tensor:
    return tf.squeeze(value, axis=-1) if value.shape.rank > 1 and value.shape[-1] == 1 else value
