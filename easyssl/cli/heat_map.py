"""A matrix as a picture."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from easyssl.errors import UsageError


def load_matplotlib() -> Any:
    """Returns matplotlib.

    Raises:
        UsageError: If it is not installed.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        raise UsageError("--plot needs matplotlib; run: pip install 'easyssl[plots]'") from error
    return matplotlib


def draw_heat_map(
    path: pathlib.Path, names: Sequence[str], matrix: np.ndarray, title: str, unit: str
) -> None:
    """Draws a square matrix with a number in each cell into an SVG file.

    Colours end at the largest number off the diagonal. The same matrix gives the same file.

    Args:
        path: The file to write.
        names: What rows and columns are called.
        matrix: `[len(names), len(names)]`, not negative.
        title: Stands above.
        unit: Stands beside the scale of colours.

    Raises:
        UsageError: If matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    count = len(names)
    # Names may hold a dollar sign, which is no formula.
    with matplotlib.rc_context(
        {"svg.hashsalt": "easyssl", "svg.fonttype": "none", "text.parse_math": False, "backend": "svg"}
    ):
        side = 2.5 + 0.6 * count
        figure = matplotlib.figure.Figure(figsize=(side + 1, side), layout="constrained")
        axes = figure.subplots()
        # A field tells most about itself; the colours are for what it tells about others.
        others = matrix[~np.eye(count, dtype=bool)]
        largest = others.max() if others.any() else None
        cells = axes.pcolormesh(matrix, cmap="viridis", edgecolors="face", vmin=0, vmax=largest)
        axes.set(title=title, aspect="equal", ylim=(count, 0))
        middles = np.arange(count) + 0.5
        axes.set_xticks(middles, labels=list(names), rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(middles, labels=list(names))
        axes.tick_params(length=0)
        figure.colorbar(cells, ax=axes, label=unit, shrink=0.8, extend="max")
        if count <= 30:
            threshold = (largest or matrix.max()) / 2
            for (row, column), value in np.ndenumerate(matrix):
                style = {"color": "black" if value > threshold else "white", "fontsize": "small"}
                axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", **style)
        figure.savefig(path, format="svg", metadata={"Date": None})
