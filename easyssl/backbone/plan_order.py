"""Which block reads which: cycles, an order to compute blocks in, and what outputs depend on."""

from __future__ import annotations

import graphlib
import heapq
from collections.abc import Iterable, Mapping, Sequence

from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import MAIN, BlockPlan, InputPlan

Node = tuple[str, str | None]
"""A block as (scope, name), or a package as (package, None)."""


class Dependencies:
    """What the blocks of all graphs read.

    Args:
        reader: For the error about a cycle.
        graphs: Blocks in declaration order, by scope.

    Raises:
        ConfigError: If blocks or packages form a cycle; the text shows it.
    """

    def __init__(self, reader: Reader, graphs: Mapping[str, Sequence[BlockPlan]]) -> None:
        self._graphs = graphs
        self._blocks = {(scope, b.name): b for scope, blocks in graphs.items() for b in blocks}
        self._check_cycles(reader)
        self.package_order = self._order_packages()
        """The packages, each after those that it calls."""
        self._outer: dict[str, set[str]] = {}
        for package in self.package_order:
            self._outer[package] = self._main_blocks_behind(package)
        self.read_by_packages = frozenset().union(*self._outer.values())
        """The blocks of the main graph that packages read."""

    def reads(self, block: BlockPlan, scope: str) -> set[str]:
        """Returns the blocks of the same graph that must be computed before `block`.

        For a block of the main graph this includes the main blocks that the packages it calls read.
        """
        names: set[str] = set()
        for source in block.inputs:
            for home, name in targets(source):
                if name is not None and home == scope:
                    names.add(name)
                elif name is None and scope == MAIN:
                    names |= self._outer[home]
        return names

    def order(self, scope: str) -> tuple[BlockPlan, ...]:
        """Returns the blocks of a graph so that each follows what it reads; else in declaration order."""
        blocks = self._graphs[scope]
        number = {block.name: index for index, block in enumerate(blocks)}
        waiting = {block.name: len(self.reads(block, scope)) for block in blocks}
        readers: dict[str, list[str]] = {name: [] for name in number}
        for block in blocks:
            for name in self.reads(block, scope):
                readers[name].append(block.name)
        ready = [number[name] for name, count in waiting.items() if not count]
        ordered: list[BlockPlan] = []
        while ready:
            block = blocks[heapq.heappop(ready)]
            ordered.append(block)
            for name in readers[block.name]:
                waiting[name] -= 1
                if not waiting[name]:
                    heapq.heappush(ready, number[name])
        return tuple(ordered)

    def behind(self, names: Iterable[str], scope: str) -> set[str]:
        """Returns the blocks of a graph that the named ones depend on, and these themselves."""
        found: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending.extend(self.reads(self._blocks[scope, name], scope))
        return found

    def leaves(self, scope: str) -> list[BlockPlan]:
        """Returns the declared blocks that no block of the same graph reads, whatever packages do."""
        blocks = self._graphs[scope]
        read = {node for block in blocks for source in block.inputs for node in targets(source)}
        return [b for b in blocks if not b.implicit and (scope, b.name) not in read]

    def _next(self, node: Node) -> list[Node]:
        scope, name = node
        if name is None:
            return [(scope, block.name) for block in self._graphs[scope]]
        return [target for source in self._blocks[scope, name].inputs for target in targets(source)]

    def _check_cycles(self, reader: Reader) -> None:
        nodes: list[Node] = [*self._blocks, *((package, None) for package in self._graphs if package != MAIN)]
        try:
            graphlib.TopologicalSorter({node: self._next(node) for node in nodes}).prepare()
        except graphlib.CycleError as error:
            cycle: list[Node] = error.args[1]
            first = next(self._blocks[node] for node in cycle if node in self._blocks)
            shown = " -> ".join(_label(node) for node in cycle)
            raise reader.error(first.path, f"blocks form a cycle: {shown}") from None

    def _order_packages(self) -> tuple[str, ...]:
        called = {
            package: [called for block in blocks for called in calls(block)]
            for package, blocks in self._graphs.items()
            if package != MAIN
        }
        return tuple(graphlib.TopologicalSorter(called).static_order())

    def _main_blocks_behind(self, package: str) -> set[str]:
        """Returns the main blocks that a package reads, itself or through packages that it calls."""
        names: set[str] = set()
        for block in self._graphs[package]:
            for source in block.inputs:
                for home, name in targets(source):
                    if name is None:
                        names |= self._outer[home]
                    elif home == MAIN:
                        names.add(name)
        return names


def targets(source: InputPlan) -> list[Node]:
    """Returns the blocks and packages that an input reads."""
    nodes: list[Node] = []
    if source.kind == "block":
        nodes.append((source.scope, source.name))
    elif source.kind == "package":
        nodes.append((source.name, None))
    if source.package_input_kind == "block":
        nodes.append((source.package_input_scope, source.package_input))
    elif source.package_input_kind == "package":
        nodes.append((source.package_input or "", None))
    return nodes


def calls(block: BlockPlan) -> list[str]:
    """Returns the packages that a block calls."""
    return [scope for source in block.inputs for scope, name in targets(source) if name is None]


def _label(node: Node) -> str:
    scope, name = node
    if name is None:
        return f"package {scope}"
    return name if scope == MAIN else f"{scope}/{name}"
