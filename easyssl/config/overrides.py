"""Command-line overrides of config fields: `path.to.field=value`.

    train_config.num_steps=10
    train_config.optimizer_config[0].adam_optimizer.beta1=0.8
    feature_config.features[name=cate_id].embedding_dim=32
    model_config.backbone.blocks[name=contrastive].keras_layer.st_params.temperature=0.2
    model_config.backbone.top_mlp.hidden_units=[64,32]
    data_config.label_fields[+]=buy
    eval_config.metrics_set[+]={auc {}}

A path goes through messages with dots and into lists with a zero-based index, with `[field=value]` for the
one element that has this value, or with `[+]` for a new last element. `[name=...]` compares what identifies
an element, see `identity`. A value is what the text format allows; quotes around a string are optional. A
list takes `[a, b]` and is replaced as a whole, as is a message by `{...}`. The last override wins.
"""

from __future__ import annotations

import re

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from easyssl.config.override_values import (
    parse_json_value,
    parse_list,
    parse_message,
    parse_scalar,
    unquote,
)
from easyssl.config.parse import no_such_field
from easyssl.config.places import Places
from easyssl.errors import ConfigError, nearest

# Fields that tell the elements of a list apart, in order of preference.
_IDENTIFYING = (
    "name",
    "feature_name",
    "group_name",
    "tower_name",
    "input_name",
    "label_name",
    "block_name",
    "feature_group_name",
    "package_name",
    "class_name",
)
_SEGMENT = re.compile(r"(?P<name>\w+)(?:\[(?P<selector>(?:[^\]\"']|\"[^\"]*\"|'[^']*')*)\])?")
_STRUCT = "google.protobuf.Struct"

_Segments = list[tuple[str, str | None]]


def identity(message: Message) -> str:
    """Returns the name that tells a list element from the others, or the empty string.

    It is the first that is set of name, feature_name, group_name, tower_name, input_name, label_name,
    block_name, feature_group_name, package_name and class_name; for a feature without a feature_name the
    first of its input_names.
    """
    fields = message.DESCRIPTOR.fields_by_name
    for name in _IDENTIFYING:
        if name in fields and message.HasField(name):
            return str(getattr(message, name))
    names = getattr(message, "input_names", None)
    return names[0] if names else ""


def apply_override(message: Message, text: str, places: Places | None = None) -> str:
    """Sets one field of a message.

    Args:
        message: Is changed in place.
        text: The override, `path=value`.
        places: Learns that the field was set by the override.

    Returns:
        The canonical path of what was set.

    Raises:
        ConfigError: If the text cannot be read, the path leads nowhere or the value has another type.

    Example:
        >>> from easyssl.config.messages import PipelineConfig
        >>> config = PipelineConfig()
        >>> apply_override(config, "train_config.num_steps=10")
        'train_config.num_steps'
        >>> config.train_config.num_steps
        10
    """
    text = " ".join(text.splitlines())
    source = f"--set {text}"
    try:
        segments, value = _split(text)
        path = _apply(message, segments, value, Places() if places is None else places)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source}: the value is nested too deeply") from None
    if places is not None:
        places.forget(path)
        places.set(path, source)
    return path


def _split(text: str) -> tuple[_Segments, str]:
    """Returns the steps of the path, each a field name and what stands in brackets, and the value."""
    segments: _Segments = []
    at = 0
    while True:
        match = _SEGMENT.match(text, at)
        if match is not None:
            segments.append((match["name"], match["selector"]))
            at = match.end()
            if text[at : at + 1] == "=":
                return segments, text[at + 1 :].strip()
        if match is None or text[at : at + 1] != ".":
            rest = f"'{text[at : at + 20]}'" if text[at:] else "its end"
            raise ValueError(f"expected path.to.field=value, stopped at {rest}")
        at += 1


def _apply(here: Message, segments: _Segments, value: str, places: Places) -> str:
    path = ""
    for position, (name, selector) in enumerate(segments):
        if here.DESCRIPTOR.full_name == _STRUCT:
            return _set_struct(here, path, segments[position:], value)
        field = here.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            raise ValueError(no_such_field(here.DESCRIPTOR, name))
        if selector is not None and not field.is_repeated:
            raise ValueError(f"'{name}' is not a list, so it takes no [{selector}]")
        _forget_replaced(here, field, path, places)
        path = f"{path}.{name}" if path else name
        last = position == len(segments) - 1
        if selector is None and last:
            _set(here, field, value)
        elif selector is None:
            if field.is_repeated:
                count = len(getattr(here, name))
                raise ValueError(f"'{path}' is a list of {count}; write {name}[0] or {name}[name=...]")
            here = _enter(field, getattr(here, name), path)
        else:
            elements = getattr(here, name)
            index = _select(elements, field, selector, path)
            path = f"{path}[{index}]"
            if last:
                _set_element(elements, index, field, value)
            else:
                new = index == len(elements) and field.message_type is not None
                here = _enter(field, elements.add() if new else elements[index : index + 1], path)
    return path


