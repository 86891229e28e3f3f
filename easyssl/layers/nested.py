"""Layers inside of layers whose parameters a config gives as a nested message."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from tensorflow import keras

from easyssl.errors import nearest

_OF_KERAS = frozenset({"name", "dtype", "trainable", "autocast", "kernel_regularizer"})

L = TypeVar("L", bound=keras.layers.Layer)


def nested_layer(
    owner: Any,
    cls: type[L],
    parameters: Mapping[str, Any],
    name: str,
    given_as: str | None = None,
    **rest: Any,
) -> L:
    """Makes a layer from the parameters that its owner was given for it, in the owner's precision.

    Args:
        owner: The layer that will own it, named in errors.
        cls: The class, such as `MLP`.
        parameters: Keyword arguments of its constructor, as in a config.
        name: Its name.
        given_as: The owner's parameter that holds `parameters`, named in errors; None for one that is called
            like the layer. Defaults to None.
        **rest: Arguments that are the owner's to decide, such as a `kernel_regularizer`.

    Returns:
        The layer, not built.

    Raises:
        ValueError: For a parameter that the constructor does not have, and a missing one without a default.
    """
    known = {
        parameter.name: parameter
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in _OF_KERAS
    }
    where = f"{type(owner).__name__}: `{given_as or name}`"
    for key in parameters:
        if key not in known:
            raise ValueError(f"{where} has no parameter '{key}'{nearest(key, known)}")
    for parameter in known.values():
        if parameter.default is parameter.empty and parameter.name not in parameters:
            raise ValueError(f"{where} needs the parameter '{parameter.name}'")
    return cls(**parameters, **rest, dtype=owner.dtype_policy, name=name)


def nested_config(layer: Any) -> dict[str, Any] | None:
    """Returns the parameters that `nested_layer` makes a layer from again; None for no layer.

    Args:
        layer: A layer made by `nested_layer`, or None.

    Example:
        >>> from easyssl.layers import MLP
        >>> nested_config(MLP([4], use_final_bn=False))["hidden_units"]
        [4]
    """
    if layer is None:
        return None
    return {key: value for key, value in layer.get_config().items() if key not in _OF_KERAS}
