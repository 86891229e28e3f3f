"""Finds where each field of a text config was set, for error messages.

This reads the same text as the protobuf parser but only as far as places need it: it never fails on a text
that the parser accepts, and what it cannot follow it leaves without a place. It uses no recursion, so that it
can also tell, before the recursive parser runs, that a text is nested too deeply.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from easyssl.config.places import Place, Places

MAX_DEPTH = 64

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\f\v\n]+|\#[^\n]*)
      | (?P<word>[A-Za-z0-9_.+-]+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"{": "}", "<": ">"}


class TooDeepError(ValueError):
    """The text is nested deeper than `MAX_DEPTH`."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"nested deeper than {MAX_DEPTH} levels")
        self.place = place


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


def _tokens(text: str) -> list[_Token]:
    found = ((match.lastgroup, match.group(), match.start()) for match in _TOKEN.finditer(text))
    return [_Token(kind, token, start) for kind, token, start in found if kind and kind != "skip"]


@dataclass
class _Message:
    """An open message; `descriptor` is None inside a field that does not exist."""

    descriptor: Descriptor | None
    path: str
    closing: str
    place: Place
    # Path under which a google.protobuf.Struct's entries are found by key.
    keyed: str | None = None


@dataclass
class _List:
    """An open `[...]` of the repeated field `field`."""

    field: FieldDescriptor | None
    parent: _Message
    name: str


@dataclass
class _Scanner:
    # Offset of the start of each line.
    lines: list[int]
    places: Places = field(default_factory=Places)
    counts: dict[str, int] = field(default_factory=dict)
    chosen: dict[tuple[str, str], str] = field(default_factory=dict)

    def scan(self, text: str, descriptor: Descriptor) -> Places:
        stack: list[_Message | _List] = [_Message(descriptor, "", "", Place(1, 1))]
        tokens = _tokens(text)
        at = 0
        while at < len(tokens):
            token = tokens[at]
            frame = stack[-1]
            if isinstance(frame, _List):
                at = self._in_list(frame, stack, tokens, at)
            elif token.text == frame.closing and len(stack) > 1:
                stack.pop()
                at += 1
            elif token.kind == "word":
                at = self._field(frame, stack, tokens, at)
            else:
                at += 1
            if len(stack) > MAX_DEPTH:
                raise TooDeepError(self._place(token))
        return self.places

    def _place(self, token: _Token) -> Place:
        line = bisect_right(self.lines, token.start)
        return Place(line, token.start - self.lines[line - 1] + 1)

    def _field(self, frame: _Message, stack: list, tokens: list[_Token], at: int) -> int:
        name = tokens[at]
        place = self._place(name)
        described = frame.descriptor.fields_by_name.get(name.text) if frame.descriptor else None
        path = f"{frame.path}.{name.text}" if frame.path else name.text
        if described is not None:
            self._choose(frame, described)
        at += 1
        if at < len(tokens) and tokens[at].text == ":":
            at += 1
        if at == len(tokens):
            return at
        opening = tokens[at]
        if opening.text in _CLOSING:
            stack.append(self._open(frame, described, path, opening.text, place))
            return at + 1
        if opening.text == "[":
            self.places.set(path, place, keep_first=True)
            stack.append(_List(described, frame, path))
            return at + 1
        if described is not None:
            self.places.set(self._element(described, path, place), place)
        if opening.kind not in ("word", "string"):
            return at
        if frame.keyed is not None and name.text == "key" and opening.kind == "string":
            frame.keyed = f"{frame.keyed}.{opening.text[1:-1]}"
            self.places.set(frame.keyed, frame.place)
        return _after_value(tokens, at)

    def _in_list(self, frame: _List, stack: list, tokens: list[_Token], at: int) -> int:
        token = tokens[at]
        place = self._place(token)
        if token.text == "]":
            stack.pop()
        elif token.text in _CLOSING:
            stack.append(self._open(frame.parent, frame.field, frame.name, token.text, place))
        elif token.kind in ("word", "string"):
            element = self._element(frame.field, frame.name, place)
            self.places.set(element, place, keep_first=element == frame.name)
            return _after_value(tokens, at)
        return at + 1

    def _open(
        self, parent: _Message, described: FieldDescriptor | None, path: str, opening: str, place: Place
    ) -> _Message:
        inner = described.message_type if described is not None else None
        element = self._element(described, path, place)
        self.places.set(element, place, keep_first=True)
        keyed = parent.keyed
        if inner is not None and inner.full_name == "google.protobuf.Struct" and keyed is None:
            keyed = element
        elif inner is not None and inner.full_name == "google.protobuf.ListValue":
            keyed = None
        return _Message(inner, element, _CLOSING[opening], place, keyed)

    def _element(self, described: FieldDescriptor | None, path: str, place: Place) -> str:
        """Returns the path of the next element of a repeated field, or the path itself."""
        if described is None or not described.is_repeated:
            return path
        index = self.counts.get(path, 0)
        self.counts[path] = index + 1
        self.places.set(path, place, keep_first=True)
        return f"{path}[{index}]"

    def _choose(self, frame: _Message, described: FieldDescriptor) -> None:
        """Forgets the oneof member that this one replaces."""
        if described.containing_oneof is None:
            return
        key = (frame.path, described.containing_oneof.name)
        before = self.chosen.get(key, described.name)
        if before != described.name:
            gone = f"{frame.path}.{before}" if frame.path else before
            for path in self.places.forget(gone):
                self.counts.pop(path, None)
        self.chosen[key] = described.name


def _after_value(tokens: list[_Token], at: int) -> int:
    """Returns the index after a scalar; adjacent strings are one value."""
    if tokens[at].kind != "string":
        return at + 1
    while at < len(tokens) and tokens[at].kind == "string":
        at += 1
    return at


def token_at(text: str, place: Place) -> str:
    """Returns what stands at a place of a text, shortened, in words where nothing does."""
    rest = text.split("\n")[place.line - 1][place.column - 1 :]
    match = _TOKEN.match(rest)
    found = match.group() if match and match.lastgroup != "skip" else ""
    if not found:
        return "the end of the line"
    if not found.isprintable():
        found = ascii(found)
    return found if len(found) <= 40 else found[:40] + "..."


def locate(text: str, descriptor: Descriptor) -> Places:
    """Returns the places of all fields that a text config sets.

    Indices count the elements of a repeated field over the whole text. A scalar that is set twice has the
    last place, a message that is set twice the first. The entries of a `google.protobuf.Struct` are also
    found by key, as in `keras_layer.st_params.temperature`.

    Args:
        text: The config.
        descriptor: Descriptor of the message that the text holds.

    Raises:
        TooDeepError: If messages are nested deeper than `MAX_DEPTH`.
    """
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    return _Scanner(lines).scan(text, descriptor)
