"""RankModel: one score (or class, or value) a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.backbone.merge import describe
from easyssl.config import Config
from easyssl.models import heads
from easyssl.models.backbone_model import BackboneModel
from easyssl.models.tasks import Task, rank_task


@keras.utils.register_keras_serializable(package="easyssl")
class RankModel(BackboneModel):
    """A ranking model made from a config: backbone, head and losses.

    The backbone gives `[batch, dim]`. If `dim` differs from `num_class`, a dense layer called `output`
    follows; otherwise the backbone's output is the logits.

    Args:
        config: A config whose `model_config.model_class` is RankModel.
        **kwargs: `name` and `dtype` of the model.

    Attributes:
        tasks: What is predicted, one task, and which losses train it.
        specs: The features by name.
        transform: The `FeatureTransform` from raw columns to the model's inputs.

    Call arguments:
        inputs: Transformed features by name.
        training: Whether dropout, augmentation and auxiliary losses act.

    Returns:
        Predictions by name; see `easyssl.models.heads.predictions`. Layers with `add_to_outputs` add theirs.

    Raises:
        ConfigError: If the config does not describe a model; the message names the place.

    Example:
        >>> model = RankModel(load_config("samples/cl4srec_on_taobao.config"))  # doctest: +SKIP
        >>> model.compile("adam")  # doctest: +SKIP
        >>> model.fit(dataset)  # rows of (transformed features, {"clk": labels})  # doctest: +SKIP
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self._output_layer = keras.layers.Dense(self.task.num_class, name="output")

    @staticmethod
    def read_tasks(config: Config) -> tuple[Task, ...]:
        """Returns what a config asks the model to predict."""
        return (rank_task(config),)

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | None = None) -> dict[str, tf.Tensor]:
        """Predicts; see the class."""
        output, blocks = self.backbone(inputs, training=training, return_blocks=self._extra)
        if isinstance(output, (list, tuple)) or output.shape.rank != 2:
            raise self.backbone.blame(
                "model_config.backbone",
                "a RankModel needs one tensor [batch, dim] from its backbone, but gets "
                f"{describe(output)}; name a block that gives one in concat_blocks",
            )
        if output.shape[-1] != self.task.num_class:
            output = self._output_layer(output)
        predicted = heads.predictions(output, self.task)
        return self.with_extra(predicted, blocks)
