"""What a run sets up before its first step: seeds, precision, the model."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import UsageError, nearest

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


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


def make_deterministic(config: Any) -> None:
    """Seeds everything random and, unless the config says otherwise, chooses deterministic operations.

    Both hold for the whole process.
    """
    train_config = config.message.train_config
    keras.utils.set_random_seed(train_config.seed)
    # Random layers of Keras then keep a state of their own, which checkpoints hold.
    keras.backend.experimental.enable_tf_random_generator()
    if train_config.deterministic:
        tf.config.experimental.enable_op_determinism()


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
