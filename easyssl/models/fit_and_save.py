"""What Keras' own `fit`, `save` and `load_model` ask of a model that is made from a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.config import parse_config

_KERAS_2 = not hasattr(keras, "ops")


class FitAndSave(keras.Model):
    """A Keras model whose losses, and all that is to be saved of it beside weights, are in a config.

    `BackboneModel` says which these are.
    """

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Prepares Keras' own `fit`; the losses are the config's."""
        super().compile(*args, **kwargs)
        if _KERAS_2:
            self._mean_loss = keras.metrics.Mean(name="loss")

    # Nothing here needs AutoGraph, and rewriting each function of each layer takes longer than tracing it.

    @tf.autograph.experimental.do_not_convert
    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """Does one step of Keras' own `fit`."""
        return super().train_step(*args, **kwargs)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Does one step of Keras' own `evaluate`."""
        return super().test_step(*args, **kwargs)

    @tf.autograph.experimental.do_not_convert
    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """Does one step of Keras' own `predict`."""
        return super().predict_step(*args, **kwargs)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Returns the mean loss since the last reset, which only Keras 3 reports by itself."""
        if _KERAS_2:
            return {"loss": self._mean_loss.result()}
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
        **_: Any,
    ) -> tf.Tensor:
        """Returns what Keras' own `fit` minimises: the weighted supervised losses plus what layers added."""
        labels = y if isinstance(y, Mapping) else {self.task.label: y}
        supervised = self.supervised_losses(labels, y_pred, sample_weight, training)
        terms = self.objective.weighted(supervised, training).values()
        total = tf.add_n([tf.cast(t, tf.float32) for t in (*terms, *self.losses)])
        if _KERAS_2:
            self._mean_loss.update_state(total)
        return total

    def get_config(self) -> dict[str, Any]:
        """Returns what makes an equal model: the config's text, where its files are, and the precision."""
        return {
            "text": self._config.text(),
            "path": self._config.path,
            "data_root": self._config.data_root,
            "precision": self.backbone.dtype_policy.name,
            "dtype": self.dtype_policy.name,
            "name": self.name,
        }

    def get_build_config(self) -> dict[str, Any]:
        """Returns what `build_from_config` needs: nothing, since the config tells every shape."""
        return {"input_shape": None}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Creates the variables, before Keras loads their values."""
        self.create_variables()

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> FitAndSave:
        """Makes the model of a `get_config`."""
        path = config["path"].removesuffix(".json")  # the text is in text format, whatever was read
        read = parse_config(config["text"], path, data_root=config["data_root"])
        previous = keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy(config["precision"])
        try:
            return cls(read, name=config["name"], dtype=config["dtype"])
        finally:
            keras.mixed_precision.set_global_policy(previous)
