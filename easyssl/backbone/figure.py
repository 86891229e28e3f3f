"""A plan as boxes and arrows, whatever they are drawn with: one panel for the main graph and one a package.

A call of a package is a box of its own in the panel of the caller, so that two calls are two boxes and each
panel is a directed acyclic graph. What the package reads of the main graph has an arrow to each call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from easyssl.backbone import describe
from easyssl.backbone.plan_order import targets
from easyssl.backbone.plan_types import MAIN, BlockPlan, GraphPlan, InputPlan, Plan

_WIDTH = 44


@dataclass(frozen=True)
class Box:
    """A node: two lines of text, and what it stands for.

    `kind` is `"input"`, `"layer"`, `"plain"` (lambda or identity), `"loss"`, `"call"` (of a package),
    `"outside"` (a value from another graph) or `"output"`.
    """

    title: str
    subtitle: str
    kind: str


@dataclass(frozen=True)
class Arrow:
    """An edge between the boxes of two indices; dotted if the value is dropped."""

    source: int
    target: int
    label: str = ""
    dotted: bool = False


@dataclass
class Panel:
    """One graph; arrows lead to boxes with higher indices only."""

    title: str
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)

    def add(self, title: str, subtitle: str, kind: str) -> int:
        """Adds a box and returns its index."""
        self.boxes.append(Box(describe.shorten(title, _WIDTH), describe.shorten(subtitle, _WIDTH), kind))
        return len(self.boxes) - 1

    def connect(self, source: int, target: int, label: str = "", dotted: bool = False) -> None:
        """Adds an arrow."""
        self.arrows.append(Arrow(source, target, describe.shorten(label, _WIDTH), dotted))


def figure(plan: Plan) -> list[Panel]:
    """Returns the panels of a plan: the main graph, then the packages."""
    reads = _main_blocks(plan)
    main = _Drawer(plan.main, "backbone", reads).panel
    if plan.top_mlp is not None:
        output = len(main.boxes) - 1
        main.boxes[output] = Box("top_mlp", describe.shorten(describe.layer(plan.top_mlp), _WIDTH), "layer")
        main.connect(output, main.add("output", "", "output"))
    return [main, *(_Drawer(graph, f"package {name}", reads).panel for name, graph in plan.packages.items())]


def _main_blocks(plan: Plan) -> dict[str, list[str]]:
    """Returns the blocks of the main graph that each package reads, itself or through packages it calls."""
    reads: dict[str, list[str]] = {}
    for package, graph in plan.packages.items():
        nodes = [node for block in graph.blocks for source in block.inputs for node in targets(source)]
        found: dict[str, None] = {}
        for home, name in nodes:
            found |= dict.fromkeys(reads[home] if name is None else [name] if home == MAIN else [])
        reads[package] = list(found)
    return reads


class _Drawer:
    def __init__(self, graph: GraphPlan, title: str, reads: Mapping[str, list[str]]) -> None:
        self.panel = Panel(title)
        self._scope = graph.name
        self._reads = reads
        self._indices: dict[tuple[str, str], int] = {}
        for block in graph.blocks:
            self._draw(block)
        output = self.panel.add("output", "a list" if graph.output_as_list else "", "output")
        for name in graph.outputs:
            self.panel.connect(self._indices[graph.name, name], output)

    def _draw(self, block: BlockPlan) -> None:
        starts = [self._source(source) for source in block.inputs]
        index = self.panel.add(block.name, describe.block(block), _kind(block))
        self._indices[self._scope, block.name] = index
        for source, start in zip(block.inputs, starts, strict=True):
            self.panel.connect(start, index, describe.mapping(source), source.ignore)

    def _source(self, source: InputPlan) -> int:
        """Returns the box of what an input reads, which is drawn if it is not there yet."""
        if source.kind == "block":
            return self._block(source.scope, source.name)
        if source.kind == "package_input":
            return self._outside("package input", "from the caller")
        if source.kind == "target_item":
            return self._outside("target item", "while training")
        reset = source.reset_input
        subtitle = "call" if reset is None else f"call, reset to {describe.input_layer(reset)}"
        given = None
        if source.package_input_kind == "block":
            given = self._block(source.package_input_scope, source.package_input or "")
        elif source.package_input_kind == "package":
            given = self._call(source.package_input or "", "call")
        index = self._call(source.name, subtitle)
        if given is not None:
            fn = source.package_input_fn
            self.panel.connect(given, index, "" if fn is None else describe.body(fn))
        return index

    def _call(self, package: str, subtitle: str) -> int:
        starts = [self._block(MAIN, name) for name in self._reads[package]]
        index = self.panel.add(f"{package}()", subtitle, "call")
        for start in starts:
            self.panel.connect(start, index)
        return index

    def _block(self, scope: str, name: str) -> int:
        if scope == self._scope:
            return self._indices[scope, name]
        return self._outside(name, "of the main graph" if scope == MAIN else f"of {scope}")

    def _outside(self, title: str, subtitle: str) -> int:
        key = (f"outside {subtitle}", title)
        if key not in self._indices:
            self._indices[key] = self.panel.add(title, subtitle, "outside")
        return self._indices[key]


def _kind(block: BlockPlan) -> str:
    if block.group is not None:
        return "input"
    if block.reports_loss:
        return "loss"
    return "layer" if any(layer.class_name for layer in block.layers) else "plain"
