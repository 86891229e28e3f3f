"""Draws a figure as SVG: panels from left to right, in as many rows as needed."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from easyssl.backbone.figure import Arrow, Panel
from easyssl.backbone.layout import Layout, layered

_BOX = 42.0
_ROW = 92.0  # from one layer to the next
_MARGIN = 24.0
_PAGE = 900.0  # a row of panels may be this wide, or as wide as the widest panel
_HEAD = 30.0  # of a panel, for its title
_FILL = {
    "input": "#dbeafe",
    "layer": "#ffffff",
    "plain": "#f1f5f9",
    "loss": "#ffedd5",
    "call": "#dcfce7",
    "outside": "#ffffff",
    "output": "#1e293b",
}
_STYLE = """\
  text { font-family: Helvetica, Arial, sans-serif; font-size: 13px; fill: #0f172a; text-anchor: middle }
  .head { font-size: 14px; font-weight: bold; text-anchor: start; fill: #475569 }
  .small { font-size: 10.5px; fill: #475569 }
  .light { fill: #ffffff }
  .panel { fill: #f8fafc; stroke: #cbd5e1 }
  .box { stroke: #475569 }
  .outside { stroke-dasharray: 4 3 }
  .arrow { fill: none; stroke: #64748b; stroke-width: 1.3; marker-end: url(#head) }
  .dotted { stroke-dasharray: 2 4 }
  .halo { stroke: #f8fafc; stroke-width: 5px }
"""


def svg(panels: Sequence[Panel]) -> str:
    """Returns an SVG document of the panels."""
    drawn = [_draw(panel) for panel in panels]
    limit = max([_PAGE, *(width for _, width, _ in drawn)])
    parts: list[str] = []
    left, top, below, right = _MARGIN, _MARGIN, _MARGIN, 0.0
    for content, width, height in drawn:
        if left > _MARGIN and left + width > limit + _MARGIN:
            left, top = _MARGIN, below
        parts += [f'<g transform="translate({left:g} {top:g})">', *content, "</g>"]
        left += width + _MARGIN
        right, below = max(right, left), max(below, top + height + _MARGIN)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{right:.0f}" height="{below:.0f}" '
            f'viewBox="0 0 {right:.0f} {below:.0f}">',
            f"<style>\n{_STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _draw(panel: Panel) -> tuple[list[str], float, float]:
    """Returns a panel at the origin, its width and its height."""
    layout = layered([_box_width(box.title, box.subtitle) for box in panel.boxes], _edges(panel))
    rows = max(layout.layers, default=0) + 1
    width = max(layout.width, 9.5 * len(panel.title)) + 2 * _MARGIN
    height = _HEAD + rows * _ROW - (_ROW - _BOX) + _MARGIN
    content = [
        f'<rect class="panel" width="{width:.1f}" height="{height:.1f}" rx="10"/>',
        f'<text class="head" x="14" y="21">{_text(panel.title)}</text>',
        f'<g transform="translate({_MARGIN:g} {_HEAD + 4:g})">',
        *_arrows(panel, layout),
        *_boxes(panel, layout),
        "</g>",
    ]
    return content, width, height


def _boxes(panel: Panel, layout: Layout) -> list[str]:
    parts = []
    for box, layer, center in zip(panel.boxes, layout.layers, layout.centers, strict=True):
        width, y = _box_width(box.title, box.subtitle), layer * _ROW
        outside = " outside" if box.kind == "outside" else ""
        light = " light" if box.kind == "output" else ""
        parts.append(
            f'<rect class="box{outside}" x="{center - width / 2:.1f}" y="{y:g}" width="{width:.1f}" '
            f'height="{_BOX:g}" rx="6" fill="{_FILL[box.kind]}"/>'
        )
        if box.kind == "call":
            parts.append(
                f'<rect class="box" x="{center - width / 2 + 3:.1f}" y="{y + 3:g}" width="{width - 6:.1f}" '
                f'height="{_BOX - 6:g}" rx="4" fill="none"/>'
            )
        middle = y + (18 if box.subtitle else 26)
        parts.append(
            f'<text class="{light.strip()}" x="{center:.1f}" y="{middle:g}">{_text(box.title)}</text>'
        )
        if box.subtitle:
            parts.append(
                f'<text class="small{light}" x="{center:.1f}" y="{y + 33:g}">{_text(box.subtitle)}</text>'
            )
    return parts


def _arrows(panel: Panel, layout: Layout) -> list[str]:
    paths, labels = [], []
    for arrow, route in zip(panel.arrows, layout.routes, strict=True):
        points = _points(arrow, route, layout)
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            bend = (y1 - y0) / 2
            path += f"C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} {x1:.1f} {y1:.1f}"
        paths.append(f'<path class="arrow{" dotted" if arrow.dotted else ""}" d="{path}"/>')
        if arrow.label:
            (x0, y0), (x1, y1) = points[-2:]
            at = f'x="{(x0 + x1) / 2:.1f}" y="{(y0 + y1) / 2 + 4:.1f}"'
            # Twice, because not every program paints an outline behind its text.
            for halo in (" halo", ""):
                labels.append(f'<text class="small{halo}" {at}>{_text(arrow.label)}</text>')
    return paths + labels


def _points(arrow: Arrow, route: Sequence[float], layout: Layout) -> list[tuple[float, float]]:
    """Returns the corners of an arrow; it runs straight through the layers that it passes."""
    first, last = layout.layers[arrow.source], layout.layers[arrow.target]
    points = [(layout.centers[arrow.source], first * _ROW + _BOX)]
    for layer, x in enumerate(route, start=first + 1):
        points += [(x, layer * _ROW), (x, layer * _ROW + _BOX)]
    points.append((layout.centers[arrow.target], last * _ROW - 1))
    return points


def _text(text: str) -> str:
    """Returns text as XML, without the control characters that XML has no way to write."""
    return escape("".join(character if character.isprintable() else " " for character in text))


def _edges(panel: Panel) -> list[tuple[int, int]]:
    return [(arrow.source, arrow.target) for arrow in panel.arrows]


def _box_width(title: str, subtitle: str) -> float:
    return max(7.4 * len(title), 5.8 * len(subtitle), 40.0) + 24.0
