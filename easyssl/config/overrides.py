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

import json
import re
from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from easyssl.config.locate import TooDeepError, locate
from easyssl.config.parse import expected, no_such_field, no_such_value
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


@dataclass(frozen=True)
class _Override:
    text: str
    segments: tuple[tuple[str, str | None], ...]
    value: str

    def error(self, reason: str) -> ConfigError:
        return ConfigError(f"--set {self.text}: {reason}")


def _split(text: str) -> _Override:
    segments: list[tuple[str, str | None]] = []
    at = 0
    while True:
        match = _SEGMENT.match(text, at)
        if match is None:
            raise ConfigError(f"--set {text}: expected path.to.field=value, stopped at '{text[at:][:20]}'")
        segments.append((match["name"], match["selector"]))
        at = match.end()
        if at < len(text) and text[at] == "=":
            return _Override(text, tuple(segments), text[at + 1 :].strip())
        if at >= len(text) or text[at] != ".":
            raise ConfigError(f"--set {text}: expected path.to.field=value, stopped at '{text[at:][:20]}'")
        at += 1


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
    override = _split(" ".join(text.splitlines()))
    here, path = message, ""
    for position, (name, selector) in enumerate(override.segments):
        if here.DESCRIPTOR.full_name == _STRUCT:
            return _set_struct(here, path, override, position, places)
        field = here.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            raise override.error(no_such_field(here.DESCRIPTOR, name))
        outer, path = path, f"{path}.{name}" if path else name
        last = position == len(override.segments) - 1
        if selector is not None and not field.is_repeated:
            raise override.error(f"'{path}' is not a list, so it takes no [{selector}]")
        if places is not None:
            _forget_siblings(here, field, outer, places)
        if selector is None and last:
            _set(here, field, override)
            if places is not None:
                places.forget(path)
        elif selector is None:
            if field.is_repeated:
                raise override.error(
                    f"'{path}' is a list of {len(getattr(here, name))}; write {name}[0] or {name}[name=...]"
                )
            here = _enter(getattr(here, name), path, override)
        else:
            index = _select(getattr(here, name), field, selector, path, override)
            path = f"{path}[{index}]"
            if last:
                _set_element(getattr(here, name), index, field, override)
                if places is not None:
                    places.forget(path)
            else:
                here = _enter(_element(getattr(here, name), index, field, path, override), path, override)
    if places is not None:
        places.set(path, f"--set {override.text}")
    return path


def _forget_siblings(here: Message, field: FieldDescriptor, outer: str, places: Places) -> None:
    """Drops the places of the oneof member that setting `field` replaces."""
    if field.containing_oneof is None:
        return
    member = here.WhichOneof(field.containing_oneof.name)
    if member not in (None, field.name):
        places.forget(f"{outer}.{member}" if outer else member)


def _enter(value: object, path: str, override: _Override) -> Message:
    if not isinstance(value, Message):
        raise override.error(f"'{path}' holds a value, not a message with fields")
    value.SetInParent()
    return value


def _element(values: list, index: int, field: FieldDescriptor, path: str, override: _Override) -> object:
    if field.message_type is None:
        raise override.error(f"'{path}' holds a value, not a message with fields")
    return values.add() if index == len(values) else values[index]  # type: ignore[attr-defined]


def _select(values: list, field: FieldDescriptor, selector: str, path: str, override: _Override) -> int:
    """Returns the index that `[selector]` means; the length of the list means a new element."""
    selector = selector.strip()
    if selector == "+":
        return len(values)
    if selector.isdecimal():
        if int(selector) >= len(values):
            raise override.error(
                f"'{path}' has {len(values)} elements, so [{selector}] is beyond its end; [+] appends"
            )
        return int(selector)
    key, equals, wanted = (part.strip() for part in selector.partition("="))
    if not equals or field.message_type is None:
        raise override.error(f"'{path}[{selector}]': expected an index, [+] or [field=value]")
    wanted = _unquote(wanted, override)
    found = [_selected_value(value, key, override) for value in values]
    matches = [index for index, value in enumerate(found) if value == wanted]
    if len(matches) > 1:
        listed = ", ".join(str(index) for index in matches)
        raise override.error(f"'{path}' has several elements with {key} '{wanted}': {listed}; give the index")
    if not matches:
        raise override.error(
            f"'{path}' has no element with {key} '{wanted}'{nearest(wanted, filter(None, found))}"
        )
    return matches[0]


def _selected_value(value: Message, key: str, override: _Override) -> str:
    field = value.DESCRIPTOR.fields_by_name.get(key)
    if key == "name" and (field is None or not value.HasField("name")):
        return identity(value)
    if field is None:
        raise override.error(no_such_field(value.DESCRIPTOR, key))
    if field.message_type is not None or field.is_repeated:
        raise override.error(f"'{key}' holds no single value to compare")
    if not value.HasField(key):
        return ""
    if field.enum_type is not None:
        return field.enum_type.values_by_number[getattr(value, key)].name
    held = getattr(value, key)
    return str(held).lower() if isinstance(held, bool) else str(held)


