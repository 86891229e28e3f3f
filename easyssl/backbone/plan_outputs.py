"""What comes out of a graph."""

from __future__ import annotations

from typing import Any

from easyssl.backbone.plan_inputs import Names
from easyssl.backbone.plan_order import Dependencies
from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import MAIN, GraphPlan
from easyssl.errors import nearest

# Layers whose output is their loss, which can be no part of a graph's output.
_LOSSES = frozenset({"AuxiliaryLoss"})


def read_outputs(
    reader: Reader, message: Any, scope: str, path: str, dependencies: Dependencies, names: Names
) -> GraphPlan:
    """Returns a graph, with its blocks in order and its outputs.

    The outputs are those that `output_blocks` names, else those of `concat_blocks`, else all blocks that no
    other block of the graph reads.

    Args:
        reader: For errors.
        message: The `BackboneTower` or `BlockPackage`.
        scope: The graph's name.
        path: Place of `message`.
        dependencies: Between blocks.
        names: For errors about names.

    Raises:
        ConfigError: For an output that is no block of the graph, or a graph without blocks or outputs.
    """
    blocks = dependencies.order(scope)
    if not blocks:
        raise reader.error(path, "has no blocks")
    field = "output_blocks" if message.output_blocks else "concat_blocks"
    if message.output_blocks and message.concat_blocks:
        reader.warn(f"{path}.concat_blocks", "has no effect: output_blocks is set")
    outputs = tuple(getattr(message, field))
    known = {block.name for block in blocks}
    for index, name in enumerate(outputs):
        if name not in known:
            place = f"{path}.{field}[{index}]"
            if name in names.packages:
                raise reader.error(place, f"'{name}' is a package; name a block that calls it")
            raise reader.error(place, f"there is no block '{name}'{nearest(name, known)}")
    if not outputs:
        outputs = _leaves(reader, scope, path, dependencies)
    used = dependencies.behind(outputs, scope)
    unused = tuple(block.name for block in blocks if block.name not in used)
    return GraphPlan(scope, path, blocks, outputs, bool(message.output_blocks), unused)


def _leaves(reader: Reader, scope: str, path: str, dependencies: Dependencies) -> tuple[str, ...]:
    outputs = []
    for block in dependencies.leaves(scope):
        if block.layers and block.layers[-1].class_name in _LOSSES:
            reader.warn(block.path, f"block '{block.name}' is a loss and left out of the output")
            continue
        if scope == MAIN and block.name in dependencies.read_by_packages:
            reader.warn(
                block.path,
                f"block '{block.name}' is part of the output, because only packages read it; "
                "list the outputs in concat_blocks or output_blocks to leave it out",
            )
        outputs.append(block.name)
    if not outputs:
        raise reader.error(path, "no block is left for the output; add concat_blocks")
    return tuple(outputs)
