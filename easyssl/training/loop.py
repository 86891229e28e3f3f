"""Training a model from a config."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TextIO

import tensorflow as tf

from easyssl.errors import TrainingError
from easyssl.training.checkpoint import no_hook
from easyssl.training.lock import ModelDirLock
from easyssl.training.setup import check_keras
from easyssl.training.signals import StopSignals
from easyssl.training.state import TrainResult
from easyssl.training.strategies import cluster_of, strategy_of
from easyssl.training.trainer import Trainer


def train(
    config: Any,
    *,
    fresh: bool = False,
    allow_config_change: bool = False,
    stream: TextIO | None = None,
    on_write: Callable[[str], None] = no_hook,
) -> TrainResult:
    """Trains the model of a config, or goes on where the last run of the same config stopped.

    Everything is written below `model_dir`: checkpoints in `ckpt/`, `metrics.jsonl`, TensorBoard files in
    `logs/`. With `train_config.deterministic`, on one device, a run that was stopped any number of times, at
    any moment and in any way, gives the same weights and metrics bit for bit as one that was not, as long as
    checkpoints are asked for by steps and not by seconds.

    Args:
        config: A `Config`.
        fresh: Whether to start over; what an earlier run wrote is put aside.
        allow_config_change: Whether to go on although fields that change results have been edited.
        stream: Where progress is shown; by default stderr.
        on_write: Called before each file of a checkpoint is written; for tests.

    Returns:
        How the run ended.

    Raises:
        ConfigError: If the config is wrong.
        DataError: If the data cannot be read.
        CheckpointError: If no checkpoint can be read or written, or it was made by another config.
        TrainingError: If something is no longer finite; the last checkpoint is from before.
        Preempted: If a signal stopped the run, after a checkpoint was written.
    """
    check_keras()
    config.refuse()
    trainer = trainer_of(config, stream, on_write)
    lock = ModelDirLock(trainer.model_dir) if trainer.chief else contextlib.nullcontext()
    with lock, StopSignals() as stop:
        try:
            if fresh:
                trainer.put_aside()
            trainer.build()
            stop.take_over()  # TensorFlow takes SIGTERM when workers connect
            trainer.resume(allow_config_change)
            return trainer.run(stop)
        except tf.errors.UnavailableError as error:
            raise TrainingError(f"another worker has gone: {error.message.splitlines()[0]}") from None
        finally:
            trainer.journal.close()


def trainer_of(config: Any, stream: TextIO | None, on_write: Callable[[str], None]) -> Trainer:
    """Returns the trainer for the config's strategy.

    Raises:
        Preempted: On a worker or parameter server, when it is stopped.
    """
    cluster = cluster_of(config)
    if cluster is None or strategy_of(config) != "parameter_server":
        return Trainer(config, stream, on_write, cluster)
    from easyssl.training import parameter_server

    if cluster.kind != "chief":
        parameter_server.serve(cluster, stream)
    return parameter_server.ServedTrainer(config, stream, on_write, cluster)
