"""What a run sets up before its first step: seeds, precision, the model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import UsageError, nearest
from easyssl.training.strategies import PRECISIONS

# Read by TensorFlow: lets scatters run on a GPU in deterministic mode, which is safe for distinct rows.
SCATTER = "TF_DISABLE_SCATTER_OP_DETERMINISM"


def check_keras() -> None:
    """Refuses Keras 3, which has neither these optimizers' base class nor the strategies that training needs.

    Raises:
        UsageError: If `tf.keras` is Keras 3.
    """
    if hasattr(keras, "ops"):
        raise UsageError(
            "training needs tf_keras, but tf.keras is Keras 3; set TF_USE_LEGACY_KERAS=1 "
            "before importing TensorFlow, or use the easyssl command"
        )


def make_deterministic(config: Any, report: Callable[[str], None]) -> None:
    """Seeds everything random and, unless the config says otherwise, chooses deterministic operations.

    Sets numbers of threads and the log of devices as well. All of it holds for the whole process.

    Args:
        config: A `Config`.
        report: Called with a line for the user when a setting of the environment makes training slow.
    """
    train_config = config.message.train_config
    _set_runtime(train_config, report)
    keras.utils.set_random_seed(train_config.seed)
    # Random layers of Keras then keep a state of their own, which checkpoints hold.
    keras.backend.experimental.enable_tf_random_generator()
    if train_config.deterministic:
        tf.config.experimental.enable_op_determinism()
        if tf.config.list_physical_devices("GPU") and not os.environ.get(SCATTER):
            report(
                f"set {SCATTER}=1: without it, deterministic mode copies every embedding table to the CPU "
                "and back in every step; updates write each row once, so they are deterministic anyway"
            )


def leave_graphs_alone() -> None:
    """Turns TensorFlow's graph optimiser off for the whole process, unless there is a GPU.

    On a CPU its passes delay the first step by seconds and were not measured to make later ones faster.
    """
    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def _set_runtime(train_config: Any, report: Callable[[str], None]) -> None:
    """Sets threads, which TensorFlow takes before its first operation only, and the log of devices."""
    threading = tf.config.threading
    for name, set_threads in (
        ("inter_op_parallelism_threads", threading.set_inter_op_parallelism_threads),
        ("intra_op_parallelism_threads", threading.set_intra_op_parallelism_threads),
    ):
        number = getattr(train_config, name)
        if not number:
            continue
        try:
            set_threads(number)
        except RuntimeError:
            report(f"train_config.{name} has no effect: TensorFlow runs in this process already")
    if train_config.is_profiling:
        tf.debugging.set_log_device_placement(True)


def build_model(config: Any) -> keras.Model:
    """Builds the model of a config with all its variables, in the precision that the config asks for.

    Equal configs give variables of equal names, in this process and in others.

    Raises:
        ConfigError: If the config does not describe a model.
    """
    from easyssl import models

    precision = config.message.train_config.mixed_precision or "float32"
    if precision not in PRECISIONS:
        raise config.error(
            "train_config.mixed_precision", f"'{precision}' is not known{nearest(precision, PRECISIONS)}"
        )
    previous = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(precision)
    # Layers that a config does not name are numbered; without this the numbers would go on from earlier
    # models.
    keras.backend.reset_uids()
    try:
        return models.build_model(config)
    finally:
        keras.mixed_precision.set_global_policy(previous)


def deadline(config: Any) -> float | None:
    """Returns the Unix time of `train_config.dead_line`, None if it is not set.

    Raises:
        ConfigError: If it is not a local time `YYYYMMDD HH:MM:SS`.
    """
    text = config.message.train_config.dead_line
    if not text:
        return None
    try:
        return time.mktime(time.strptime(text, "%Y%m%d %H:%M:%S"))
    except (ValueError, OverflowError):
        raise config.error(
            "train_config.dead_line", f"'{text}' is not a local time such as '20261231 23:59:59'"
        ) from None
