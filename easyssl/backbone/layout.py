"""A layered layout for small directed acyclic graphs.

Nodes are put into layers by their longest path from a source, crossings are reduced by sorting each layer by
the mean position of its neighbours, and positions are the least-squares fit to the neighbours' under the
order of the layer (Sugiyama, Tagawa and Toda 1981: Methods for visual understanding of hierarchical system
structures).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SWEEPS = 12
_GAP = 28.0
_LINE = 12.0  # room that an arrow takes when it passes a layer


@dataclass(frozen=True)
class Layout:
    """Where everything is.

    Attributes:
        layers: The layer of each node, from 0.
        centers: The horizontal center of each node, from 0 at the left edge of the drawing.
        routes: For each edge, the horizontal positions at which it passes the layers between its ends.
        width: Of the drawing.
    """

    layers: tuple[int, ...]
    centers: tuple[float, ...]
    routes: tuple[tuple[float, ...], ...]
    width: float


def layered(widths: Sequence[float], edges: Sequence[tuple[int, int]]) -> Layout:
    """Lays out nodes in layers from top to bottom.

    Args:
        widths: The width of each node.
        edges: Pairs of node indices, always from a lower to a higher index.

    Returns:
        A layout without overlaps in a layer.
    """
    layers = [0] * len(widths)
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        layers[target] = max(layers[target], layers[source] + 1)
    _pull_down(layers, edges)

    # Every edge becomes a chain of edges between neighbouring layers, through nodes of its own.
    all_widths, all_layers = list(widths), list(layers)
    links: list[tuple[int, int]] = []
    chains: list[list[int]] = []
    for source, target in edges:
        chain = []
        before = source
        for layer in range(layers[source] + 1, layers[target]):
            all_widths.append(_LINE)
            all_layers.append(layer)
            chain.append(len(all_widths) - 1)
            links.append((before, chain[-1]))
            before = chain[-1]
        links.append((before, target))
        chains.append(chain)

    rows = [
        [n for n, layer in enumerate(all_layers) if layer == i] for i in range(max(layers, default=-1) + 1)
    ]
    above: list[list[int]] = [[] for _ in all_widths]
    below: list[list[int]] = [[] for _ in all_widths]
    for source, target in links:
        above[target].append(source)
        below[source].append(target)
    _order(rows, above, below)
    centers = _place(rows, above, below, all_widths)
    left = min((c - w / 2 for c, w in zip(centers, all_widths, strict=True)), default=0.0)
    centers = [center - left for center in centers]
    right = max((c + w / 2 for c, w in zip(centers, all_widths, strict=True)), default=0.0)
    count = len(widths)
    routes = tuple(tuple(centers[n] for n in chain) for chain in chains)
    return Layout(tuple(layers), tuple(centers[:count]), routes, right)


def _pull_down(layers: list[int], edges: Sequence[tuple[int, int]]) -> None:
    """Moves nodes without predecessors next to their first reader, so that their arrows are short."""
    targets = {target for _, target in edges}
    for node in range(len(layers)):
        readers = [layers[target] for source, target in edges if source == node]
        if node not in targets and readers:
            layers[node] = min(readers) - 1


def _order(rows: list[list[int]], above: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> None:
    """Sorts every row by the mean position of the neighbours, keeping the best order seen."""
    best, best_crossings = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        sequence = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        for i in sequence:
            rows[i] = _sorted(rows[i], rows[i - 1] if down else rows[i + 1], neighbours)
        crossings = _crossings(rows, below)
        if crossings < best_crossings:
            best, best_crossings = [list(row) for row in rows], crossings
    rows[:] = best


def _sorted(row: Sequence[int], fixed: Sequence[int], neighbours: Sequence[Sequence[int]]) -> list[int]:
    """Returns a row by the mean position of its neighbours in a fixed row; who has none keeps its place."""
    position = {node: p for p, node in enumerate(fixed)}
    keys = []
    for place, node in enumerate(row):
        near = [position[n] for n in neighbours[node]]
        keys.append((sum(near) / len(near) if near else place, place))
    return [row[place] for _, place in sorted(keys)]


def _crossings(rows: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> int:
    count = 0
    for row, next_row in zip(rows, rows[1:], strict=False):
        position = {n: p for p, n in enumerate(next_row)}
        ends = [sorted(position[m] for m in below[n]) for n in row]
        seen: list[int] = []
        for group in ends:
            count += sum(1 for end in group for other in seen if other > end)
            seen.extend(group)
    return count


def _place(
    rows: Sequence[Sequence[int]],
    above: Sequence[Sequence[int]],
    below: Sequence[Sequence[int]],
    widths: Sequence[float],
) -> list[float]:
    centers = [0.0] * len(widths)
    for row in rows:
        for before, node in zip(row, row[1:], strict=False):
            centers[node] = centers[before] + (widths[before] + widths[node]) / 2 + _GAP
    for sweep in range(_SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = []
            for node in row:
                near = neighbours[node] or [node]
                wanted.append(sum(centers[m] for m in near) / len(near))
            gaps = [(widths[a] + widths[b]) / 2 + _GAP for a, b in zip(row, row[1:], strict=False)]
            for node, center in zip(row, fit(wanted, gaps), strict=True):
                centers[node] = center
    return centers


def fit(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Returns the positions nearest to those wanted, in the sense of squares, that keep order and distance.

    Args:
        wanted: A position for each item.
        gaps: The least distance of each item from the one before; one fewer than items.

    Example:
        >>> fit([0.0, 0.0], [2.0])
        [-1.0, 1.0]
    """
    shifts = [0.0]
    for gap in gaps:
        shifts.append(shifts[-1] + gap)
    pools: list[tuple[float, int]] = []  # mean and number of items that move together
    for want, shift in zip(wanted, shifts, strict=False):
        mean, count = want - shift, 1
        while pools and pools[-1][0] > mean:
            other, size = pools.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    return [mean + shift for mean, shift in zip(means, shifts, strict=False)]
