import pathlib
import runpy
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2, text_format
from google.protobuf.descriptor import FieldDescriptor

from easyssl.config.locate import locate
from easyssl.config.messages import DESCRIPTOR_SET, PipelineConfig, message_class, message_names, short_name

EXPECTED_FIELDS = pathlib.Path(__file__).with_name("expected_fields.txt")

SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


def all_descriptors():
    waiting = [message_class(name).DESCRIPTOR for name in message_names()]
    while waiting:
        descriptor = waiting.pop()
        yield descriptor
        waiting += descriptor.nested_types


DESCRIPTORS = sorted(all_descriptors(), key=lambda descriptor: descriptor.full_name)


def type_of(field):
    name = SCALARS.get(field.type)
    if name is None:
        name = (field.message_type or field.enum_type).full_name
        name = name if name.startswith("google.") else name.rpartition(".")[2]
    return name + "*" * field.is_repeated


def default_of(field):
    if not field.has_default_value or field.is_repeated:
        return None
    if field.enum_type is not None:
        return field.enum_type.values_by_number[field.default_value].name
    return field.default_value


def read_default(text, field):
    if text == "-":
        return None
    if field.type == FieldDescriptor.TYPE_STRING:
        # An empty string is what an unset string reads as.
        return text.strip("'").encode().decode("unicode_escape") or None
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "false": False}[text]
    return text if field.enum_type is not None else float(text)


@pytest.mark.parametrize("line", EXPECTED_FIELDS.read_text().splitlines()[2:])
def test_field_has_the_name_type_and_default_of_the_format(line):
    path, type_name, default = line.split(" ", 2)
    message, _, name = path.rpartition(".")
    field = message_class(message).DESCRIPTOR.fields_by_name[name]
    assert type_of(field).rpartition(".")[2] == type_name.rpartition(".")[2]
    expected = read_default(default, field)
    if isinstance(expected, float):
        assert default_of(field) == pytest.approx(expected, rel=1e-6)
    else:
        assert default_of(field) == expected


def test_descriptor_set_is_what_the_protos_compile_to(root):
    pytest.importorskip("grpc_tools")
    compiled = runpy.run_path(str(root / "protos" / "build.py"))["compile_protos"]()
    shipped = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes())
    fresh = descriptor_pb2.FileDescriptorSet.FromString(compiled)
    assert [file.name for file in shipped.file] == [file.name for file in fresh.file]
    assert shipped == fresh, "run python protos/build.py"


def test_nothing_is_required():
    required = [field.full_name for d in DESCRIPTORS for field in d.fields if field.is_required]
    assert required == []


def filled(descriptor, members):
    """Returns a message in which every field is set, of each oneof the member in `members`."""
    message = message_class(short_name(descriptor))()
    for number, field in enumerate(descriptor.fields, start=1):
        oneof = field.containing_oneof
        if oneof is not None and members[oneof.name] != field.name:
            continue
        if field.message_type is not None:
            target = getattr(message, field.name)
            target.add() if field.is_repeated else target.SetInParent()
            if field.is_repeated:
                target.add()
            continue
        value = sample_value(field, number)
        if field.is_repeated:
            getattr(message, field.name).extend([value, value])
        else:
            setattr(message, field.name, value)
    return message


def sample_value(field, number):
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_STRING:
        return f'it\'s "{number}" # {{é\t'
    if field.type == FieldDescriptor.TYPE_BOOL:
        return not field.default_value
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return number + 0.5
    return number + 1000


def variants(descriptor):
    oneofs = descriptor.oneofs
    count = max((len(oneof.fields) for oneof in oneofs), default=1)
    for index in range(count):
        yield {oneof.name: oneof.fields[index % len(oneof.fields)].name for oneof in oneofs}


@pytest.mark.parametrize("descriptor", DESCRIPTORS, ids=lambda d: short_name(d))
@pytest.mark.parametrize("one_line", [False, True])
def test_text_that_sets_every_field_reads_back_equal_and_has_places(descriptor, one_line):
    covered = set()
    for members in variants(descriptor):
        message = filled(descriptor, members)
        text = text_format.MessageToString(message, as_one_line=one_line)
        read = type(message)()
        text_format.Merge(text, read)
        assert read == message
        places = locate(text, descriptor).known
        for field, value in message.ListFields():
            covered.add(field.name)
            paths = [f"{field.name}[{i}]" for i in range(len(value))] if field.is_repeated else [field.name]
            for path in paths:
                place = places[path]
                assert text.split("\n")[place.line - 1][place.column - 1 :].startswith(field.name)
    assert covered == {field.name for field in descriptor.fields}


def test_every_message_is_reachable_from_the_top():
    seen, waiting = set(), [PipelineConfig.DESCRIPTOR]
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name not in seen:
            seen.add(descriptor.full_name)
            waiting += [field.message_type for field in descriptor.fields if field.message_type]
    assert {descriptor.full_name for descriptor in DESCRIPTORS} <= seen


def test_unknown_message_name_offers_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'BSTEncoder'"):
        message_class("BSTEncodr")


def test_importing_the_config_needs_neither_tensorflow_nor_protoc(root):
    code = (
        "import sys, easyssl.config\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(loaded & {'tensorflow', 'keras', 'tf_keras', 'numpy', 'grpc', 'grpc_tools'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "set()"
