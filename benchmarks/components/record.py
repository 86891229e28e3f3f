"""What was measured, kept in a file, so that a run may go on later, and as a table."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence

from benchmarks.components.measure import Point, growth


@dataclasses.dataclass(frozen=True)
class Growth:
    """How the costs of a component grew along one size.

    Attributes:
        case: The component.
        axis: The size that grew.
        sizes: Its values.
        milliseconds: Time of a step at each size.
        plain_milliseconds: The plain formulation's.
        megabytes: Memory of a step at each size.
        plain_megabytes: The plain formulation's.
        work: Exponent that the formula gives for time.
        memory: Exponent that the formula gives for memory.
    """

    case: str
    axis: str
    sizes: list[float]
    milliseconds: list[float]
    plain_milliseconds: list[float]
    megabytes: list[float]
    plain_megabytes: list[float]
    work: float
    memory: float

    @classmethod
    def of(cls, case: str, axis: str, points: Sequence[Point]) -> Growth:
        """Returns the growth along measured points."""
        sizes = [point.size for point in points]
        return cls(
            case=case,
            axis=axis,
            sizes=sizes,
            milliseconds=[1e3 * point.ours.seconds for point in points],
            plain_milliseconds=[1e3 * point.plain.seconds for point in points],
            megabytes=[point.ours.megabytes for point in points],
            plain_megabytes=[point.plain.megabytes for point in points],
            work=growth(sizes, [point.work for point in points]),
            memory=growth(sizes, [point.memory for point in points]),
        )

    def exponent(self, costs: Sequence[float]) -> float:
        """Returns the exponent with which some of the costs grow."""
        return growth(self.sizes, costs)


def read(path: pathlib.Path) -> list[Growth]:
    """Returns what a file holds; nothing if there is none."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Growth(**json.loads(line)) for line in lines]


def append(path: pathlib.Path, found: Sequence[Growth]) -> None:
    """Adds lines to a file."""
    with path.open("a") as file:
        file.writelines(json.dumps(dataclasses.asdict(each)) + "\n" for each in found)


def table(found: Sequence[Growth]) -> str:
    """Returns a Markdown table: costs at the largest size, and how they grow beside what the formula says."""
    lines = [
        "| component | grows | ms | of plain | exponent (formula) | MB | of plain | exponent (formula) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in found:
        ms, mb = each.milliseconds, each.megabytes
        cells = [
            each.case,
            f"{each.axis} {each.sizes[0]:g} to {each.sizes[-1]:g}",
            f"{ms[-1]:.1f}",
            f"{ms[-1] / each.plain_milliseconds[-1]:.2f}",
            f"{each.exponent(ms):.2f} ({each.work:.2f})",
            f"{mb[-1]:.1f}",
            f"{mb[-1] / each.plain_megabytes[-1]:.2f}",
            f"{each.exponent(mb):.2f} ({each.memory:.2f})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