def _forget_replaced(here: Message, field: FieldDescriptor, outer: str, places: Places) -> None:
    """Drops the places of the oneof member that setting `field` replaces."""
    if field.containing_oneof is None:
        return
    member = here.WhichOneof(field.containing_oneof.name)
    if member not in (None, field.name):
        places.forget(f"{outer}.{member}" if outer else member)


def _enter(field: FieldDescriptor, value: object, path: str) -> Message:
    if isinstance(value, list) and field.message_type is not None:
        (value,) = value
    if not isinstance(value, Message):
        raise ValueError(f"'{path}' holds a value, not a message with fields")
    value.SetInParent()
    return value


def _select(elements: list, field: FieldDescriptor, selector: str, path: str) -> int:
    """Returns the index that `[selector]` means; the length of the list means a new element."""
    selector = selector.strip()
    if selector == "+":
        return len(elements)
    if selector.isdecimal():
        if int(selector) >= len(elements):
            raise ValueError(
                f"'{path}' has {len(elements)} elements, so [{selector}] is beyond its end; [+] appends"
            )
        return int(selector)
    key, equals, wanted = (part.strip() for part in selector.partition("="))
    if not equals or field.message_type is None:
        raise ValueError(f"'{path}[{selector}]': expected an index, [+] or [field=value]")
    wanted = unquote(wanted)
    found = [_compared(element, key) for element in elements]
    matches = [index for index, value in enumerate(found) if value == wanted]
    if len(matches) > 1:
        listed = ", ".join(str(index) for index in matches)
        raise ValueError(f"'{path}' has several elements with {key} '{wanted}': {listed}; give the index")
    if not matches:
        hint = nearest(wanted, [value for value in found if value])
        raise ValueError(f"'{path}' has no element with {key} '{wanted}'{hint}")
    return matches[0]


def _compared(element: Message, key: str) -> str:
    """Returns the value of a list element that `[key=...]` is compared with."""
    field = element.DESCRIPTOR.fields_by_name.get(key)
    if key == "name" and (field is None or not element.HasField("name")):
        return identity(element)
    if field is None:
        raise ValueError(no_such_field(element.DESCRIPTOR, key))
    if field.message_type is not None or field.is_repeated:
        raise ValueError(f"'{key}' holds no single value to compare")
    if not element.HasField(key):
        return ""
    held = getattr(element, key)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[held].name
    return str(held).lower() if isinstance(held, bool) else str(held)


def _set(here: Message, field: FieldDescriptor, value: str) -> None:
    if field.is_repeated:
        elements = parse_list(field, value)
        here.ClearField(field.name)
        getattr(here, field.name).extend(elements)
    elif field.message_type is not None:
        new = parse_message(field, value)
        getattr(here, field.name).CopyFrom(new)
        getattr(here, field.name).SetInParent()
    else:
        setattr(here, field.name, parse_scalar(field, value))


def _set_element(elements: list, index: int, field: FieldDescriptor, value: str) -> None:
    if field.message_type is not None:
        new = parse_message(field, value)
        if index == len(elements):
            elements.append(new)
        else:
            elements[index].CopyFrom(new)
    elif index == len(elements):
        elements.append(parse_scalar(field, value))
    else:
        elements[index] = parse_scalar(field, value)


def _set_struct(struct: Message, path: str, segments: _Segments, value: str) -> str:
    """Sets an entry of a `google.protobuf.Struct`, whose keys take the place of field names."""
    for name, selector in segments:
        if selector is not None:
            raise ValueError(f"'{path}.{name}' takes no [{selector}]; set the whole list")
        path = f"{path}.{name}"
    *outer, last = [name for name, _ in segments]
    for key in outer:
        entry = struct.fields[key]
        if entry.WhichOneof("kind") not in (None, "struct_value"):
            raise ValueError(f"'{key}' holds a value, not entries of its own")
        struct = entry.struct_value
        struct.SetInParent()
    struct[last] = parse_json_value(value)
    return path
