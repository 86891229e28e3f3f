"""`DNN` messages: dense layers as the parameters of an MLP."""

from __future__ import annotations

from typing import Any

from easyssl.backbone.plan_reader import Reader
from easyssl.config.bind import python_value


def read_dnn(reader: Reader, message: Any, path: str) -> dict[str, Any] | None:
    """Returns the arguments of an `MLP` that is what a `DNN` message says.

    Every layer, the last one too, is dense with a bias, batch normalisation, activation, dropout.

    Args:
        reader: For errors.
        message: The `DNN`.
        path: Its place in the config.

    Returns:
        Keyword arguments; None if a single 0 in `hidden_units` stands for no layer.

    Raises:
        ConfigError: For no layers, layers without units, and rates that are too many or outside of [0, 1).
    """
    units = list(message.hidden_units)
    if not units:
        raise reader.error(path, "hidden_units is empty; a single 0 stands for no layer")
    if units == [0]:
        return None
    for index, width in enumerate(units):
        if width < 1:
            raise reader.error(f"{path}.hidden_units[{index}]", "is 0, expected at least 1")
    rates = python_value(message.DESCRIPTOR.fields_by_name["dropout_ratio"], message.dropout_ratio)
    if len(rates) > len(units):
        raise reader.error(
            f"{path}.dropout_ratio", f"has {len(rates)} rates for {len(units)} layers of hidden_units"
        )
    for index, rate in enumerate(rates):
        if not 0 <= rate < 1:
            raise reader.error(f"{path}.dropout_ratio[{index}]", f"is {rate:g}, expected a number in [0, 1)")
    kwargs: dict[str, Any] = {
        "hidden_units": units,
        "activation": message.activation,
        "final_activation": message.activation,
        "use_bn": message.use_bn,
        "use_final_bn": message.use_bn,
        "use_bias": True,
        "use_final_bias": True,
        "initializer": "glorot_uniform",
    }
    if any(rates):
        kwargs["dropout_ratio"] = rates
    return kwargs
