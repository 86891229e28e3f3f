"""From the parameters that a config gives a layer to the arguments of the layer's constructor.

Layers are plain Keras layers: `BST(hidden_size=128, ...)`. A config gives their parameters as a typed message
or as a `Struct`; both are matched by name to the constructor. Only what the config sets is passed on, so that
the defaults are the constructor's.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from easyssl.config.signatures import ANY, Kind, Parameter, Signature, signature_of, static_catalogue
from easyssl.errors import ConfigError, nearest

__all__ = [
    "STRUCT_DEFAULTS",
    "UNREAD",
    "Kind",
    "Parameter",
    "Signature",
    "bind",
    "not_supported",
    "params_field",
    "python_value",
    "signature_of",
    "static_catalogue",
    "struct_value",
    "typed_values",
]

ErrorAt = Callable[[str, str], ConfigError]
"""Makes an error from a field path relative to the parameters (may be empty) and a text."""

# Typed messages whose field is not called like the class.
_FIELDS = {
    "AITMTower": "aitm",
    "SeqAugment": "seq_aug",
    "SeqAugmentOps": "seq_aug",
    "TransformerBlock": "transformer",
    "TransformerEncoder": "transformer",
}
_OF_TEXT = frozenset({"EditDistance", "MappedDotProduct", "OverlapFeature", "TextNormalize"})
STRUCT_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"PPNet": {"mode": "lazy"}}
"""Defaults by class that hold where the parameters are a `Struct`, and differ from the constructor's.

