"""From text format to a message, with every error as one line that starts with its place."""

from __future__ import annotations

import re

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from easyssl.config.locate import TooDeepError, locate, token_at
from easyssl.config.messages import short_name
from easyssl.config.places import Place, Places
from easyssl.errors import ConfigError, nearest

MAX_BYTES = 2 * 1024 * 1024

# The protobuf parser needs time quadratic in a run of backslashes.
_MAX_BACKSLASHES = 256

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
    run = text.find("\\" * (_MAX_BACKSLASHES + 1))
    if run >= 0:
        place = Place(text.count("\n", 0, run) + 1, run - text.rfind("\n", 0, run))
        raise ConfigError(f"{_at(path, place)}: more than {_MAX_BACKSLASHES} backslashes in a row")
    try:
        places = locate(text, message.DESCRIPTOR)
        text_format.Merge(text, message)
    except TooDeepError as error:
        raise ConfigError(f"{_at(path, error.place)}: {error}") from None
    except text_format.ParseError as error:
        place = Place(error.GetLine() or 1, error.GetColumn() or 1)
        raise ConfigError(f"{_at(path, place)}: {explain(error, text, places, message)}") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise ConfigError(f"{path}:1:1: not a valid config: {_one_line(error)}") from None
    return places


def _at(path: str, place: Place) -> str:
    return f"{path}:{place.line}:{place.column}"


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


# How the protobuf parser begins what it says about a value; all else is about punctuation.
_VALUE = re.compile(
    r"Couldn't parse|Value out of range|Expected string|Expected \"true\"|.*codec can't|Enum type"
)


def explain(error: text_format.ParseError, text: str, places: Places, message: Message) -> str:
    """Returns what a parser error means, in the words of the config language.

    Args:
        error: What the protobuf parser raised.
        text: What it read.
        places: Places of the fields in the text.
        message: The message that the text was read into.
    """
    place = Place(error.GetLine() or 1, error.GetColumn() or 1)
    said = re.sub(r"^\d+:\d+ : ('.*': (?=[A-Z']))?", "", _one_line(error))
    unknown = re.search(r'Message type "([\w.]+)" has no field named "(.+?)"', said)
    if unknown:
        return no_such_field(_descriptor(message, unknown[1]), unknown[2])
    found = token_at(text, place)
    path = places.before(place)
    field = _field_at(message.DESCRIPTOR, path)
    prefix = f"{path}: " if path else ""
    if said.startswith('Expected "}"'):
        return f"{prefix}the closing }} is missing"
    if "codec can't" in said:
        return f"{prefix}the string holds an escape that stands for no character"
    if field is not None and _VALUE.match(said):
        if field.enum_type is not None:
            return prefix + no_such_value(field.enum_type, found)
        return f"{prefix}expected {expected(field)}, found {found}"
    if "missing ending quote" in said:
        return f"{prefix}the string that starts here does not end in this line"
    if "does not have extensions" in said:
        return f"{prefix}expected a field name, found ["
    wanted = re.match(r'Expected (".*"|identifier or number)', said)
    if wanted:
        name = wanted[1] if wanted[1].startswith('"') else "a field name"
        return f"{prefix}expected {name}, found {found}"
    return prefix + said[:1].lower() + said[1:]


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
