"""Scoring rows: metrics of a data set, and predictions row by row."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.errors import DataError, TrainingError
from easyssl.training.devices import Devices
from easyssl.training.labels import Labels
from easyssl.training.pipeline import Batch, Prefetcher, Preparation, filled
from easyssl.training.row_errors import naming_rows
from easyssl.training.step import Inputs, graph_function, inputs_of, open_inputs, predict_function


class Evaluator:
    """Computes the metrics of a model on a data set, as often as asked.

    Args:
        model: A model with `compute_losses`, `loss_denominators`, `transform` and `label_names`.
        dataset: One pass of the evaluation rows; read from its beginning each time.
        metrics: Metrics to compute.
        labels: Which columns are labels and weights.
        max_batches: Batches to read at most; None reads all.
        prefetch: Batches to prepare ahead.
        devices: What the model is trained on; it is evaluated on the first one.
    """

    def __init__(
        self,
        model: keras.Model,
        dataset: Any,
        metrics: Sequence[Any],
        labels: Labels,
        max_batches: int | None = None,
        prefetch: int = 8,
        devices: Devices | None = None,
    ) -> None:
        self.model = model
        self.devices = Devices() if devices is None else devices
        self.dataset = dataset
        self.metrics = list(metrics)
        self.max_batches = max_batches
        self.prefetch = prefetch
        self._preparation = Preparation.for_model(model, labels, getattr(dataset, "bad_rows", None))
        self._compiled: Any = None

    @classmethod
    def from_config(
        cls, config: Any, model: keras.Model, files: str | None = None, devices: Devices | None = None
    ) -> Evaluator:
        """Makes the evaluator that `eval_config` asks for.

        Args:
            config: A `Config`.
            model: Its model.
            files: Files or globs, separated by commas; by default the config's evaluation files.
            devices: What the model is trained on; by default one device.

        Raises:
            ConfigError: If the config names no evaluation files or a metric does not fit the model.
        """
        from easyssl.data.build import dataset_from_config
        from easyssl.metrics import metric_columns, metrics_from_config

        message = config.message
        limit = message.eval_config.num_examples
        labels = Labels.from_config(config, model.label_names, model.label_limits, model.loss_columns)
        columns = dict.fromkeys([*model.training_transform.columns, *labels.columns, *metric_columns(config)])
        return cls(
            model,
            dataset_from_config(config, "evaluate", paths=files, columns=list(columns)),
            metrics_from_config(config),
            labels,
            math.ceil(limit / message.data_config.batch_size) if limit else None,
            message.data_config.prefetch_size,
            devices,
        )

    def run(self) -> dict[str, float]:
        """Returns the metrics by name, and each supervised loss of all rows by its name.

        A loss that looks at each row alone does not depend on the size of the batches.

        Raises:
            DataError: If a row cannot be read, or there is none.
            TrainingError: If a prediction or a loss is not finite.
        """
        for metric in self.metrics:
            metric.reset()
        sums: dict[str, float] = collections.defaultdict(float)
        counts: dict[str, float] = collections.defaultdict(float)
        rows = 0
        source = itertools.islice(self.dataset.batches(), self.max_batches)
        with self.model.inference(), Prefetcher(source, self._preparation, self.prefetch) as batches:
            for batch in filled(batches):
                losses, weights = self._update(batch)
                known = {name: label.numpy() for name, label in batch.labels.items()}
                denominators = self.model.loss_denominators(batch.rows, weights, known)
                for name, value in losses.items():
                    count = denominators.get(name, float(batch.rows))
                    sums[name] += value * count
                    counts[name] += count
                rows += batch.rows
        if not rows:
            raise DataError("evaluation: there is no row that can be read")
        results = {name: float(v) for metric in self.metrics for name, v in metric.results().items()}
        means = {name: total / counts[name] if counts[name] else 0.0 for name, total in sums.items()}
        results |= {name: mean for name, mean in means.items() if name not in results}
        for name, value in results.items():
            if not math.isfinite(value):
                raise TrainingError(f"evaluation: {name} is {value}, expected a finite number")
        return results

    def of_batch(self, batch: Batch) -> dict[str, float]:
        """Returns the metrics of one prepared batch by name; those that are not defined on it are left out.

        Args:
            batch: A batch of this evaluator's preparation, or of one like it.
        """
        if not batch.rows:
            return {}
        for metric in self.metrics:
            metric.reset()
        with self.model.inference():
            self._update(batch)
        found = {name: float(v) for metric in self.metrics for name, v in metric.results().items()}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _update(self, batch: Batch) -> tuple[dict[str, float], np.ndarray | None]:
        """Adds a batch to the metrics; returns its losses and its weights."""
        predictions, losses = self._predict(batch)
        weights = None if batch.weights is None else batch.weights.numpy()
        for metric in self.metrics:
            own = weights if metric.weighted else None
            metric.update(self._label(metric, batch), predictions, own, batch.raw.columns)
        return losses, weights

    def _label(self, metric: Any, batch: Batch) -> np.ndarray:
        names = [metric.label, *self.model.label_names]
        name = next((name for name in names if name), None)
        return np.ones(batch.rows, np.float32) if name is None else batch.labels[name].numpy()

    def _predict(self, batch: Batch) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        if self._compiled is None:
            signature = open_inputs(batch, self._preparation.signature())
            self._compiled = graph_function(self._graph, signature)
        with naming_rows(batch.raw), self.devices.reading():
            predictions, losses = self._compiled(inputs_of(batch))
        return (
            {name: value.numpy() for name, value in predictions.items()},
            {name: float(value) for name, value in losses.items()},
        )

    def _graph(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        losses = self.model.compute_losses(
            inputs["features"], inputs["labels"], inputs.get("weights"), training=False
        )
        return dict(losses.predictions), dict(losses.unweighted)


def predict(
    model: keras.Model, dataset: Any, prefetch: int = 8
) -> Iterator[tuple[Any, dict[str, np.ndarray]]]:
    """Yields each raw batch of a data set with the model's predictions.

    Args:
        model: A model with `transform`.
        dataset: The rows.
        prefetch: Batches to prepare ahead.

    Yields:
        The raw batch, and the predictions `[batch, ...]` by name.

    Raises:
        DataError: If a row cannot be read.
    """
    preparation = Preparation.for_model(model, labels=None)
    compiled = predict_function(model, preparation.signature())
    with model.inference(), Prefetcher(dataset.batches(), preparation, prefetch) as batches:
        for batch in batches:
            with naming_rows(batch.raw):
                predictions = compiled(batch.features)
            yield batch.raw, {name: value.numpy() for name, value in predictions.items()}
