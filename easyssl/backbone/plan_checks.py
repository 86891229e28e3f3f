"""Checks of a whole backbone: calls of packages, tuples, wide groups, and what is declared but not used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from easyssl.backbone.plan_blocks import BlockReader
from easyssl.backbone.plan_order import Dependencies, calls
from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import MAIN, BlockPlan, GroupPlan, InputLayerPlan, InputPlan, Plan

_TUPLES = {
    "sequence": "(sequences, lengths, plain features)",
    "2d_and_list": "(tensor, list of features)",
}

Blocks = Mapping[str, Sequence[BlockPlan]]
"""The blocks of each graph by scope."""


def check_calls(reader: Reader, block_reader: BlockReader, blocks: Blocks) -> None:
    """Checks that each call gives its package what it needs.

    Raises:
        ConfigError: If a package reads a package input that a call does not give, or its feature groups do
            not fit the settings that a call gives.
    """
    reads_input = {
        scope: any(source.kind == "package_input" for block in members for source in block.inputs)
        for scope, members in blocks.items()
    }
    for source in _inputs(blocks):
        if source.package_input_kind == "package" and reads_input[source.package_input or ""]:
            raise reader.error(
                f"{source.path}.package_input",
                f"package '{source.package_input}' needs a package input of its own",
            )
        if source.kind != "package":
            continue
        if reads_input[source.name] and source.package_input is None:
            raise reader.error(source.path, f"package '{source.name}' needs a package_input")
        if source.package_input is not None and not reads_input[source.name]:
            reader.warn(
                f"{source.path}.package_input",
                f"has no effect: no block of package '{source.name}' has use_package_input",
            )
        if source.reset_input is not None:
            _check_reset(reader, block_reader, blocks[source.name], source)


def check_target_item(reader: Reader, plan: Plan, dependencies: Dependencies, model: Any) -> None:
    """Checks that what reads the item to be found has one, and gives it to losses only.

    Raises:
        ConfigError: If not.
    """
    behind = dependencies.behind(plan.main.outputs, MAIN)
    for block in plan.main.blocks:
        for source in block.inputs:
            if source.kind != "target_item":
                continue
            path = f"{source.path}.use_target_item"
            if model.model_class != "NextItemModel":
                raise reader.error(path, "is for model_class NextItemModel")
            if model.next_item.targets == model.next_item.HIDDEN_STEPS:
                raise reader.error(path, "there are several with targets HIDDEN_STEPS")
            if block.name in behind:
                raise reader.error(
                    path, f"the output needs '{block.name}', which knows the item that is to be found"
                )


def check_tuples(reader: Reader, blocks: Blocks) -> None:
    """Checks that no tuple of an input layer is merged with other inputs, where it could only be by accident.

    Raises:
        ConfigError: If one is.
    """
    formats = {
        (scope, block.name): block.input_layer.output_format
        for scope, members in blocks.items()
        for block in members
        if block.input_layer is not None
    }
    for members in blocks.values():
        for block in members:
            merged = [source for source in block.inputs if not source.ignore]
            if len(merged) < 2 or block.merge_into_list:
                continue
            for source in merged:
                shape = formats.get((source.scope, source.name)) if source.kind == "block" else None
                if shape in _TUPLES and source.slice is None and source.fn is None:
                    raise reader.error(
                        source.path,
                        f"block '{source.name}' gives a tuple {_TUPLES[shape]}, which cannot be merged; "
                        "choose a part with input_slice: '[0]'",
                    )


def wide_output_dim(reader: Reader, blocks: Blocks, groups: Mapping[str, GroupPlan]) -> int | None:
    """Returns the width of the tables of WIDE groups, or None if no block reads such a group.

    Raises:
        ConfigError: If a block reads a WIDE group and no block sets the width, or two set different ones.
    """
    found: int | None = None
    place = ""
    for settings, path in _settings(blocks):
        width = settings.wide_output_dim
        if width is None:
            continue
        if found not in (None, width):
            raise reader.error(
                f"{path}.wide_output_dim", f"is {width}, but another block says {found}; a model has one"
            )
        found, place = width, path
    wide = [b for members in blocks.values() for b in members if b.group and groups[b.group].wide]
    if wide and found is None:
        raise reader.error(
            wide[0].path,
            f"feature group '{wide[0].group}' is WIDE: an input_layer that reads it needs a wide_output_dim",
        )
    if found is not None and not wide:
        reader.warn(f"{place}.wide_output_dim", "has no effect: no block reads a WIDE feature group")
        return None
    return found


def check_prototypes(reader: Reader, plan: Plan, batch_size: int) -> None:
    """Warns about clusterings with more prototypes than a batch has rows to share out.

    Args:
        reader: Takes the warnings.
        plan: The plan.
        batch_size: Rows of a step.
    """
    for graph in plan.graphs:
        for block in graph.blocks:
            for layer in block.layers:
                number = layer.kwargs.get("num_prototypes", 0)
                if layer.class_name != "SinkhornClustering" or layer.kwargs.get("queue_size", 0):
                    continue
                if number > batch_size:
                    reader.warn(
                        f"{layer.params_path}.num_prototypes",
                        f"is {number}, but a batch has {batch_size} rows (data_config.batch_size), which "
                        "cannot show what an even share of so many is; set a queue_size",
                    )


def check_variational_dropout(reader: Reader, plan: Plan) -> None:
    """Checks that no block reads a group as sequences, whose features variational dropout does not rank.

    Raises:
        ConfigError: At the first such block.
    """
    for graph in plan.graphs:
        for block in graph.blocks:
            if block.input_layer is not None and block.input_layer.output_format == "sequence":
                raise reader.error(
                    block.path,
                    "output_seq_and_normal_feature does not go with model_config.variational_dropout",
                )


def check_used(reader: Reader, plan: Plan, dependencies: Dependencies, places: Mapping[str, str]) -> None:
    """Warns about groups and packages that nothing reads, and blocks that no output and no loss needs."""
    for name, group in plan.groups.items():
        if name not in plan.used_groups:
            reader.warn(group.path, f"no block reads feature group '{name}'")
    called = {name for graph in plan.graphs for block in graph.blocks for name in calls(block)}
    for name in plan.packages:
        if name not in called:
            reader.warn(places[name], f"no block calls package '{name}'")
    with_loss: set[str] = set()
    for graph in plan.graphs:  # packages come after those that they call
        losses = [b.name for b in graph.blocks if b.reports_loss or with_loss & set(calls(b))]
        if losses:
            with_loss.add(graph.name)
        needed = dependencies.behind([*graph.outputs, *losses], graph.name)
        for block in graph.blocks:
            if block.name not in needed and not block.implicit:
                reader.warn(block.path, f"neither an output nor a loss depends on block '{block.name}'")


def _check_reset(
    reader: Reader, block_reader: BlockReader, members: Sequence[BlockPlan], source: InputPlan
) -> None:
    path = f"{source.path}.reset_input"
    layers = [block for block in members if block.takes_reset]
    if not layers:
        others = " but for sequences" if any(block.kind == "input_layer" for block in members) else ""
        reader.warn(path, f"has no effect: package '{source.name}' has no input_layer{others}")
    for block in layers:
        if source.reset_input is not None:
            block_reader.check_reset(block, source.reset_input, path)


def _inputs(blocks: Blocks) -> Iterator[InputPlan]:
    for members in blocks.values():
        for block in members:
            yield from block.inputs


def _settings(blocks: Blocks) -> Iterator[tuple[InputLayerPlan, str]]:
    """Yields the settings of input layers and of calls that replace them, with their places."""
    for members in blocks.values():
        for block in members:
            if block.input_layer is not None:
                yield block.input_layer, f"{block.path}.input_layer"
    for source in _inputs(blocks):
        if source.reset_input is not None:
            yield source.reset_input, f"{source.path}.reset_input"
