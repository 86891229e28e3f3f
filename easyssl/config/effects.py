"""Tells the fields of a config that act from those that are accepted without effect or cannot be acted on."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import EnumValueDescriptor, FieldDescriptor
from google.protobuf.message import Message

from easyssl.config.bind import python_value, struct_value
from easyssl.config.messages import option_extension
from easyssl.config.struct_parameters import idle_parameters

_NO_EFFECT = option_extension("no_effect")
_REFUSED = option_extension("refused")
_VALUE_NO_EFFECT = option_extension("value_no_effect")
_VALUE_REFUSED = option_extension("value_refused")
_OPTIMIZERS = "train_config.optimizer_config"
_OF_FIRST = ("use_moving_average", "moving_average_decay", "embedding_learning_rate_multiplier")


@dataclass(frozen=True)
class Finding:
    """A set field that does not do what it says.

    Attributes:
        path: Canonical field path.
        field: Full name of the field or enum value, equal for all findings of one kind.
        reason: Why, or what to use instead.
        refused: Whether it would change results, so that it must not be ignored.
    """

    path: str
    field: str
    reason: str
    refused: bool


def find_effects(message: Message) -> Iterator[Finding]:
    """Yields the findings of a message in field order.

    A scalar that is set to its default is no finding, because it asks for nothing. Fields inside of a finding
    are not looked at.
    """
    for found in walk(message):
        if isinstance(found, Finding):
            yield found


@dataclass(frozen=True)
class Acting:
    """A set field that does what it says.

    Attributes:
        path: Canonical field path.
        value: Its value as text; `{}` for a message without fields, whose presence says something.
    """

    path: str
    value: str


def walk(message: Message, path: str = "") -> Iterator[Finding | Acting]:
    """Yields each set field of a message, in field order, as what it is.

    Args:
        message: The message.
        path: Canonical path of the message.

    Yields:
        Findings, inside of which nothing is looked at, and the scalars and empty messages elsewhere. The
        entries of a `google.protobuf.Struct` are found by key.
    """
    fields = message.ListFields()
    if path and not fields:
        yield Acting(path, "{}")
    names = {field.name for field, _ in fields}
    for field, value in fields:
        name = f"{path}.{field.name}" if path else field.name
        finding = _of_field(field, value, name) or _of_place(field, value, name, names)
        if finding is not None:
            yield finding
            continue
        findings = {} if field.enum_type is None else {f.path: f for f in _of_enum(field, value, name)}
        elements = [(name, value)]
        if field.is_repeated:
            elements = [(f"{name}[{index}]", element) for index, element in enumerate(value)]
        for where, element in elements:
            if where in findings:
                yield findings[where]
            elif field.message_type is None:
                yield Acting(where, _text(field, element))
            elif field.message_type.file.package == message_package(message):
                yield from walk(element, where)
            else:
                class_name = getattr(message, "class_name", "")
                idle = idle_parameters(class_name, message.DESCRIPTOR) if class_name else {}
                for key in sorted(idle.keys() & set(element.fields)):
                    yield Finding(f"{where}.{key}", f"{class_name}.{key}", idle[key], False)
                yield from _entries(element, where, idle)


def _entries(struct: Any, path: str, without: Collection[str] = ()) -> Iterator[Acting]:
    """Yields the entries of a Struct, those of inner ones by all their keys."""
    for key, value in sorted(struct.fields.items()):
        if key in without:
            continue
        if value.WhichOneof("kind") == "struct_value":
            yield from _entries(value.struct_value, f"{path}.{key}")
            continue
        try:
            yield Acting(f"{path}.{key}", json.dumps(struct_value(value), ensure_ascii=False))
        except ValueError:  # it holds nothing; binding it is an error
            yield Acting(f"{path}.{key}", "nothing")


def _text(field: FieldDescriptor, value: object) -> str:
    plain = python_value(field, value)
    return plain if field.enum_type is not None else json.dumps(plain, ensure_ascii=False)


def message_package(message: Message) -> str:
    """Returns the protobuf package of a message."""
    return message.DESCRIPTOR.file.package


def _of_field(field: FieldDescriptor, value: object, path: str) -> Finding | None:
    options = field.GetOptions().Extensions
    reason, refused = options[_NO_EFFECT], options[_REFUSED]
    if not (reason or refused):
        return None
    if not field.is_repeated and field.message_type is None and value == field.default_value:
        return None
    return Finding(path, field.full_name, refused or reason, bool(refused))


def _of_place(field: FieldDescriptor, value: object, path: str, beside: Collection[str]) -> Finding | None:
    """Finds a field that acts, but not where it stands or beside what else is set there."""
    if path == "feature_config" and "feature_configs" in beside:
        return Finding(path, field.full_name, "feature_configs is set, the older place of features", False)
    if field.name in _OF_FIRST and path.startswith(_OPTIMIZERS) and not path.startswith(f"{_OPTIMIZERS}[0]"):
        if value == field.default_value:
            return None
        reason = "it is read from the first optimizer_config, for the whole model"
        return Finding(path, field.full_name, reason, False)
    return None


def _of_enum(field: FieldDescriptor, value: object, path: str) -> Iterator[Finding]:
    numbers = list(value) if field.is_repeated else [value]  # type: ignore[call-overload]
    for index, number in enumerate(numbers):
        described: EnumValueDescriptor = field.enum_type.values_by_number[number]
        options = described.GetOptions().Extensions
        reason, refused = options[_VALUE_NO_EFFECT], options[_VALUE_REFUSED]
        if reason or refused:
            where = f"{path}[{index}]" if field.is_repeated else path
            text = f"{described.name}: {refused or reason}"
            name = f"{field.enum_type.full_name}.{described.name}"
            yield Finding(where, name, text, bool(refused))
