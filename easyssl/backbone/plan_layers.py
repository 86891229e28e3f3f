"""The layers of blocks: classes resolved, parameters bound, expressions parsed."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, cast

from easyssl import registry
from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import LayerPlan
from easyssl.config.bind import (
    STRUCT_DEFAULTS,
    UNREAD,
    Signature,
    bind,
    not_supported,
    params_field,
    signature_of,
    static_catalogue,
)
from easyssl.config.struct_parameters import idle_parameters
from easyssl.errors import nearest

_MAX_INSTANCES = 1000


def known_layers() -> Mapping[str, Signature | None]:
    """Returns what each `class_name` accepts; None for layers of Keras itself, which are not read here."""
    ours = static_catalogue()
    known: dict[str, Signature | None] = dict.fromkeys(registry.KERAS_LAYERS)
    for name, cls in registry.registered().items():
        if name not in ours:
            known[name] = signature_of(cls)
    return ChainMap(cast(dict[str, "Signature | None"], ours), known)


class LayerReader:
    """Reads layer messages.

    Args:
        reader: For errors and expressions.
        known: Signatures by class name, see `known_layers`.
    """

    def __init__(self, reader: Reader, known: Mapping[str, Signature | None]) -> None:
        self._reader = reader
        self._known = known

    def reports_loss(self, layer: LayerPlan) -> bool:
        """Returns whether a layer adds to the training loss."""
        signature = self._known.get(layer.class_name)
        return signature is not None and signature.reports_loss

    def layer(self, message: Any, kind: str, name: str, path: str) -> LayerPlan:
        """Reads the member `kind` of the oneof `layer` of a block or of one of its layers.

        Args:
            message: The `Block` or `Layer`.
            kind: `"lambda"`, `"keras_layer"`, `"recurrent"` or `"repeat"`.
            name: Name of the layer.
            path: Place of `message`.

        Raises:
            ConfigError: For an unknown class, parameters that its constructor does not take, or an expression
                that is not in the language.
        """
        inner, path = getattr(message, kind), f"{path}.{kind}"
        if kind == "lambda":
            expression = self._reader.expression(inner, "expression", path)
            if expression is None:
                raise self._reader.error(path, "a lambda needs an expression")
            return LayerPlan(kind, name, path, expression=expression)
        if kind == "keras_layer":
            return self._keras_layer(kind, inner, name, path)
        if not inner.HasField("keras_layer"):
            raise self._reader.error(path, f"a {kind} layer needs a keras_layer")
        count = "num_steps" if kind == "recurrent" else "num_repeat"
        if not 1 <= getattr(inner, count) <= _MAX_INSTANCES:
            raise self._reader.error(
                f"{path}.{count}", f"is {getattr(inner, count)}, expected 1 to {_MAX_INSTANCES}"
            )
        rest = self._recurrent(inner) if kind == "recurrent" else self._repeat(inner, path)
        return self._keras_layer(kind, inner.keras_layer, name, f"{path}.keras_layer", **rest)

    def mlp(self, message: Any, name: str, path: str) -> LayerPlan:
        """Reads an `MLP` message that is not inside a `keras_layer`."""
        kwargs = bind(self._known["MLP"], message, self._reader.below(path))
        return LayerPlan("keras_layer", name, path, "MLP", kwargs, params_path=path)

    def _recurrent(self, message: Any) -> dict[str, Any]:
        fixed = message.fixed_input_index if message.HasField("fixed_input_index") else None
        return {"num_steps": message.num_steps, "fixed_input_index": fixed}

    def _repeat(self, message: Any, path: str) -> dict[str, Any]:
        axis = message.output_concat_axis if message.HasField("output_concat_axis") else None
        if message.num_repeat == 1:
            reason = "a single output is not concatenated"
            self._reader.warn_without_effect(message, ["output_concat_axis"], path, reason)
        return {
            "num_repeat": message.num_repeat,
            "output_concat_axis": axis,
            "input_slice": self._reader.subscript(message, "input_slice", path, index=True),
            "input_fn": self._reader.expression(message, "input_fn", path, ("x", "i")),
        }

    def _keras_layer(self, kind: str, message: Any, name: str, path: str, **rest: Any) -> LayerPlan:
        class_name = message.class_name
        if not class_name:
            raise self._reader.error(path, "a keras_layer needs a class_name")
        if class_name not in self._known:
            raise self._reader.error(
                f"{path}.class_name",
                not_supported(class_name)
                or f"no layer is called '{class_name}'{nearest(class_name, self._known)}",
            )
        signature = self._known[class_name]
        field = message.WhichOneof("params")
        if field not in (None, "st_params"):
            self._check_typed(message, class_name, field, path)
        params_path = f"{path}.{field}" if field else path
        params = getattr(message, field) if field else None
        if field == "st_params":
            params = _without(params, idle_parameters(class_name, message.DESCRIPTOR))
        elif field is not None:
            params = self._without_unread(params, class_name, params_path)
        kwargs = bind(signature, params, self._reader.below(params_path))
        if field == "st_params":
            kwargs = {**STRUCT_DEFAULTS.get(class_name, {}), **kwargs}
        bound = signature is not None
        return LayerPlan(kind, name, path, class_name, kwargs, bound, params_path, **rest)

    def _without_unread(self, params: Any, class_name: str, path: str) -> Any:
        """Returns a typed message without the fields that are for another class, and warns of those."""
        read = type(params)()
        read.CopyFrom(params)
        for name, reason in UNREAD.get(class_name, {}).items():
            self._reader.warn_without_effect(params, [name], path, reason)
            read.ClearField(name)
        return read

    def _check_typed(self, message: Any, class_name: str, field: str, path: str) -> None:
        """Refuses the typed message of one class as parameters of another."""
        expected = params_field(class_name, _typed_fields(message))
        if self._known[class_name] is None:
            raise self._reader.error(
                f"{path}.{field}", f"{class_name} is a Keras layer and takes st_params, found '{field}'"
            )
        if expected not in (None, field):
            raise self._reader.error(
                f"{path}.{field}", f"{class_name} takes '{expected}' or st_params, found '{field}'"
            )


def _without(params: Any, idle: Mapping[str, str]) -> Any:
    """Returns a `Struct` without the keys that act on nothing, which `config.effects` warns of."""
    read = type(params)()
    read.CopyFrom(params)
    for key in idle.keys() & set(params.fields):
        del read.fields[key]
    return read


def _typed_fields(message: Any) -> list[str]:
    """Returns the fields of a `KerasLayer` that hold the parameters of one class."""
    fields = message.DESCRIPTOR.oneofs_by_name["params"].fields
    return [field.name for field in fields if field.name != "st_params"]
