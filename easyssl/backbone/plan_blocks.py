"""The blocks of one graph, as declared, and the implicit blocks of its feature groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from easyssl.backbone.plan_groups import check_format, check_plain
from easyssl.backbone.plan_inputs import Names, read_input, read_input_layer
from easyssl.backbone.plan_layers import LayerReader
from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import BlockPlan, EmbeddingLayerPlan, InputLayerPlan, LayerPlan
from easyssl.errors import nearest

_INPUT_KINDS = ("input_layer", "raw_input", "embedding_layer")
_COMBINERS = ("weight", "mean", "sum", "max", "min")


def read_names(reader: Reader, messages: Iterable[Any], path: str, what: str) -> dict[str, str]:
    """Returns the places of named blocks or packages by name.

    Args:
        reader: For errors.
        messages: The `Block` or `BlockPackage` messages.
        path: Place of the field that holds them.
        what: `"block"` or `"package"`.

    Raises:
        ConfigError: For a name that is missing, taken, or has a slash, which separates names in checkpoints.
    """
    places: dict[str, str] = {}
    for index, message in enumerate(messages):
        place = f"{path}[{index}]"
        if not message.name:
            raise reader.error(place, f"a {what} needs a name")
        if "/" in message.name:
            raise reader.error(f"{place}.name", f"the name '{message.name}' must not have a '/'")
        if message.name in places:
            raise reader.error(f"{place}.name", f"there already is a {what} '{message.name}'")
        places[message.name] = place
    return places


class BlockReader:
    """Reads the blocks of graphs.

    Args:
        reader: For errors and expressions.
        layers: Reads their layers.
        names: What the names of inputs may mean.
        features: Feature specs by name.
    """

    def __init__(
        self, reader: Reader, layers: LayerReader, names: Names, features: Mapping[str, Any]
    ) -> None:
        self._reader = reader
        self._layers = layers
        self._names = names
        self._features = features

    def graph(self, messages: Iterable[Any], scope: str, path: str) -> list[BlockPlan]:
        """Returns the blocks of a graph in declaration order.

        Args:
            messages: The `Block` messages.
            scope: The graph's name.
            path: Place of the field that holds them.

        Returns:
            The declared blocks. The implicit block of a feature group precedes the first block that reads it.

        Raises:
            ConfigError: If a block cannot be planned.
        """
        blocks: list[BlockPlan] = []
        declared = self._names.blocks[scope]
        seen: set[str] = set()
        for index, message in enumerate(messages):
            block = self._block(message, scope, f"{path}[{index}]")
            for source in block.inputs:
                wanted = [(source.name, source.scope)] if source.kind == "block" else []
                if source.package_input_kind == "block":
                    wanted.append((source.package_input or "", source.package_input_scope))
                for name, home in wanted:
                    if home == scope and name not in declared and name not in seen:
                        seen.add(name)
                        blocks.append(self._implicit(name, source.path))
            blocks.append(block)
        return blocks

    def check_reset(self, block: BlockPlan, settings: InputLayerPlan, path: str) -> None:
        """Checks that an input block of a package can work with the settings that a call gives it."""
        if block.kind == "input_layer" and block.group is not None:
            check_format(self._reader, self._names.groups[block.group], settings, self._features, path)

    def _implicit(self, group: str, path: str) -> BlockPlan:
        settings = InputLayerPlan()
        check_format(self._reader, self._names.groups[group], settings, self._features, path)
        return BlockPlan(group, path, "input_layer", group=group, input_layer=settings, implicit=True)

    def _block(self, message: Any, scope: str, path: str) -> BlockPlan:
        if not message.inputs:
            raise self._reader.error(path, f"block '{message.name}' needs at least one of inputs")
        kind = message.WhichOneof("layer")
        if kind in _INPUT_KINDS:
            return self._input_block(message, kind, path)
        if message.name in self._names.groups:
            raise self._reader.error(
                f"{path}.name", f"only an input block may be called like the feature group '{message.name}'"
            )
        layers = self._block_layers(message, kind, path)
        return BlockPlan(
            message.name,
            path,
            "layers" if layers else "identity",
            inputs=tuple(
                read_input(self._reader, self._names, source, scope, f"{path}.inputs[{index}]")
                for index, source in enumerate(message.inputs)
            ),
            layers=layers,
            concat_axis=message.input_concat_axis,
            merge_into_list=message.merge_inputs_into_list,
            extra_input_fn=self._reader.expression(message, "extra_input_fn", path),
            reports_loss=any(self._layers.reports_loss(layer) for layer in layers),
        )

    def _block_layers(self, message: Any, kind: str | None, path: str) -> tuple[LayerPlan, ...]:
        if not message.layers:
            return () if kind is None else (self._layers.layer(message, kind, message.name, path),)
        if kind is not None:
            self._reader.warn(f"{path}.{kind}", "has no effect: the block has layers")
        layers = []
        for index, layer in enumerate(message.layers):
            place = f"{path}.layers[{index}]"
            inner = layer.WhichOneof("layer")
            if inner is None:
                raise self._reader.error(
                    place, "a layer is one of keras_layer, lambda, recurrent and repeat; none is set"
                )
            layers.append(self._layers.layer(layer, inner, f"{message.name}_l{index}", place))
        return tuple(layers)

    def _input_block(self, message: Any, kind: str, path: str) -> BlockPlan:
        name, reader = message.name, self._reader
        if message.layers:
            raise reader.error(f"{path}.layers", f"{kind} and layers exclude each other; use two blocks")
        reader.warn_without_effect(
            message, ("extra_input_fn",), path, f"put it on the inputs that read '{name}'"
        )
        reader.warn_without_effect(
            message, ("merge_inputs_into_list", "input_concat_axis"), path, f"{kind} has one input"
        )
        source, place = message.inputs[0], f"{path}.inputs[0]"
        if len(message.inputs) > 1:
            raise reader.error(f"{path}.inputs[1]", f"{kind} takes one input, found {len(message.inputs)}")
        if source.WhichOneof("name") != "feature_group_name":
            raise reader.error(place, f"{kind} needs a feature_group_name")
        group = source.feature_group_name
        if group not in self._names.groups:
            raise reader.error(
                f"{place}.feature_group_name",
                f"there is no feature group '{group}'{nearest(group, self._names.groups)}",
            )
        unused = [f.name for f, _ in source.ListFields() if f.name != "feature_group_name"]
        reader.warn_without_effect(source, unused, place, f"put it on the inputs that read '{name}'")
        settings, embedding = None, None
        if kind != "input_layer":
            check_plain(reader, self._names.groups[group], kind, path)
        if kind == "input_layer":
            place = f"{path}.input_layer"
            settings = read_input_layer(reader, message.input_layer, place)
            check_format(reader, self._names.groups[group], settings, self._features, place)
        elif kind == "embedding_layer":
            embedding = self._embedding(message.embedding_layer, f"{path}.embedding_layer")
        return BlockPlan(name, path, kind, group=group, input_layer=settings, embedding=embedding)

    def _embedding(self, message: Any, path: str) -> EmbeddingLayerPlan:
        if not message.embedding_dim:
            raise self._reader.error(path, "an embedding_layer needs an embedding_dim of at least 1")
        if message.combiner not in _COMBINERS:
            raise self._reader.error(
                f"{path}.combiner",
                f"there is no combiner '{message.combiner}'{nearest(message.combiner, _COMBINERS)}",
            )
        return EmbeddingLayerPlan(message.embedding_dim, message.combiner, message.concat)
