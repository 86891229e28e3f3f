"""What a config's `LearningRate` message says, checked without TensorFlow.

The schedules of `easyssl.training.schedules` have the same checks in their constructors, from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from easyssl.training.messages import message_at


def check_positive(**values: float) -> None:
    """Checks that numbers are above 0.

    Raises:
        ValueError: If one is not; it is named.
    """
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"{name} is {value:g}, expected a positive number")


def check_steps(steps: Sequence[int], learning_rates: Sequence[float]) -> None:
    """Checks the entries of a schedule by hand.

    Raises:
        ValueError: If the steps do not increase, start below 1, or do not match the rates in number.
    """
    if not steps or len(steps) != len(learning_rates):
        raise ValueError(f"found {len(steps)} steps for {len(learning_rates)} rates, expected as many, not 0")
    if steps[0] <= 0 or any(b <= a for a, b in zip(steps, steps[1:], strict=False)):
        raise ValueError(f"the steps are {list(steps)}, expected positive numbers that increase")


def check_warmup(base: float, total_steps: int, warmup_rate: float, warmup_steps: int) -> None:
    """Checks the warm-up of a cosine schedule.

    Raises:
        ValueError: If it starts above the base rate or does not fit into `total_steps`.
    """
    if warmup_steps > 0 and warmup_rate > base:
        raise ValueError(f"warmup_learning_rate {warmup_rate:g} is above learning_rate_base {base:g}")
    if warmup_steps > total_steps:
        raise ValueError(f"warmup_steps {warmup_steps} is above total_steps {total_steps}")


def schedule_values(config: Any, path: str) -> tuple[str, dict[str, Any]]:
    """Reads and checks a `LearningRate` message.

    Args:
        config: The `Config` that the message belongs to.
        path: Path of the message, such as `train_config.optimizer_config[0].adam_optimizer.learning_rate`.

    Returns:
        The member that is set, such as `"constant_learning_rate"`, and the arguments of its schedule.

    Raises:
        ConfigError: If no schedule is set, a required field is missing, or values contradict each other.
    """
    message = message_at(config, path)
    kind = message.WhichOneof("learning_rate")
    if kind is None:
        raise config.error(path, "no learning rate is set; expected one of its *_learning_rate messages")
    chosen = getattr(message, kind)
    path = f"{path}.{kind}"
    _check_rates(config, chosen, path)
    required = {
        "poly_decay_learning_rate": ("learning_rate_base", "total_steps", "power"),
        "transformer_learning_rate": ("learning_rate_base", "hidden_size", "warmup_steps"),
    }
    for name in required.get(kind, ()):
        if not chosen.HasField(name):
            raise config.error(path, f"'{name}' is not set, expected a number")
    values = {
        field.name: getattr(chosen, field.name)
        for field in chosen.DESCRIPTOR.fields
        if field.message_type is None
    }
    if kind == "exponential_decay_learning_rate":
        values["minimum"] = values.pop("min_learning_rate")
    if kind == "manual_step_learning_rate":
        values["steps"] = [entry.step for entry in chosen.schedule]
        values["learning_rates"] = [entry.learning_rate for entry in chosen.schedule]
    try:
        if kind == "exponential_decay_learning_rate":
            check_positive(decay_steps=chosen.decay_steps)
        elif kind == "manual_step_learning_rate":
            check_steps(values["steps"], values["learning_rates"])
        elif kind == "cosine_decay_learning_rate":
            check_warmup(
                chosen.learning_rate_base,
                chosen.total_steps,
                chosen.warmup_learning_rate,
                chosen.warmup_steps,
            )
        elif kind == "poly_decay_learning_rate":
            check_positive(total_steps=chosen.total_steps)
        elif kind == "transformer_learning_rate":
            names = ("hidden_size", "warmup_steps", "step_scaling_rate")
            check_positive(**{name: values[name] for name in names})
    except ValueError as error:
        raise config.error(path, str(error)) from None
    return kind, values


def check_schedules(config: Any) -> None:
    """Checks that each `optimizer_config` names an optimizer with a schedule that works.

    Args:
        config: A `Config`.

    Raises:
        ConfigError: If one does not, or if there is none or more than two of them.
    """
    optimizers = config.message.train_config.optimizer_config
    number = len(optimizers)
    if number not in (1, 2):
        where = "train_config" if number == 0 else "train_config.optimizer_config[2]"
        raise config.error(where, f"found {number} times optimizer_config, expected it once or twice")
    for index, optimizer in enumerate(optimizers):
        path = f"train_config.optimizer_config[{index}]"
        kind = optimizer.WhichOneof("optimizer")
        if kind is None:
            names = [field.name for field in optimizer.DESCRIPTOR.oneofs_by_name["optimizer"].fields]
            raise config.error(path, f"no optimizer is set; expected one of {', '.join(names)}")
        schedule_values(config, f"{path}.{kind}.learning_rate")


def _check_rates(config: Any, chosen: Any, path: str) -> None:
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
