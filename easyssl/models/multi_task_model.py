"""MultiTaskModel: several labels a row, each with a tower of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.backbone.instantiate import first_line
from easyssl.backbone.merge import describe
from easyssl.backbone.names import UniqueNames
from easyssl.backbone.plan_multi_task import TaskTower, plan_multi_task
from easyssl.config import Config
from easyssl.models import heads
from easyssl.models.backbone_model import BackboneModel
from easyssl.models.task_tower import TaskLayers
from easyssl.models.tasks import Task
from easyssl.models.tower_tasks import tower_tasks


@keras.utils.register_keras_serializable(package="easyssl")
class MultiTaskModel(BackboneModel):
    """Several tasks on one backbone, made from a config.

    The backbone gives `[batch, dim]`, which all towers read, or a list with one such tensor for each tower,
    in their order. Tower t computes `h_t = dnn_t(x_t)`, `r_t = relation_dnn_t([h_t, r_s, ...])` over the
    earlier towers s that it names, and `logits_t = W_t r_t + b_t`. Without `dnn`, h_t is x_t, and without
    `relation_dnn`, r_t is h_t; gradients reach the earlier towers. A task that depends on what happened in an
    earlier one, such as a purchase on a click, can so read what the model knows about that one.

    Args:
        config: A config whose `model_config.model_class` is MultiTaskModel.
        **kwargs: `name` and `dtype` of the model.

    Attributes:
        tasks: What each tower predicts, and which losses train it.
        towers: What the config says about the towers' layers.

    Call arguments:
        inputs: Transformed features by name.
        training: Whether dropout, augmentation and auxiliary losses act.

    Returns:
        Predictions of all towers by name, each with `_<tower_name>` at its end; see
        `easyssl.models.heads.predictions`. Layers with `add_to_outputs` add theirs.

    Raises:
        ConfigError: If the config does not describe a model; the message names the place.

    Example:
        >>> model = MultiTaskModel(load_config("samples/easyrec/mmoe_on_taobao.config"))  # doctest: +SKIP
        >>> sorted(model(model.transform(rows)))  # doctest: +SKIP
        ['logits_clk', 'logits_gender', 'probs_clk', ...]

    References:
        Ma et al., "Modeling task relationships in multi-task learning with multi-gate mixture-of-experts",
        KDD 2018; Zhang et al., "Deep Bayesian multi-target learning for recommender systems", arXiv
        1902.09154, which is where relation towers are from.
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.towers: tuple[TaskTower, ...] = plan_multi_task(config, self.plan)
        kernel_l2 = config.message.model_config.model_params.l2_regularization
        names = UniqueNames([layer.name for layer in (self.backbone, self.objective)])
        self.task_layers = [
            TaskLayers(tower, task.num_class, kernel_l2, config.error, name=names.take(f"{tower.name}_tower"))
            for tower, task in zip(self.towers, self.tasks, strict=True)
        ]

    @staticmethod
    def read_tasks(config: Config) -> tuple[Task, ...]:
        """Returns what a config asks the model to predict."""
        return tower_tasks(config)

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | None = None) -> dict[str, tf.Tensor]:
        """Predicts; see the class."""
        output, blocks = self.backbone(inputs, training=training, return_blocks=self._extra)
        related: dict[str, tf.Tensor] = {}
        predicted: dict[str, tf.Tensor] = {}
        values = self._inputs_of_towers(output)
        for tower, task, layers, value in zip(self.towers, self.tasks, self.task_layers, values, strict=True):
            read = [related[name] for name in tower.relations] if tower.relates else []
            try:
                related[tower.name], logits = layers(value, read, training=training)
            except Exception as error:
                text = f"the tower '{tower.name}' fails on {describe(value)}: {first_line(error)}"
                raise self.backbone.blame(tower.path, text) from error
            own = heads.predictions(logits, task)
            taken = [name for name in own if name in predicted]
            if taken:
                raise self.backbone.blame(
                    tower.path, f"a prediction of an earlier tower is called '{taken[0]}' too; rename one"
                )
            predicted |= own
        return self.with_extra(predicted, blocks)

    def _inputs_of_towers(self, output: Any) -> list[tf.Tensor]:
        """Returns what each tower reads, `[batch, dim]`."""
        number = len(self.towers)
        listed = isinstance(output, list | tuple)
        values = list(output) if listed else [output] * number
        if len(values) != number:
            names = ", ".join(tower.name for tower in self.towers)
            raise self.backbone.blame(
                "model_config.backbone",
                f"gives a list of {len(values)} tensors for {number} task_towers ({names}); a MultiTaskModel "
                "needs one for each tower, in their order, or one tensor that all of them read",
            )
        for tower, value in zip(self.towers, values, strict=True):
            if isinstance(value, list | tuple) or value.shape.rank != 2:
                raise self.backbone.blame(
                    "model_config.backbone",
                    f"the tower '{tower.name}' needs one tensor [batch, dim], but gets {describe(value)}",
                )
        return values
