"""Names of the layers of a backbone: each its own, and the same for the same plan."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from easyssl.backbone.plan_types import BlockPlan, InputLayerPlan, LayerPlan, Plan

# TensorFlow takes nothing else into the names of variables and operations.
_REFUSED = re.compile(r"[^A-Za-z0-9_.\-]")


class UniqueNames:
    """Gives names away, each once.

    Args:
        reserved: Names that are given away already.

    Example:
        >>> names = UniqueNames()
        >>> [names.take("item@home"), names.take("item home"), names.take("item home", scope="encoder")]
        ['item_home', 'item_home_2', 'encoder_item_home']
    """

    def __init__(self, reserved: Sequence[str] = ()) -> None:
        self._taken = set(reserved)

    def take(self, wanted: str, scope: str = "", suffixes: Sequence[str] = ("",)) -> str:
        """Returns a free name: the wanted one, else with its package in front, else with a number.

        Args:
            wanted: A name; what cannot be in the name of a variable becomes `_`.
            scope: Name of the package that the layer is in, or `""`.
            suffixes: The name has to be free with each of these at its end, and is taken with each.
        """
        for name in _candidates(_REFUSED.sub("_", wanted), _REFUSED.sub("_", scope)):
            names = {name + suffix for suffix in suffixes}
            if not names & self._taken:
                self._taken |= names
                return name
        raise AssertionError("numbers do not end")


def name_layers(plan: Plan, reserved: Sequence[str] = ()) -> Mapping[tuple[str, str], list[str]]:
    """Names the layers of all blocks.

    Variables are called after their layers, and checkpoints find them by these names. A layer is called like
    its block; what only a package or a second `reset_input` brings gets a longer name if need be.

    Args:
        plan: The plan.
        reserved: Names that are given away already.

    Returns:
        Names by (scope, block): of an input block, its own layer and, if it takes resets, one for each of
        `resets`; of any other, its layers but for each `"lambda"`.
    """
    names = UniqueNames([*reserved, *([plan.top_mlp.name] if plan.top_mlp is not None else [])])
    return {
        (graph.name, block.name): [
            names.take(wanted, graph.name, suffixes) for wanted, suffixes in _wanted(plan, graph.name, block)
        ]
        for graph in (plan.main, *plan.packages.values())
        for block in graph.blocks
    }


def instance_suffixes(layer: LayerPlan) -> list[str]:
    """Returns what the names of a planned layer's instances end with."""
    count = {"recurrent": layer.num_steps, "repeat": layer.num_repeat}.get(layer.kind)
    return [""] if count is None else [f"_{i}" for i in range(count)]


def resets(plan: Plan, package: str) -> list[InputLayerPlan]:
    """Returns each distinct `reset_input` that some caller of a package uses."""
    return list(
        dict.fromkeys(
            given.reset_input
            for graph in plan.graphs
            for block in graph.blocks
            for given in block.inputs
            if given.kind == "package" and given.name == package and given.reset_input is not None
        )
    )


def _wanted(plan: Plan, scope: str, block: BlockPlan) -> Iterator[tuple[str, list[str]]]:
    if block.kind == "input_layer":
        yield block.name, [""]
        for number, _ in enumerate(resets(plan, scope) if block.takes_reset else (), start=1):
            yield f"{block.name}_reset" + (f"_{number}" if number > 1 else ""), [""]
    elif block.kind == "embedding_layer":
        yield block.name, [""]
    for layer in block.layers:
        if layer.kind != "lambda":
            yield layer.name, instance_suffixes(layer)


def _candidates(name: str, scope: str) -> Iterator[str]:
    yield name
    if scope:
        name = f"{scope}_{name}"
        yield name
    for number in itertools.count(2):
        yield f"{name}_{number}"
