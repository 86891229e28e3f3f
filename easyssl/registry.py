"""The one global of the library: which class a config's `class_name` stands for.

`@register("Name")` makes a layer usable from a config and serializable by Keras. Names are resolved here and
nowhere else: a config can never import a module or reach an attribute.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, TypeVar

from easyssl.errors import nearest

T = TypeVar("T", bound=type)

_layers: dict[str, type] = {}

PLUGIN_MODULE = "easyssl_plugin_"
"""A plugin is the module of this name, followed by that of its file."""

# Keras layers that a config may name. The list is closed on purpose: layers that run code, read files or
# change the shape of the batch axis (Lambda, TFSMLayer, StringLookup, ...) have no place in a config.
KERAS_LAYERS: tuple[str, ...] = (
    "Activation",
    "Add",
    "AdditiveAttention",
    "Average",
    "AveragePooling1D",
    "AvgPool1D",
    "BatchNormalization",
    "Concatenate",
    "Conv1D",
    "Convolution1D",
    "Cropping1D",
    "Dense",
    "DepthwiseConv1D",
    "Dot",
    "ELU",
    "EinsumDense",
    "Flatten",
    "GRU",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "GroupNormalization",
    "Identity",
    "LSTM",
    "LayerNormalization",
    "LeakyReLU",
    "MaxPool1D",
    "MaxPooling1D",
    "Maximum",
    "Minimum",
    "Multiply",
    "PReLU",
    "Permute",
    "ReLU",
    "RepeatVector",
    "Reshape",
    "SeparableConv1D",
    "SeparableConvolution1D",
    "SimpleRNN",
    "Softmax",
    "Subtract",
    "UnitNormalization",
    "UpSampling1D",
    "ZeroPadding1D",
)


def register(name: str) -> Callable[[T], T]:
    """Registers a Keras layer class under the `class_name` that configs use.

    Args:
        name: The name in configs; also the Keras serialization name, in the package `easyssl`.

    Returns:
        A class decorator.

    Raises:
        ValueError: If another class already has the name.

    Example:
        >>> @register("Doubled")  # doctest: +SKIP
        ... class Doubled(keras.layers.Layer):
        ...     def call(self, inputs):
        ...         return 2 * inputs
    """

    def decorate(cls: T) -> T:
        from tensorflow import keras

        held = _layers.get(name)
        if held is not None and (held.__module__, held.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            raise ValueError(
                f"'{name}' is already registered by {held.__module__}.{held.__qualname__}; "
                f"give {cls.__module__}.{cls.__qualname__} another name"
            )
        cls = keras.utils.register_keras_serializable(package="easyssl", name=name)(cls)
        _layers[name] = cls
        return cls

    return decorate


def get(name: str) -> type:
    """Returns the layer class of a `class_name`: ours first, then the admitted Keras layers.

    Raises:
        KeyError: If nothing has that name; the message offers the nearest one.
    """
    import easyssl.layers  # noqa: F401  (importing it registers our own layers)

    if name in _layers:
        return _layers[name]
    if name in KERAS_LAYERS:
        from tensorflow import keras

        return getattr(keras.layers, name)
    raise KeyError(f"no layer is called '{name}'{nearest(name, names())}")


def names() -> list[str]:
    """Returns every name that `get` resolves once the layers that use `register` are imported."""
    return sorted({*_layers, *KERAS_LAYERS})


def registered() -> dict[str, type]:
    """Returns a copy of what `register` has seen so far."""
    return dict(_layers)


def plugin_function(plugin: str, name: str) -> Callable[..., Any] | None:
    """Returns a function that a file of `--plugin` defines.

    Args:
        plugin: Name of the file, without folder and ending.
        name: Name of the function.

    Returns:
        None if there is no such file or function; what a file imports is none of its functions.
    """
    module = sys.modules.get(PLUGIN_MODULE + plugin)
    function = getattr(module, name, None)
    own = isinstance(function, FunctionType) and function.__module__ == PLUGIN_MODULE + plugin
    return function if own else None


@contextlib.contextmanager
def temporary_registration() -> Iterator[None]:
    """Undoes registrations made inside the `with` block, so that tests do not leak names."""
    saved = dict(_layers)
    try:
        yield
    finally:
        _layers.clear()
        _layers.update(saved)