def _set(here: Message, field: FieldDescriptor, override: _Override) -> None:
    if field.is_repeated:
        new = _parse_list(field, override)
        here.ClearField(field.name)
        getattr(here, field.name).extend(new)
    elif field.message_type is not None:
        new_message = _parse_message(field, override.value, override)
        getattr(here, field.name).CopyFrom(new_message)
    else:
        setattr(here, field.name, _parse_scalar(field, override.value, override))


def _set_element(values: list, index: int, field: FieldDescriptor, override: _Override) -> None:
    if field.message_type is not None:
        new = _parse_message(field, override.value, override)
        target = values.add() if index == len(values) else values[index]  # type: ignore[attr-defined]
        target.CopyFrom(new)
    else:
        scalar = _parse_scalar(field, override.value, override)
        if index == len(values):
            values.append(scalar)
        else:
            values[index] = scalar


def _parse_list(field: FieldDescriptor, override: _Override) -> list:
    text = override.value
    if not (text.startswith("[") and text.endswith("]")):
        raise override.error(f"'{field.name}' is a list; write [a, b], or {field.name}[+]=value to append")
    if field.message_type is not None:
        return list(getattr(_parse_field(field, text, override), field.name))
    return [_parse_scalar(field, part, override) for part in _split_list(text[1:-1])]


def _split_list(text: str) -> list[str]:
    """Splits at the commas outside of quotes."""
    if not text.strip():
        return []
    parts = re.findall(r"""((?:[^,"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|["'])*)(?:,|$)""", text)
    if text.strip() and not text.rstrip().endswith(","):
        parts = parts[:-1] if parts and parts[-1] == "" else parts
    return [part.strip() for part in parts]


def _parse_message(field: FieldDescriptor, text: str, override: _Override) -> Message:
    if not (text.startswith("{") and text.endswith("}")):
        raise override.error(
            f"'{field.name}' is a message; write {field.name}={{...}} or name a field inside it"
        )
    parsed = getattr(_parse_field(field, text, override), field.name)
    return parsed[0] if field.is_repeated else parsed


def _parse_scalar(field: FieldDescriptor, text: str, override: _Override) -> object:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _unquote(text, override)
    if not re.fullmatch(r"[\w.+-]+", text):
        raise override.error(f"'{field.name}': expected {expected(field)}, found '{text}'")
    parsed = getattr(_parse_field(field, text, override), field.name)
    return parsed[0] if field.is_repeated else parsed


def _parse_field(field: FieldDescriptor, text: str, override: _Override) -> Message:
    """Returns a message of the field's type in which only the field is set, to the value in `text`."""
    from easyssl.config.messages import message_class, short_name

    holder = message_class(short_name(field.containing_type))()
    line = f"{field.name}: {text}"
    try:
        locate(line, holder.DESCRIPTOR)
        text_format.Merge(line, holder)
    except TooDeepError as error:
        raise override.error(str(error)) from None
    except (text_format.ParseError, ValueError) as error:
        if field.enum_type is not None:
            raise override.error(no_such_value(field.enum_type, text)) from None
        if field.message_type is None:
            raise override.error(f"'{field.name}': expected {expected(field)}, found '{text}'") from None
        raise override.error(_message_error(error, holder)) from None
    if [set_field.name for set_field, _ in holder.ListFields()] not in ([field.name], []):
        raise override.error(f"'{field.name}': expected {expected(field)} and nothing after it")
    return holder


def _message_error(error: Exception, holder: Message) -> str:
    text = " ".join(str(error).split())
    unknown = re.search(r'Message type "([\w.]+)" has no field named "(.+?)"', text)
    if unknown:
        pool = holder.DESCRIPTOR.file.pool
        return no_such_field(pool.FindMessageTypeByName(unknown[1]), unknown[2])
    return re.sub(r"^\d+:\d+ : (?:'.*': (?=[A-Z]))?", "", text)


def _unquote(text: str, override: _Override) -> str:
    if text[:1] not in ("'", '"'):
        return text
    try:
        return text_format.Tokenizer([text]).ConsumeString()
    except (text_format.ParseError, ValueError):
        raise override.error(f"{text} is not a string in quotes") from None


def _set_struct(struct: Message, path: str, override: _Override, position: int, places: Places | None) -> str:
    """Sets an entry of a `google.protobuf.Struct`, whose keys take the place of field names."""
    for name, selector in override.segments[position:]:
        if selector is not None:
            raise override.error(f"'{path}.{name}' takes no [{selector}]; set the whole list")
        path = f"{path}.{name}"
    keys = [name for name, _ in override.segments[position:]]
    for key in keys[:-1]:
        if struct.fields[key].WhichOneof("kind") not in (None, "struct_value"):  # type: ignore[attr-defined]
            raise override.error(f"'{key}' holds a value, not entries of its own")
        struct = struct.fields[key].struct_value  # type: ignore[attr-defined]
        struct.SetInParent()
    try:
        value = json.loads(override.value)
    except ValueError:
        lowered = {"True": True, "False": False}
        value = lowered.get(override.value, _unquote(override.value, override))
    except RecursionError:
        raise override.error("the value is nested too deeply") from None
    try:
        struct[keys[-1]] = value  # type: ignore[index]
    except (ValueError, TypeError) as error:
        raise override.error(" ".join(str(error).split())) from None
    if places is not None:
        places.forget(path)
        places.set(path, f"--set {override.text}")
    return path
