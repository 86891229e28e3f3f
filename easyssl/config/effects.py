"""Finds the fields of a config that this program accepts without acting on, or cannot act on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import EnumValueDescriptor, FieldDescriptor
from google.protobuf.message import Message

from easyssl.config.messages import option_extension

_NO_EFFECT = option_extension("no_effect")
_REFUSED = option_extension("refused")
_VALUE_NO_EFFECT = option_extension("value_no_effect")
_VALUE_REFUSED = option_extension("value_refused")


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


def find_effects(message: Message, path: str = "") -> Iterator[Finding]:
    """Yields the findings of a message in field order.

    A scalar that is set to its default is no finding, because it asks for nothing. Fields inside of a finding
    are not looked at.
    """
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        finding = _of_field(field, value, name)
        if finding is not None:
            yield finding
        elif field.enum_type is not None:
            yield from _of_enum(field, value, name)
        elif field.message_type is not None and field.message_type.file.package == message_package(message):
            elements = enumerate(value) if field.is_repeated else [(None, value)]
            for index, element in elements:
                yield from find_effects(element, name if index is None else f"{name}[{index}]")


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
