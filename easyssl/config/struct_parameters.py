"""Keys of `st_params` that EasyRec or Keras takes, and that act on nothing here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from easyssl.config.bind import UNREAD, params_field
from easyssl.config.messages import option_extension
from easyssl.registry import KERAS_LAYERS

_WITHOUT_MESSAGE = frozenset({"AuxiliaryLoss", "Cross", "Dropout", "DotInteraction"})
_NO_EFFECT = option_extension("no_effect")

_NAME = "a layer is called like its block"
_OF_COMPONENTS: Mapping[str, str] = MappingProxyType(
    {
        "name": _NAME,
        "dtype": "the component does not read it; train_config.mixed_precision sets precision",
        "trainable": "the component does not read it; train_config.freeze_gradient stops training",
    }
)
_OF_KERAS: Mapping[str, str] = MappingProxyType(
    {
        "name": _NAME,
        **dict.fromkeys(
            ("input_shape", "input_dim", "input_length", "batch_input_shape", "batch_shape", "batch_size"),
            "the block's input has the shape that it has",
        ),
    }
)


def idle_parameters(class_name: str, keras_layer: Any) -> Mapping[str, str]:
    """Returns the keys of `st_params` that a layer is given without effect, with the reason of each.

    A component of EasyRec reads the keys that it knows and passes over others, among them the fields of its
    typed message that it has no use for, and what only a plain Keras layer takes.

    Args:
        class_name: Name of the layer.
        keras_layer: Descriptor of the message `KerasLayer`.

    Returns:
        Empty for a layer that EasyRec has not.
    """
    if class_name == "Embedding":  # here input_dim is the number of rows
        return {name: reason for name, reason in _OF_KERAS.items() if name != "input_dim"}
    if class_name in KERAS_LAYERS:
        return _OF_KERAS
    messages = {field.name: field.message_type for field in keras_layer.oneofs_by_name["params"].fields}
    typed = messages.get(params_field(class_name, messages) or "")
    if typed is None and class_name not in _WITHOUT_MESSAGE:
        return {}
    fields = () if typed is None else typed.fields
    idle = {field.name: field.GetOptions().Extensions[_NO_EFFECT] for field in fields}
    return {name: reason for name, reason in idle.items() if reason} | {
        **UNREAD.get(class_name, {}),
        **_OF_COMPONENTS,
    }
