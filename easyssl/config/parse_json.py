"""From protobuf JSON to a message, with every error as one line that starts with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from easyssl.config.locate import MAX_DEPTH
from easyssl.config.messages import PACKAGE, message_class, short_name
from easyssl.config.parse import expected, no_such_field, no_such_value
from easyssl.config.places import Place, Places
from easyssl.errors import ConfigError

_TOKEN = re.compile(
    r'(?P<skip>\s+)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<mark>[{}\[\],:])|(?P<word>[^\s{}\[\],:"]+)'
)


def parse_json(text: str, path: str, message: Message) -> Places:
    """Merges protobuf JSON into a message; field names may be written as in the text format or in camel case.

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
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"{path}:1:1: nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:  # an integer of very many digits
        raise ConfigError(f"{path}:1:1: not JSON: {error}") from None
    places = _locate(text, path, message.DESCRIPTOR)
    wrong = next(_mistakes(data, message.DESCRIPTOR, ""), None)
    if wrong is not None:
        raise ConfigError(_line(path, places, *wrong))
    json_format.ParseDict(data, message, max_recursion_depth=2 * MAX_DEPTH)
    return places


def _line(path: str, places: Places, field_path: str, reason: str) -> str:
    place = places.find(field_path)
    at = f"{place.line}:{place.column}" if isinstance(place, Place) else "1:1"
    return f"{path}:{at}: {field_path}: {reason}" if field_path else f"{path}:{at}: {reason}"


def _find(descriptor: Descriptor | None, name: str) -> FieldDescriptor | None:
    if descriptor is None:
        return None
    return descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)


def _mistakes(data: object, descriptor: Descriptor, path: str) -> Iterator[tuple[str, str]]:
    """Yields (field path, reason) for what does not fit the descriptor."""
    if not isinstance(data, dict):
        yield path, f"expected an object {{ ... }}, found {_shown(data)}"
        return
    chosen: dict[str, str] = {}
    for name, value in data.items():
        field = _find(descriptor, name)
        if field is None:
            yield f"{path}.{name}" if path else name, no_such_field(descriptor, name)
            continue
        inside = f"{path}.{field.name}" if path else field.name
        if value is None:
            continue
        if field.containing_oneof is not None:
            other = chosen.setdefault(field.containing_oneof.name, field.name)
            if other != field.name:
                yield inside, f"only one of '{other}' and '{field.name}' can be given"
        if not field.is_repeated:
            yield from _value_mistakes(field, value, inside)
        elif not isinstance(value, list):
            yield inside, f"expected a list [ ... ], found {_shown(value)}"
        elif field.message_type is not None:
            for index, element in enumerate(value):
                yield from _value_mistakes(field, element, f"{inside}[{index}]")
        elif not _fits(field, value):
            first, end = 0, len(value)
            while end - first > 1:
                middle = (first + end) // 2
                first, end = (middle, end) if _fits(field, value[first:middle]) else (first, middle)
            yield f"{inside}[{first}]", _misfit(field, value[first])


def _value_mistakes(field: FieldDescriptor, value: object, path: str) -> Iterator[tuple[str, str]]:
    inner = field.message_type
    if inner is not None and inner.file.package == PACKAGE:
        yield from _mistakes(value, inner, path)
    elif inner is not None and not isinstance(value, dict):
        yield path, f"expected an object {{ ... }}, found {_shown(value)}"
    elif not _fits(field, [value] if field.is_repeated else value):
        yield path, _misfit(field, value)


def _fits(field: FieldDescriptor, value: object) -> bool:
    holder = message_class(short_name(field.containing_type))()
    try:
        json_format.ParseDict({field.name: value}, holder, max_recursion_depth=2 * MAX_DEPTH)
    except (json_format.ParseError, ValueError, TypeError):
        return False
    return True


def _misfit(field: FieldDescriptor, value: object) -> str:
    if field.enum_type is not None and isinstance(value, str):
        return no_such_value(field.enum_type, value)
    return f"expected {expected(field)}, found {_shown(value)}"


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:40] + "..."


def _locate(text: str, path: str, descriptor: Descriptor) -> Places:
    """Returns the places of all fields of a valid JSON text; without recursion.

    Raises:
        ConfigError: If it is nested too deeply or gives a field twice.
    """
    places = Places()
    # Open objects and lists: (descriptor of the messages inside, path, next index of a list or None).
    stack: list[tuple[Descriptor | None, str, int | None]] = []
    pending: tuple[Descriptor | None, str] = (descriptor, "")
    line, line_start = 1, 0
    expect_key = False
    for match in _TOKEN.finditer(text):
        token, kind = match.group(), match.lastgroup
        place = Place(line, match.start() - line_start + 1)
        if "\n" in token:
            line += token.count("\n")
            line_start = match.start() + token.rindex("\n") + 1
        if kind == "skip" or token == ":":
            continue
        if token in "}]":
            stack.pop()
            expect_key = False
        elif token == ",":
            expect_key = stack[-1][2] is None
        elif expect_key and kind == "string":
            outer, prefix, _ = stack[-1]
            name = json.loads(token)
            field = _find(outer, name)
            name = field.name if field is not None else name
            inside = f"{prefix}.{name}" if prefix else name
            if inside in places.known:
                raise ConfigError(f"{path}:{place.line}:{place.column}: {inside}: given twice")
            places.set(inside, place)
            pending = (field.message_type if field is not None else None, inside)
            expect_key = False
        else:
            outer, prefix, index = stack[-1] if stack else (None, "", None)
            if index is not None:
                stack[-1] = (outer, prefix, index + 1)
                pending = (outer, f"{prefix}[{index}]")
                places.set(pending[1], place)
            if token in "{[":
                stack.append((*pending, 0 if token == "[" else None))
                expect_key = token == "{"
                if len(stack) > MAX_DEPTH:
                    raise ConfigError(
                        f"{path}:{place.line}:{place.column}: nested deeper than {MAX_DEPTH} levels"
                    )
    return places
