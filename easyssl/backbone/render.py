"""Prints a plan: as a table of text, and as a graph in SVG, DOT or Mermaid."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from easyssl.backbone import describe
from easyssl.backbone.figure import Panel, figure
from easyssl.backbone.plan_multi_task import TaskTower
from easyssl.backbone.plan_types import MAIN, GraphPlan, Plan
from easyssl.backbone.svg import svg
from easyssl.errors import UsageError, nearest

_COLUMN = 48
_MERMAID = {"input": "([{}])", "call": "[[{}]]", "output": "(({}))"}
_SHAPES = {"input": "ellipse", "call": "box3d", "output": "circle"}


def table(
    plan: Plan,
    shapes: Mapping[str, Any] | None = None,
    parameters: Mapping[str, int] | None = None,
) -> str:
    """Returns a plan as aligned text: one row for each block, in the order in which they are computed.

    Args:
        plan: The plan.
        shapes: What each block puts out, by `block` or `package/block`; shown as it prints.
        parameters: How many parameters each block has, by the same names; `top_mlp` is `"backbone_top_mlp"`.

    Example:
        >>> print(table(build_plan(config, features)))  # doctest: +SKIP
        backbone
        block  reads  does
        -----  -----  ---------------------------
        user          group user: 2-D
        tower  user   MLP(hidden_units=[64, 32])
        output: tower
    """
    return "\n".join(
        _graph_table(graph, plan, shapes, parameters) for graph in (plan.main, *plan.packages.values())
    )


def towers_table(plan: Plan, towers: Sequence[TaskTower], parameters: Mapping[str, int] | None = None) -> str:
    """Returns the towers of a MultiTaskModel as aligned text, one row for each task.

    Args:
        plan: The plan of the backbone.
        towers: The towers.
        parameters: How many parameters each tower has, by its path.

    Example:
        >>> print(towers_table(plan, towers))  # doctest: +SKIP
        tasks
        tower  reads   does                        label
        -----  ------  --------------------------  -----
        ctr    output  dnn [64], dense 1           clk
        cvr    output  relation_dnn [32], dense 1  buy
               ctr
    """
    rows = [["tower", "reads", "does", "label", *(["parameters"] if parameters is not None else [])]]
    for index, tower in enumerate(towers):
        outputs = plan.main.outputs
        listed = plan.main.output_as_list and plan.top_mlp is None and len(outputs) == len(towers)
        read = [outputs[index] if listed else "output", *(tower.relations if tower.relates else ())]
        steps = [
            f"{layer.name} {list(layer.kwargs['hidden_units'])}"
            for layer in (tower.dnn, tower.relation_dnn)
            if layer is not None
        ]
        does = "\n".join(textwrap.wrap(", ".join([*steps, f"dense {tower.num_class}"]), _COLUMN))
        row = [tower.name, "\n".join(read), does, tower.label]
        rows.append(row if parameters is None else [*row, f"{parameters.get(tower.path, 0):,}"])
    return "\n".join(["tasks", *_aligned(rows), ""])


def graph(plan: Plan, format: str) -> str:
    """Returns a drawing of a plan.

    Args:
        plan: The plan.
        format: `".svg"`, `".dot"` (Graphviz) or `".mmd"` (Mermaid); the ending of a file name will do.

    Raises:
        UsageError: If the format is another.
    """
    ending = "." + format.rpartition(".")[2].lower()
    if ending not in _WRITERS:
        raise UsageError(f"cannot draw a graph as '{format}'{nearest(ending, _WRITERS)}")
    return _WRITERS[ending](figure(plan))


def dot(panels: Sequence[Panel]) -> str:
    """Returns a figure in the language of Graphviz, with a cluster for each panel."""
    lines = ["digraph backbone {", "  node [shape=box style=rounded fontname=Helvetica];"]
    for number, panel in enumerate(panels):
        lines.append(f"  subgraph cluster_{number} {{")
        lines.append(f"    label={_quoted(panel.title)};")
        for index, box in enumerate(panel.boxes):
            label = box.title + (f"\n{box.subtitle}" if box.subtitle else "")
            shape = f" shape={_SHAPES[box.kind]}" if box.kind in _SHAPES else ""
            lines.append(f"    n{number}_{index} [label={_quoted(label)}{shape}];")
        for arrow in panel.arrows:
            style = " style=dotted" if arrow.dotted else ""
            label = f" label={_quoted(arrow.label)}" if arrow.label else ""
            options = f" [{(label + style).strip()}]" if label or style else ""
            lines.append(f"    n{number}_{arrow.source} -> n{number}_{arrow.target}{options};")
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def mermaid(panels: Sequence[Panel]) -> str:
    """Returns a figure in the language of Mermaid, with a subgraph for each panel."""
    lines = ["flowchart TB"]
    for number, panel in enumerate(panels):
        lines.append(f"  subgraph g{number}[{_entities(panel.title)}]")
        for index, box in enumerate(panel.boxes):
            label = _entities(box.title, box.subtitle)
            lines.append(f"    n{number}_{index}{_MERMAID.get(box.kind, '[{}]').format(label)}")
        for arrow in panel.arrows:
            line = "-.->" if arrow.dotted else "-->"
            label = f"|{_entities(arrow.label)}|" if arrow.label else ""
            lines.append(f"    n{number}_{arrow.source} {line}{label} n{number}_{arrow.target}")
        lines.append("  end")
    return "\n".join([*lines, ""])


_WRITERS: Mapping[str, Callable[[Sequence[Panel]], str]] = {".dot": dot, ".mmd": mermaid, ".svg": svg}


def _graph_table(
    graph: GraphPlan, plan: Plan, shapes: Mapping[str, Any] | None, parameters: Mapping[str, int] | None
) -> str:
    header = ["block", "reads", "does"]
    header += ["output"] * (shapes is not None) + ["parameters"] * (parameters is not None)
    rows = [header]

    def add(name: str, key: str, sources: Sequence[str], does: str) -> None:
        row = [name, "\n".join(sources), "\n".join(textwrap.wrap(does, _COLUMN))]
        if shapes is not None:
            row.append(str(shapes.get(key, "")))
        if parameters is not None:
            row.append(f"{parameters[key]:,}" if parameters.get(key) else "")
        rows.append(row)

    for block in graph.blocks:
        sources = [describe.reads(source, graph.name) for source in block.inputs]
        if block.merge_into_list and sources:
            sources = [f"[{sources[0]}", *sources[1:]]
            sources[-1] += "]"
        add(block.name, describe.block_key(graph.name, block.name), sources, describe.block(block))
    title = "backbone" if graph.name == MAIN else f"package {graph.name}"
    outputs = ", ".join(graph.outputs)
    last = f"output: {f'[{outputs}]' if graph.output_as_list else outputs}"
    if graph.name == MAIN and plan.top_mlp is not None:
        add("top_mlp", plan.top_mlp.name, list(graph.outputs), describe.layer(plan.top_mlp))
        last = "output: top_mlp"
    return "\n".join([title, *_aligned(rows), last, ""])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table whose cells may have several lines; numbers go to the right."""
    cells = [[cell.split("\n") for cell in row] for row in rows]
    widths = [max(len(line) for row in cells for line in row[c]) for c in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(cells):
        for i in range(max(len(cell) for cell in row)):
            parts = [cell[i] if i < len(cell) else "" for cell in row]
            right = rows[0][-1] == "parameters"
            aligned = [
                part.rjust(width) if right and column == len(widths) - 1 else part.ljust(width)
                for column, (part, width) in enumerate(zip(parts, widths, strict=True))
            ]
            lines.append("  ".join(aligned).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return lines


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _entities(*lines: str) -> str:
    """Returns lines as one quoted Mermaid text."""
    safe = (
        line.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
        for line in lines
        if line
    )
    return '"' + "<br/>".join(safe) + '"'
