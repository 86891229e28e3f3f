"""Makes `docs/config-reference.md` from the comments in `protos/`.

    python docs/make_config_reference.py

The page is kept in the repository; a test compares it with what this program makes.
"""

from __future__ import annotations

import pathlib
import runpy
import sys
from collections.abc import Iterator

from google.protobuf import descriptor_pb2

from easyssl.config.messages import PACKAGE, option_extension

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "config-reference.md"

# The order in which a reader meets the files; fixed models and infrastructure come last.
FILES = (
    "pipeline",
    "data",
    "feature",
    "model",
    "backbone",
    "components",
    "loss",
    "next_item",
    "tower",
    "train",
    "optimizer",
    "eval",
    "export",
    "legacy_models",
    "infra",
)

INTRO = """# Config reference

<!-- Made by docs/make_config_reference.py from the comments in protos/. Change those, then run it again. -->

A config is one [PipelineConfig](#pipelineconfig) in protobuf text format (`name: value`, `message { ... }`,
`#` comments), or in protobuf JSON if the file name ends in `.json`. A scalar that is given twice takes its
last value; a second member of a *oneof* replaces the first. Any field can be set on the command line:
`--set train_config.num_steps=10`, `--set 'feature_config.features[name=cate_id].embedding_dim=32'`,
`--set 'data_config.label_fields[+]=buy'`.

In the tables, `list of` marks repeated fields, and a dash in the column of defaults means that the field has
no default of its own: unset, it reads as the type's zero, or nothing. *No effect* marks what is accepted
without acting on anything; a warning names it. *Not supported* marks what would change results but cannot be
done: the config can be read, but nothing is built, read or trained with it.
"""

_TYPES = {
    descriptor_pb2.FieldDescriptorProto.TYPE_STRING: "string",
    descriptor_pb2.FieldDescriptorProto.TYPE_BOOL: "bool",
    descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT: "float",
    descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE: "double",
    descriptor_pb2.FieldDescriptorProto.TYPE_INT32: "int32",
    descriptor_pb2.FieldDescriptorProto.TYPE_INT64: "int64",
    descriptor_pb2.FieldDescriptorProto.TYPE_UINT32: "uint32",
    descriptor_pb2.FieldDescriptorProto.TYPE_UINT64: "uint64",
}

# Field numbers inside FileDescriptorProto, DescriptorProto and EnumDescriptorProto, as source paths use them.
_FILE_MESSAGE, _FILE_ENUM = 4, 5
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
_ENUM_VALUE = 2
_FILE_SYNTAX = 12


class Page:
    """The part of the reference that one `.proto` file makes."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self.file = file
        self.comments: dict[tuple[int, ...], str] = {}
        for location in file.source_code_info.location:
            detached = " ".join(location.leading_detached_comments)
            text = location.leading_comments or (detached if tuple(location.path) == (_FILE_SYNTAX,) else "")
            self.comments[tuple(location.path)] = " ".join(text.split())

    def lines(self) -> Iterator[str]:
        """Yields the lines of the section."""
        yield f"## {pathlib.PurePosixPath(self.file.name).name}"
        yield ""
        yield self.comments.get((_FILE_SYNTAX,), "")
        yield ""
        for index, message in enumerate(self.file.message_type):
            yield from self.message(message, message.name, (_FILE_MESSAGE, index))
        for index, enum in enumerate(self.file.enum_type):
            yield from self.enum(enum, enum.name, (_FILE_ENUM, index))

    def message(
        self, message: descriptor_pb2.DescriptorProto, name: str, path: tuple[int, ...]
    ) -> Iterator[str]:
        """Yields the section of a message and of what is nested in it."""
        yield f"### {name}"
        yield ""
        yield self.comments[path]
        yield ""
        if message.field:
            yield "| field | type | default | meaning |"
            yield "| --- | --- | --- | --- |"
            for index, field in enumerate(message.field):
                meaning = self.comments[(*path, _MESSAGE_FIELD, index)] + _effect(field.options, "")
                if field.HasField("oneof_index"):
                    meaning = f"*oneof {message.oneof_decl[field.oneof_index].name}*: {meaning}"
                cells = (f"`{field.name}`", _type(field), _default(field), _escaped(meaning))
                yield "| " + " | ".join(cells) + " |"
            yield ""
        for index, nested in enumerate(message.nested_type):
            yield from self.message(nested, f"{name}.{nested.name}", (*path, _MESSAGE_NESTED, index))
        for index, enum in enumerate(message.enum_type):
            yield from self.enum(enum, f"{name}.{enum.name}", (*path, _MESSAGE_ENUM, index))

    def enum(
        self, enum: descriptor_pb2.EnumDescriptorProto, name: str, path: tuple[int, ...]
    ) -> Iterator[str]:
        """Yields the section of an enum."""
        yield f"### {name}"
        yield ""
        yield self.comments[path]
        yield ""
        yield "| value | number | meaning |"
        yield "| --- | --- | --- |"
        for index, value in enumerate(enum.value):
            meaning = self.comments[(*path, _ENUM_VALUE, index)] + _effect(value.options, "value_")
            yield f"| `{value.name}` | {value.number} | {_escaped(meaning)} |"
        yield ""


def _effect(options: object, prefix: str) -> str:
    extensions = options.Extensions  # type: ignore[attr-defined]
    refused = extensions[option_extension(f"{prefix}refused")]
    if refused:
        return f" *Not supported*: {refused}."
    ignored = extensions[option_extension(f"{prefix}no_effect")]
    return f" *No effect*: {ignored}." if ignored else ""


def _type(field: descriptor_pb2.FieldDescriptorProto) -> str:
    name = _TYPES.get(field.type)
    if name is None:
        name = field.type_name.removeprefix(f".{PACKAGE}.").removeprefix(".")
        if field.type_name.startswith(f".{PACKAGE}."):
            name = f"[{name}](#{name.lower().replace('.', '')})"
    return f"list of {name}" if field.label == field.LABEL_REPEATED else name


def _default(field: descriptor_pb2.FieldDescriptorProto) -> str:
    if not field.HasField("default_value"):
        return "–"
    text = field.default_value
    if field.type == field.TYPE_STRING:
        # A control character, such as the default separator \001, is written as an escape.
        text = '"' + text.encode("unicode_escape").decode() + '"'
    return f"`{_escaped(text)}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def make() -> str:
    """Returns the page."""
    compiled = runpy.run_path(str(ROOT / "protos" / "build.py"))["compile_protos"](with_comments=True)
    files = {
        pathlib.PurePosixPath(file.name).stem: file
        for file in descriptor_pb2.FileDescriptorSet.FromString(compiled).file
    }
    missing = set(files) - {*FILES, "options"}
    if missing:
        raise ValueError(f"add {sorted(missing)} to FILES")
    lines = [line.rstrip() for name in FILES for line in Page(files[name]).lines()]
    return INTRO + "\n" + "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Writes the page and returns the exit code."""
    TARGET.write_text(make(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
