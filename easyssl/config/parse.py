"""From text or JSON to a message, with every error as one line that starts with its place."""

from __future__ import annotations

import json
import re

from google.protobuf import json_format, text_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from easyssl.config.locate import MAX_DEPTH, TooDeepError, locate
from easyssl.config.messages import message_class, short_name
from easyssl.config.places import Place, Places
from easyssl.errors import ConfigError, nearest

MAX_BYTES = 4 * 1024 * 1024

_KINDS = {
    FieldDescriptor.CPPTYPE_STRING: "a string in quotes",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_INT32: "an integer of 32 bits",
    FieldDescriptor.CPPTYPE_INT64: "an integer of 64 bits",
    FieldDescriptor.CPPTYPE_UINT32: "an integer from 0 to 4294967295",
    FieldDescriptor.CPPTYPE_UINT64: "an integer from 0 to 18446744073709551615",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
}


def expected(field: FieldDescriptor) -> str:
    """Returns in words what a value of a field looks like, such as `a number`."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return f"a name of {short_name(field.enum_type)}"
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return "a message in braces { ... }"
    return _KINDS[field.cpp_type]


def no_such_field(descriptor: Descriptor, name: str) -> str:
    """Returns the error text for a field that a message does not have."""
    fields = [field.name for field in descriptor.fields]
    return f"{short_name(descriptor)} has no field '{name}'{nearest(name, fields)}"


def no_such_value(enum: EnumDescriptor, name: str) -> str:
    """Returns the error text for a name that an enum does not have."""
    return f"'{name}' is not a {short_name(enum)}{nearest(name, [value.name for value in enum.values])}"


def parse_text(text: str, path: str, message: Message) -> Places:
    """Merges protobuf text format into a message.

    As in the format's reference implementation, a scalar that is given twice takes its last value, and a
    second member of a oneof replaces the first.

    Args:
        text: The config.
        path: File name for messages.
        message: Takes the fields.

    Returns:
        The place of each field.

    Raises:
        ConfigError: If the text is not valid.
    """
    try:
        places = locate(text, message.DESCRIPTOR)
        text_format.Merge(text, message)
    except TooDeepError as error:
        raise ConfigError(f"{_at(path, error.place)}: {error}") from None
    except text_format.ParseError as error:
        place = Place(error.GetLine() or 1, error.GetColumn() or 1)
        raise ConfigError(f"{_at(path, place)}: {_explain(error, place, places, message)}") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise ConfigError(f"{path}:1:1: not a valid config: {_one_line(error)}") from None
    return places


def parse_json(text: str, path: str, message: Message) -> Places:
    """Merges protobuf JSON into a message; like `parse_text`, but only parts of a place may be known."""
    try:
        json.loads(text)
        json_format.Parse(text, message, max_recursion_depth=MAX_DEPTH)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{_at(path, Place(error.lineno, error.colno))}: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"{path}:1:1: nested deeper than {MAX_DEPTH} levels") from None
    except (json_format.ParseError, ValueError, TypeError, OverflowError) as error:
        raise ConfigError(_explain_json(error, text, path)) from None
    return Places()


def _at(path: str, place: Place) -> str:
    return f"{path}:{place.line}:{place.column}"


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def _explain(error: text_format.ParseError, place: Place, places: Places, message: Message) -> str:
    found = _one_line(error).partition(" : ")[2]
    unknown = re.search(r'Message type "([\w.]+)" has no field named "(.+?)"', found)
    if unknown:
        return no_such_field(_descriptor(message, unknown[1]), unknown[2])
    # What remains concerns a value, or punctuation after it.
    reason = re.sub(r"^'.*': (?=[A-Z])", "", found)
    set_path = places.before(place)
    field = _field_at(message.DESCRIPTOR, set_path)
    if field is None:
        return reason
    enum = re.search(r'Enum type "[\w.]+" has no value (?:named|with number) (.+?)\.?$', reason)
    if enum and field.enum_type is not None:
        return f"{set_path}: {no_such_value(field.enum_type, enum[1])}"
    if re.match(r"Couldn't parse|Value out of range|Expected string|Expected \"true\"|.*not a valid", reason):
        value = re.sub(r"^.*?(?:integer|number|float|range|found|found:):? ", "", reason)
        return f"{set_path}: expected {expected(field)}, found {value}"
    return f"{set_path}: {reason[:1].lower()}{reason[1:]}" if reason else f"{set_path}: cannot be read"


def _descriptor(message: Message, full_name: str) -> Descriptor:
    if full_name == message.DESCRIPTOR.full_name:
        return message.DESCRIPTOR
    return message.DESCRIPTOR.file.pool.FindMessageTypeByName(full_name)


def _field_at(descriptor: Descriptor, path: str) -> FieldDescriptor | None:
    """Returns the field that a canonical path names, or None."""
    field: FieldDescriptor | None = None
    inside: Descriptor | None = descriptor
    for name in re.sub(r"\[\d+\]", "", path).split("."):
        field = inside.fields_by_name.get(name) if inside is not None else None
        if field is None:
            return None
        inside = field.message_type
    return field


def _explain_json(error: Exception, text: str, path: str) -> str:
    reason = _one_line(error)
    unknown = re.search(r'Message type "easyssl\.([\w.]+)" has no field named "(.+?)"', reason)
    if unknown:
        reason = no_such_field(message_class(unknown[1]).DESCRIPTOR, unknown[2])
        name = re.search(rf'"{re.escape(unknown[2])}"\s*:', text)
        if name:
            line = text.count("\n", 0, name.start()) + 1
            column = name.start() - text.rfind("\n", 0, name.start())
            return f"{path}:{line}:{column}: {reason}"
    return f"{path}:1:1: {reason}"
