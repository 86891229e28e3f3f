"""From a planned layer to Keras layer objects."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl import registry
from easyssl.backbone.plan import LayerPlan
from easyssl.errors import ConfigError, nearest

ErrorAt = Callable[[str, str], ConfigError]
ResolvePath = Callable[[str, str], str]


def make_layer(
    plan: LayerPlan,
    kernel_l2: float,
    dtype: Any,
    error: ErrorAt,
    suffix: str = "",
    resolve: ResolvePath | None = None,
) -> keras.layers.Layer:
    """Makes the Keras layer that a plan names.

    Args:
        plan: A planned layer with `class_name` and bound `kwargs`.
        kernel_l2: `model_params.l2_regularization`, the factor of `1/2 * sum(kernel ** 2)`. It reaches the
            layers of ours that take a `kernel_regularizer`, but for those with `l2_of_model = False`.
        dtype: The dtype policy of the layer.
        error: Makes a `ConfigError` from a field path and a text.
        suffix: Appended to the layer's name, such as `_0` for a repeated layer.
        resolve: Turns a file name and the path of its field into an absolute file name. It is applied to the
            texts of those parameters that a class of ours lists in `file_parameters`. Defaults to None, which
            leaves names as they are.

    Returns:
        A layer named like its block.

    Raises:
        ConfigError: If no layer has that name, or its constructor refuses the parameters.
    """
    try:
        cls = registry.get(plan.class_name)
    except KeyError as e:
        raise error(f"{plan.path}.class_name", str(e.args[0])) from None
    kwargs = dict(plan.kwargs)
    own = plan.class_name in registry.registered()
    if own and resolve is not None:
        for name in getattr(cls, "file_parameters", ()):
            if isinstance(kwargs.get(name), str):
                kwargs[name] = resolve(kwargs[name], f"{plan.params_path}.{name}")
    takes_l2 = own and getattr(cls, "l2_of_model", True)
    if takes_l2 and kernel_l2 > 0 and "kernel_regularizer" in inspect.signature(cls).parameters:
        kwargs.setdefault("kernel_regularizer", keras.regularizers.L2(kernel_l2 / 2))
    if not own:
        _check_keras_parameters(cls, kwargs, plan, error)
        kwargs = {**_own_generator(cls), **kwargs}
    try:
        layer = cls(**{"dtype": dtype, **kwargs}, name=plan.name + suffix)
    except (TypeError, ValueError) as e:
        raise error(plan.path, f"{plan.class_name} refuses its parameters: {first_line(e)}") from e
    if not own:
        _check_taken_as_given(layer, kwargs, plan, error)
    return layer


def call_layer(layer: keras.layers.Layer, inputs: Any, training: bool | None) -> Any:
    """Calls a layer, handing over `training` if its `call` takes it."""
    if _takes_training(type(layer)):
        return layer(inputs, training=training)
    return layer(inputs)


def call_recurrent(
    layers: list[keras.layers.Layer], value: Any, fixed: int | None, training: bool | None
) -> Any:
    """Runs layers one after the other, each on the result of the one before.

    Args:
        layers: One layer a step.
        value: The first input: a tensor, or a list if `fixed` is given.
        fixed: Index of the list's element that stays the same at every step. The result of a step replaces
            the other elements.
        training: Handed to the layers.

    Returns:
        The last result; with `fixed`, the list without the fixed element, or its only element.

    Raises:
        ValueError: If `fixed` is given and the input is no list, or too short.
    """
    if fixed is None:
        for layer in layers:
            value = call_layer(layer, value, training)
        return value
    if not isinstance(value, (list, tuple)) or fixed >= len(value):
        raise ValueError(f"fixed_input_index {fixed} needs a list of more than {fixed} inputs")
    kept = list(value)
    others = [i for i in range(len(kept)) if i != fixed]
    for layer in layers:
        result = call_layer(layer, list(kept), training)
        results = list(result) if isinstance(result, (list, tuple)) else [result] * len(others)
        if len(results) != len(others):
            raise ValueError(f"a step gave {len(results)} results for {len(others)} inputs that change")
        for i, r in zip(others, results, strict=True):
            kept[i] = r
    rest = [kept[i] for i in others]
    return rest[0] if len(rest) == 1 else rest


def call_repeated(
    layers: list[keras.layers.Layer], value: Any, plan: LayerPlan, training: bool | None
) -> Any:
    """Runs separate layers on the same input, which `input_slice` and `input_fn` may choose from by index.

    Returns:
        The only output, the outputs joined on `output_concat_axis`, or the list of outputs.
    """
    outputs = []
    for i, layer in enumerate(layers):
        chosen = value
        if plan.input_slice is not None:
            chosen = plan.input_slice(chosen, i)
        if plan.input_fn is not None:
            chosen = plan.input_fn(chosen, i)
        outputs.append(call_layer(layer, chosen, training))
    if len(outputs) == 1:
        return outputs[0]
    if plan.output_concat_axis is not None:
        return tf.concat(outputs, axis=plan.output_concat_axis)
    return outputs


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message that says something, without what Keras puts around it."""
    lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith("Exception encountered when calling")]
    return said[0] if said else type(error).__name__


def _takes_training(cls: Any) -> bool:
    parameters = inspect.signature(cls.call).parameters
    return "training" in parameters


def _check_keras_parameters(cls: Any, kwargs: Mapping[str, Any], plan: LayerPlan, error: ErrorAt) -> None:
    valid = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs", "args", "name"}
    valid |= {"dtype", "trainable"}
    for key in kwargs:
        if key not in valid:
            raise error(plan.params_path, f"{cls.__name__} has no parameter '{key}'{nearest(key, valid)}")


def _own_generator(cls: Any) -> dict[str, Any]:
    """Returns the argument that gives a random layer of tf_keras a state for checkpoints to keep, if any.

    Without it the layer draws from TensorFlow's own stream, and a run that is resumed draws other numbers.
    """
    takes_it = any(
        "force_generator" in inspect.signature(base.__init__).parameters for base in cls.__mro__[:-1]
    )
    return {"force_generator": True} if takes_it else {}


def _check_taken_as_given(
    layer: keras.layers.Layer, kwargs: Mapping[str, Any], plan: LayerPlan, error: ErrorAt
) -> None:
    """Refuses numbers that the constructor rounded, such as `units: 0.5`, which Keras takes for 0."""
    fractions = {key: value for key, value in kwargs.items() if isinstance(value, float)}
    taken = layer.get_config() if fractions else {}
    for key, value in fractions.items():
        if isinstance(taken.get(key), int):
            text = f"{plan.class_name} needs a whole number for '{key}'; found {value:g}"
            raise error(plan.params_path, text)
