"""The values of command-line overrides: text to scalars, lists and messages of a field's type.

All functions raise `ValueError` with the reason for a text that does not fit.
"""

from __future__ import annotations

import json
import re

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from easyssl.config.locate import locate
from easyssl.config.messages import message_class, short_name
from easyssl.config.parse import expected, explain, no_such_value

_PART = re.compile(r"""(?:[^,"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|["'])+""")


def parse_scalar(field: FieldDescriptor, text: str) -> object:
    """Returns a value of a field, or of one element of a list; strings need no quotes."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return unquote(text)
    if not re.fullmatch(r"[\w.+-]+", text):
        raise ValueError(f"'{field.name}': expected {expected(field)}, found '{text}'")
    parsed = getattr(_holder(field, text), field.name)
    return parsed[0] if field.is_repeated else parsed


def parse_message(field: FieldDescriptor, text: str) -> Message:
    """Returns the message in `{...}`."""
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError(f"'{field.name}' is a message; write {field.name}={{...}} or name a field inside it")
    parsed = getattr(_holder(field, text), field.name)
    return parsed[0] if field.is_repeated else parsed


def parse_list(field: FieldDescriptor, text: str) -> list:
    """Returns the elements in `[a, b]`."""
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(f"'{field.name}' is a list; write [a, b], or {field.name}[+]=value to append")
    if field.message_type is not None:
        return list(getattr(_holder(field, text), field.name))
    return [parse_scalar(field, part.strip()) for part in _PART.findall(text[1:-1]) if part.strip()]


def parse_json_value(text: str) -> object:
    """Returns the JSON value in the text; what is not JSON is a string."""
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, unquote(text))


def unquote(text: str) -> str:
    """Returns a string without its quotes and escapes, if it has quotes."""
    if text[:1] not in ("'", '"'):
        return text
    tokens = text_format.Tokenizer([text])
    try:
        value = tokens.ConsumeString()
    except (text_format.ParseError, ValueError):
        raise ValueError(f"{text} is not a string in quotes") from None
    if not tokens.AtEnd():
        raise ValueError(f"expected nothing after the string, found {tokens.token}")
    return value


def _holder(field: FieldDescriptor, text: str) -> Message:
    """Returns a message in which nothing but the field is set, to the value in `text`."""
    holder = message_class(short_name(field.containing_type))()
    line = f"{field.name}: {text}"
    inside = locate(line, holder.DESCRIPTOR)
    try:
        text_format.Merge(line, holder)
    except text_format.ParseError as error:
        if field.enum_type is not None:
            raise ValueError(no_such_value(field.enum_type, text)) from None
        if field.message_type is None:
            raise ValueError(f"'{field.name}': expected {expected(field)}, found '{text}'") from None
        raise ValueError(explain(error, line, inside, holder)) from None
    if any(set_field.name != field.name for set_field, _ in holder.ListFields()):
        raise ValueError(f"'{field.name}': expected {expected(field)} and nothing after it")
    return holder
