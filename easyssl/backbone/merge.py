"""How several inputs of a block become one value.

A value is a tensor, a list of values, or a tuple (the several outputs of one block). Lists merge; a tuple
must be sliced first, so that a length can never end up joined to an embedding by accident.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class MergeError(ValueError):
    """Inputs that do not fit together; the message names them and their shapes."""


def merge_inputs(values: Sequence[Any], names: Sequence[str], axis: int = -1, into_list: bool = False) -> Any:
    """Merges the values of a block's inputs.

    | inputs | result |
    | --- | --- |
    | `into_list` | a list of the values, nested lists kept as elements |
    | exactly one | the value unchanged |
    | only lists | one list with the elements of all |
    | lists and tensors | one list, a tensor counting as one element |
    | only tensors | `tf.concat` on `axis` |

    Args:
        values: One value an input, in order.
        names: What each value is called in error messages.
        axis: Axis of the concatenation of tensors.
        into_list: Whether to hand over the values as a list.

    Returns:
        The merged value.

    Raises:
        MergeError: If there is nothing to merge, a tuple stands among several inputs, or shapes differ on
            another axis than `axis`.

    Example:
        >>> merge_inputs([tf.ones([2, 3]), tf.ones([2, 4])], ["a", "b"]).shape
        TensorShape([2, 7])
    """
    if into_list:
        return list(values)
    if not values:
        raise MergeError("every input has ignore_input, so the block has nothing to work on")
    if len(values) == 1:
        return values[0]
    for value, name in zip(values, names, strict=True):
        if isinstance(value, tuple) or value is None:
            raise MergeError(
                f"input '{name}' has several outputs {describe(value)}, which cannot be merged with other "
                "inputs; select one with input_slice, such as '[0]'"
            )
    if any(isinstance(value, list) for value in values):
        return [element for value in values for element in (value if isinstance(value, list) else [value])]
    return concat(values, names, axis)


def concat(values: Sequence[tf.Tensor], names: Sequence[str], axis: int = -1) -> tf.Tensor:
    """Concatenates tensors, naming those that do not fit.

    Args:
        values: Tensors of equal rank, equal in every dimension but `axis`. Float tensors of different
            precision are brought to the lowest one (which a mixed-precision policy chose on purpose).
        names: What each tensor is called in error messages.
        axis: The axis to join.

    Returns:
        The joined tensor.

    Raises:
        MergeError: If ranks or other dimensions differ.
    """
    values = _one_dtype([tf.convert_to_tensor(value) for value in values])
    first = values[0].shape
    for value, name in zip(values[1:], names[1:], strict=True):
        if first.rank is None or value.shape.rank is None:
            continue
        if value.shape.rank != first.rank:
            fits = False
        else:
            joined = axis % first.rank if -first.rank <= axis < first.rank else None
            if joined is None:
                raise MergeError(f"input_concat_axis {axis} is out of range for {describe(values[0])}")
            fits = all(
                a is None or b is None or a == b or i == joined
                for i, (a, b) in enumerate(zip(first.as_list(), value.shape.as_list(), strict=True))
            )
        if not fits:
            raise MergeError(
                f"'{names[0]}' {describe(values[0])} and '{name}' {describe(value)} cannot be joined on axis "
                f"{axis}"
            )
    return tf.concat(values, axis=axis)


def _one_dtype(values: list[tf.Tensor]) -> list[tf.Tensor]:
    floats = [v.dtype for v in values if v.dtype.is_floating]
    if not floats:
        return values
    target = min(floats, key=lambda dtype: dtype.size)
    return [v if v.dtype == target else tf.cast(v, target) for v in values]


def describe(value: Any) -> str:
    """Returns the shape of a value for people: `[batch, 16]`, `([batch, seq_len, 32], [batch])`.

    The first unknown dimension is called batch, the second seq_len.
    """
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {describe(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(describe(element) for element in value)
        return f"({inner})" if isinstance(value, tuple) else f"list of {len(value)}: {inner}"
    shape = getattr(value, "shape", None)
    if shape is None:
        return type(value).__name__
    if getattr(shape, "rank", 0) is None:
        return "[?]"
    unknown = iter(["batch", "seq_len"])
    return "[" + ", ".join(str(d) if d is not None else next(unknown, "?") for d in tuple(shape)) + "]"
