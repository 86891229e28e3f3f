"""The message classes of the config language, made from its descriptor set when this is imported."""

from __future__ import annotations

import pathlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from easyssl.errors import nearest

PACKAGE = "easyssl"
DESCRIPTOR_SET = pathlib.Path(__file__).with_name("easyssl.desc")

_pool = descriptor_pool.Default()
_names: list[str] = []


def _add_files() -> None:
    # These two imports put what our files depend on into the pool.
    assert descriptor_pb2.DESCRIPTOR and struct_pb2.DESCRIPTOR
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes()).file:
        if not _is_known(file.name):
            _pool.AddSerializedFile(file.SerializeToString())
        _names.extend(message.name for message in file.message_type)


def _is_known(file_name: str) -> bool:
    """Returns whether the pool has a file already, because this module was imported under two names."""
    try:
        _pool.FindFileByName(file_name)
    except KeyError:
        return False
    return True


def message_class(name: str) -> type[Message]:
    """Returns the class of a message of the config language.

    Args:
        name: Message name as in `protos/`, nested messages with a dot, such as `DatasetConfig.Field`.

    Raises:
        KeyError: If there is no such message; the text offers the nearest name.

    Example:
        >>> message_class("MLP")(hidden_units=[64, 32]).activation
        'relu'
    """
    try:
        return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
    except KeyError:
        raise KeyError(f"no message is called '{name}'{nearest(name, _names)}") from None


def message_names() -> list[str]:
    """Returns the names of all top-level messages, sorted."""
    return sorted(_names)


def short_name(descriptor: Descriptor) -> str:
    """Returns a message or enum name without the package, as `message_class` takes it."""
    return descriptor.full_name.removeprefix(f"{PACKAGE}.")


def option_extension(name: str) -> object:
    """Returns the extension of a field or enum value option of ours, such as `no_effect`."""
    return _pool.FindExtensionByName(f"{PACKAGE}.{name}")


_add_files()

PipelineConfig = message_class("PipelineConfig")
