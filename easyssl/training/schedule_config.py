"""The schedule that a config's `LearningRate` message asks for."""

from __future__ import annotations

from typing import Any

from easyssl.training.messages import message_at
from easyssl.training.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    ManualSteps,
    PolynomialDecay,
    Schedule,
    TransformerDecay,
)


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
    message = message_at(config, path)
    kind = message.WhichOneof("learning_rate")
    if kind is None:
        raise config.error(path, "no learning rate is set; expected one of its *_learning_rate messages")
    chosen = getattr(message, kind)
    path = f"{path}.{kind}"

    rates = [
        (f"{path}.{field.name}", value)
        for field, value in chosen.ListFields()
        if "learning_rate" in field.name
    ]
    rates += [
        (f"{path}.schedule[{index}].learning_rate", entry.learning_rate)
        for index, entry in enumerate(getattr(chosen, "schedule", ()))
    ]
    for where, value in rates:
        if isinstance(value, float) and not 0 <= value < float("inf"):
            raise config.error(where, f"found {value:g}, expected a rate of at least 0")

    def required(*names: str) -> list[Any]:
        for name in names:
            if not chosen.HasField(name):
                raise config.error(path, f"'{name}' is not set, expected a number")
        return [getattr(chosen, name) for name in names]

    try:
        if kind == "constant_learning_rate":
            return Constant(chosen.learning_rate)
        if kind == "exponential_decay_learning_rate":
            return ExponentialDecay(
                chosen.initial_learning_rate,
                chosen.decay_steps,
                chosen.decay_factor,
                staircase=chosen.staircase,
                burnin_learning_rate=chosen.burnin_learning_rate,
                burnin_steps=chosen.burnin_steps,
                minimum=chosen.min_learning_rate,
            )
        if kind == "manual_step_learning_rate":
            return ManualSteps(
                chosen.initial_learning_rate,
                [entry.step for entry in chosen.schedule],
                [entry.learning_rate for entry in chosen.schedule],
                warmup=chosen.warmup,
            )
        if kind == "cosine_decay_learning_rate":
            return CosineDecay(
                chosen.learning_rate_base,
                chosen.total_steps,
                warmup_learning_rate=chosen.warmup_learning_rate,
                warmup_steps=chosen.warmup_steps,
                hold_base_rate_steps=chosen.hold_base_rate_steps,
            )
        if kind == "poly_decay_learning_rate":
            base, total, power = required("learning_rate_base", "total_steps", "power")
            return PolynomialDecay(base, total, power, chosen.end_learning_rate)
        if kind == "transformer_learning_rate":
            base, width, warmup = required("learning_rate_base", "hidden_size", "warmup_steps")
            return TransformerDecay(base, width, warmup, chosen.step_scaling_rate)
    except ValueError as error:
        raise config.error(path, str(error)) from None
    raise config.error(path, f"the learning rate '{kind}' is not known")
