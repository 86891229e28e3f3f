"""The schedule that a config's `LearningRate` message asks for."""

from __future__ import annotations

from typing import Any

from easyssl.training.schedule_values import schedule_values
from easyssl.training.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    ManualSteps,
    PolynomialDecay,
    Schedule,
    TransformerDecay,
)

_SCHEDULES: dict[str, type[Schedule]] = {
    "constant_learning_rate": Constant,
    "exponential_decay_learning_rate": ExponentialDecay,
    "manual_step_learning_rate": ManualSteps,
    "cosine_decay_learning_rate": CosineDecay,
    "poly_decay_learning_rate": PolynomialDecay,
    "transformer_learning_rate": TransformerDecay,
}


def schedule_from_config(config: Any, path: str) -> Schedule:
    """Builds the schedule of a `LearningRate` message.

    Args:
        config: The `Config` that the message belongs to.
        path: Path of the message, such as `train_config.optimizer_config[0].adam_optimizer.learning_rate`.

    Returns:
        The schedule.

    Raises:
        ConfigError: If no schedule is set, a required field is missing, or values contradict each other.
    """
    kind, values = schedule_values(config, path)
    if kind not in _SCHEDULES:
        raise config.error(f"{path}.{kind}", f"the learning rate '{kind}' is not known")
    return _SCHEDULES[kind](**values)
