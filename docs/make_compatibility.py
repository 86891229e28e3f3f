"""Makes `docs/easyrec-compatibility.md` from `easyssl/config/easyssl.desc`.

    python docs/make_compatibility.py

Run it after `python protos/build.py`. The page is kept in the repository; a test compares it with what this
program makes.
"""

from __future__ import annotations

import collections
import functools
import pathlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from easyssl.config.bind import params_field, static_catalogue
from easyssl.config.messages import PACKAGE, PipelineConfig, message_class, message_names, option_extension

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "easyrec-compatibility.md"

ACTS, ACCEPTED, REFUSED = "acts", "accepted", "refused"
STATES = (ACTS, ACCEPTED, REFUSED)

# Numbers from here on are fields that EasyRec has not.
FIRST_OWN_NUMBER = 100

INTRO = """# Compatibility with EasyRec's configs

<!-- Made by docs/make_compatibility.py from protos/. Change those, then run protos/build.py and it again. -->

Every message, field and enum value of EasyRec's text configs is read. What each does here:

- **acts**: it does what it says;
- **accepted**: it acts on nothing here, and results are the same without it; a warning names it;
- **refused**: it would change results, so training, evaluating and exporting with it is an error that names
  its line and what to use instead.

`easyssl convert their.config` says the same of one config, field by field with lines, and exits with 0 only
if nothing that changes results is ignored. What each field means is in [the reference](config-reference.md);
fields that EasyRec has not are left out here. Layers by `class_name` are in
[the catalogue](components.md).

A `class_name` that is no component may be a layer of tf_keras; `easyssl layers` lists them. Left out are
those that run code or read files (`Lambda`), take text, change pictures, or wrap a layer that parameters
cannot describe (`Bidirectional`, `TimeDistributed`, `RNN`).

Keys of `st_params` are arguments of the layer. Keys without effect, such as `name`, and fields of the
typed message that the layer has no use for, are accepted. EasyRec passes over any other key that it does
not know; here such a key is an error with the nearest name, since a typing mistake would change results.
Expressions are of a [closed language](security.md), which holds all that EasyRec's samples and
documentation use.
"""


@dataclass(frozen=True)
class State:
    """What a field or value does, and why it does not act."""

    name: str
    reason: str = ""


def state_of(described: object, prefix: str = "") -> State:
    """Returns the state of a field, or of an enum value with the prefix `value_`."""
    options = described.GetOptions().Extensions  # type: ignore[attr-defined]
    for name, option in ((REFUSED, f"{prefix}refused"), (ACCEPTED, f"{prefix}no_effect")):
        reason = options[option_extension(option)]
        if reason:
            return State(name, reason)
    if getattr(described, "full_name", "") in without_layer():
        return State(REFUSED, "this layer is not supported yet")
    return State(ACTS)


@functools.cache
def without_layer() -> frozenset[str]:
    """Returns the full names of the fields with parameters of layers that there are not."""
    params = message_class("KerasLayer").DESCRIPTOR.oneofs_by_name["params"].fields
    names = [field.name for field in params]
    known = {params_field(layer, names) for layer in static_catalogue()}
    own = ("st_params", "class_name")
    return frozenset(field.full_name for field in params if field.name not in {*known, *own})


def messages() -> list[Descriptor]:
    """Returns all messages, each followed by those that are nested in it, sorted by name."""
    waiting = [message_class(name).DESCRIPTOR for name in message_names()]
    found = []
    while waiting:
        descriptor = waiting.pop()
        found.append(descriptor)
        waiting += descriptor.nested_types
    return sorted(found, key=lambda descriptor: descriptor.full_name.lower())


def best_ways() -> dict[str, State]:
    """Returns, by full name, the best state in which a message or enum can be reached from an EasyRec config.

    A message that can only be set inside of a refused field is refused as a whole, whatever its fields say.
    """
    found = {PipelineConfig.DESCRIPTOR.full_name: State(ACTS)}
    waiting = collections.deque([PipelineConfig.DESCRIPTOR])
    while waiting:
        outer = waiting.popleft()
        for field in fields_of(outer):
            inner = field.message_type or field.enum_type
            if inner is None or inner.file.package != PACKAGE:
                continue
            own = state_of(field)
            way = max(found[outer.full_name], own, key=lambda state: STATES.index(state.name))
            if way is own and own.name != ACTS:
                way = State(own.name, f"as `{outer.name}.{field.name}`")
            known = found.get(inner.full_name)
            if known is None or STATES.index(way.name) < STATES.index(known.name):
                found[inner.full_name] = way
                if isinstance(inner, Descriptor):
                    waiting.append(inner)
    return found


def worse(first: State, second: State) -> State:
    """Returns the state that acts less, the first of two equal ones."""
    return second if STATES.index(second.name) > STATES.index(first.name) else first


def fields_of(message: Descriptor) -> list[FieldDescriptor]:
    """Returns the fields that EasyRec has as well."""
    return [field for field in message.fields if field.number < FIRST_OWN_NUMBER]


class Page:
    """The page's sections and what they count."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.ways = best_ways()

    def message(self, message: Descriptor) -> Iterator[str]:
        """Yields the section of a message; nothing for one that EasyRec has not."""
        way = self.ways.get(message.full_name)
        if way is None or not fields_of(message):
            return
        yield from ("", f"### {short(message)}", "", "| field | here | |", "| --- | --- | --- |")
        for field in fields_of(message):
            yield self.row(field.name, worse(way, state_of(field)))

    def enum(self, enum: EnumDescriptor) -> Iterator[str]:
        """Yields the section of an enum."""
        way = self.ways.get(enum.full_name)
        if way is None:
            return
        yield from ("", f"### {short(enum)}", "", "| value | here | |", "| --- | --- | --- |")
        for value in enum.values:
            yield self.row(value.name, worse(way, state_of(value, "value_")))

    def row(self, name: str, state: State) -> str:
        """Returns a row of a table."""
        self.counts[state.name] += 1
        shown = state.name if state.name == ACTS else f"**{state.name}**"
        return f"| `{name}` | {shown} | {state.reason.replace('|', chr(92) + '|')} |"


def short(described: Descriptor | EnumDescriptor) -> str:
    """Returns a name without the package."""
    return described.full_name.removeprefix(f"{PACKAGE}.")


def enums(of: Iterable[Descriptor]) -> list[EnumDescriptor]:
    """Returns the enums that the fields of messages have, sorted by name."""
    found = {
        field.enum_type.full_name: field.enum_type
        for message in of
        for field in fields_of(message)
        if field.enum_type is not None
    }
    return [found[name] for name in sorted(found, key=str.lower)]


def make() -> str:
    """Returns the page."""
    page = Page()
    every = messages()
    # The whole config comes first.
    every.sort(key=lambda message: message is not PipelineConfig.DESCRIPTOR)
    tables = [line for message in every for line in page.message(message)]
    values = [line for enum in enums(every) for line in page.enum(enum)]
    counts = ", ".join(f"{page.counts[state]} {state}" for state in STATES)
    lines = [f"Fields and values: {counts}.", "", "## Messages", *tables, "", "## Enums", *values]
    return INTRO + "\n" + "\n".join(lines) + "\n"


def main() -> int:
    """Writes the page and returns the exit code."""
    TARGET.write_text(make(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