EasyRec has them, so configs rely on them.
"""
UNREAD: Mapping[str, Mapping[str, str]] = {
    "TransformerBlock": dict.fromkeys(
        (
            "num_hidden_layers",
            "vocab_size",
            "max_position_embeddings",
            "use_position_embeddings",
            "output_all_token_embeddings",
        ),
        "it is of TransformerEncoder; TransformerBlock is one layer on vectors",
    ),
}
"""Fields of a typed message that a class does not read, because they are for another one, and why."""

_INACTIVE = ("no_effect", "refused")
_MAX_EXACT = 2**53


def params_field(class_name: str, fields: Iterable[str]) -> str | None:
    """Returns the field of `KerasLayer.params` that belongs to a class, if there is one.

    Args:
        class_name: Such as `"MaskNet"`.
        fields: The fields there are, such as `"masknet"`.
    """
    plain = {field.replace("_", ""): field for field in fields}
    return _FIELDS.get(class_name) or plain.get(class_name.lower())


def not_supported(class_name: str) -> str | None:
    """Returns the text of the error for a layer that the config language has, and a model cannot have.

    Args:
        class_name: A name that is no layer's.

    Returns:
        The text, or None for any other name.
    """
    if class_name not in _OF_TEXT:
        return None
    return (
        f"layer '{class_name}' works on text, and a model gets numbers only; do that where the data is made, "
        "and read the result as a feature"
    )


def bind(signature: Signature | None, params: Any, error: ErrorAt) -> dict[str, Any]:
    """Matches parameters to a constructor.

    Args:
        signature: What the constructor takes; None if that is not known yet, for any parameters.
        params: A typed message, a `google.protobuf.Struct`, or None for no parameters.
        error: Makes the error for a field below `params`.

    Returns:
        Keyword arguments, only those that are set, in the constructor's order. A nested message is a dict of
        its set fields, a repeated field a list. An integral number of a `Struct` becomes an int where the
        constructor takes one, 0 or 1 a bool where it takes that, and text a number.

    Raises:
        ConfigError: For a parameter that the constructor does not have or that has another type, and for a
            missing one without a default.
    """
    if signature is None:
        return {name: _convert(ANY, value) for name, value in _values(params, error).items()}
    kwargs: dict[str, Any] = {}
    for name, value in _values(params, error).items():
        parameter = signature.parameters.get(name)
        if parameter is None:
            raise error(
                name,
                f"{signature.class_name} has no parameter '{name}'{nearest(name, signature.parameters)}",
            )
        try:
            kwargs[name] = _convert(parameter.kind, value)
        except ValueError as mismatch:
            raise error(name, f"parameter '{name}' of {signature.class_name} {mismatch}") from None
    for parameter in signature.parameters.values():
        if parameter.required and parameter.name not in kwargs:
            raise error("", f"{signature.class_name} needs the parameter '{parameter.name}'")
    return {name: kwargs[name] for name in signature.parameters if name in kwargs}


def typed_values(message: Any) -> dict[str, Any]:
    """Returns the set fields of a message, without those that are accepted but act on nothing.

    A field that is refused is set to its default here, since another value is an error of its own.
    """
    return {
        field.name: python_value(field, value)
        for field, value in message.ListFields()
        if not any(option.name in _INACTIVE for option, _ in field.GetOptions().ListFields())
    }


def python_value(field: Any, value: Any) -> Any:
    """Returns the Python value of a set protobuf field.

    A `float` field has 32 bits; the number returned is the shortest decimal that reads back as the same 32
    bits, so 0.1 in a config is 0.1 and not 0.10000000149011612.
    """
    if not isinstance(value, (str, bytes)) and hasattr(value, "__len__") and not hasattr(value, "DESCRIPTOR"):
        return [python_value(field, item) for item in value]
    if hasattr(value, "DESCRIPTOR"):
        return _struct(value) if value.DESCRIPTOR.full_name == _STRUCT else typed_values(value)
    if field.cpp_type == field.CPPTYPE_FLOAT:
        return _shortest(value)
    if field.cpp_type == field.CPPTYPE_ENUM:
        return field.enum_type.values_by_number[value].name
    return value


def struct_value(value: Any) -> Any:
    """Returns the Python value of a `google.protobuf.Value`; numbers are floats.

    Raises:
        ValueError: If the value is not set.
    """
    kind = value.WhichOneof("kind")
    if kind is None:
        raise ValueError("has no value; write number_value, string_value, bool_value or list_value")
    if kind == "struct_value":
        return _struct(value.struct_value)
    if kind == "list_value":
        return [struct_value(item) for item in value.list_value.values]
    return None if kind == "null_value" else getattr(value, kind)


_STRUCT = "google.protobuf.Struct"


def _struct(message: Any) -> dict[str, Any]:
    # The entries of a Struct come in an order of their own in every process.
    return {key: struct_value(value) for key, value in sorted(message.fields.items())}


def _values(params: Any, error: ErrorAt) -> Mapping[str, Any]:
    if params is None:
        return {}
    if params.DESCRIPTOR.full_name != _STRUCT:
        return typed_values(params)
    values = {}
    for key, value in sorted(params.fields.items()):
        try:
            values[key] = struct_value(value)
        except ValueError as mismatch:
            raise error(key, f"parameter '{key}' {mismatch}") from None
    return values


def _shortest(value: float) -> float:
    if not math.isfinite(value):
        return value
    packed = struct.pack("f", value)
    candidates = (float(f"{value:.{digits}g}") for digits in range(6, 10))
    return next((c for c in candidates if struct.pack("f", c) == packed), value)


def _convert(kind: Kind, value: Any) -> Any:
    """Returns `value` as a constructor wants it.

    Raises:
        ValueError: If it is not of the kind.
    """
    names = kind.names
    if isinstance(value, (list, tuple)) and (not names or "list" in names):
        return [_convert(kind.item or ANY, item) for item in value]
    if isinstance(value, dict) and (not names or "dict" in names):
        return {key: _convert(ANY, item) for key, item in value.items()}
    if isinstance(value, str) and names and "str" not in names:
        value = _number_of(value)
    if isinstance(value, str) and (not names or "str" in names):
        if kind.choices and value not in kind.choices:
            raise ValueError(f"is '{value}'{nearest(value, kind.choices)}")
        return value
    if isinstance(value, bool) and (not names or "bool" in names):
        return value
    if value is None and (not names or "none" in names):
        return None
    if names == {"bool"} and value in (0, 1) and not isinstance(value, str):
        return bool(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(kind, value)
    raise ValueError(f"is {_describe(value)}, expected {_expected(kind)}")


def _number_of(text: str) -> str | float:
    """Returns the number that a text is, as EasyRec reads it where a number is due, else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _number(kind: Kind, value: float) -> float:
    names = kind.names
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"is {value}, expected a finite number")
    if not names or "int" in names:
        if isinstance(value, int) or (value.is_integer() and abs(value) <= _MAX_EXACT):
            return int(value)
        if names and "float" not in names and value.is_integer():
            raise ValueError(f"is {value:.0f}, which a number_value cannot hold exactly")
    if not names or "float" in names:
        return float(value)
    raise ValueError(f"is {value:g}, expected {_expected(kind)}")


def _describe(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:g}"
    if isinstance(value, str):
        return f"the string '{value}'"
    return "a list" if isinstance(value, list) else "a message" if isinstance(value, dict) else "null"


def _expected(kind: Kind) -> str:
    words = {
        "int": "an integer",
        "float": "a number",
        "bool": "true or false (bool_value)",
        "str": "a string",
        "dict": "a message",
        "none": "null",
    }
    parts = [words[name] for name in words if name in kind.names]
    if "list" in kind.names:
        parts.append(f"a list of items that are each {_expected(kind.item)}" if kind.item else "a list")
    return " or ".join(parts) or "any value"
