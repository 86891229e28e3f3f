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

# Keras layers that a config may name. The list is closed on purpose: layers that run code or read files
# (Lambda, TFSMLayer, ...), take text (StringLookup, ...), wrap a layer that parameters cannot describe
# (Bidirectional, TimeDistributed, ...) or change pictures (RandomFlip, ...) have no place in a config.
KERAS_LAYERS: tuple[str, ...] = (
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "BatchNormalization",
    "CategoryEncoding",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Convolution1D",
    "Convolution1DTranspose",
    "Convolution2D",
    "Convolution2DTranspose",
    "Convolution3D",
    "Convolution3DTranspose",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Discretization",
    "Dot",
    "ELU",
    "EinsumDense",
    "Embedding",
    "Flatten",
    "GRU",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GroupNormalization",
    "Identity",
    "LSTM",
    "LayerNormalization",
    "LeakyReLU",
    "LocallyConnected1D",
    "LocallyConnected2D",
    "Masking",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "Minimum",
    "Multiply",
    "PReLU",
    "Permute",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
    "SimpleRNN",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Subtract",
    "ThresholdedReLU",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
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

        if hasattr(keras.layers, name):  # Keras 3 has no LocallyConnected1D and 2D any more
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
