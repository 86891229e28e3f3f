"""Measures each component next to the plainest formulation of its formula, growing one size at a time.

Usage: python -m benchmarks.components [--quick] [--only NAME ...] [--runs 10]

The plain side is written here in TensorFlow operations. It computes the same numbers with the same weights
(which is checked, unless they are random), and takes turns with the component: forward and backward, on two
cores. For each size that a cost depends on, a table shows time and memory of a step and the ratios to the
plain side; then the exponents with which they grow, next to the formula's. A fixed cost of a step makes a
measured exponent smaller than the formula's, never larger: one that is larger by more than a tolerance is
marked with `!`, and for memory, which does not depend on what else the machine does, makes this fail.
`--quick` takes the two smallest sizes and fewer runs.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_CPU_ALLOCATOR_USE_BFC"] = "1"  # the allocator that counts every byte

import tensorflow as tf

from benchmarks.components import clusters, contrast, encoders, interests, views
from benchmarks.components.case import Case
from benchmarks.components.measure import Measurement, Point, growth, reserve_memory

CASES = [*views.CASES, *encoders.CASES, *contrast.CASES, *clusters.CASES, *interests.CASES]
CORES = 2
QUICK_RUNS = 3
TIME_TOLERANCE, MEMORY_TOLERANCE = 0.3, 0.2
TOLERANCE_OF_TWO = 0.5  # of an exponent that only two sizes determine


def main() -> None:
    """Measures what the arguments select."""
    parser = argparse.ArgumentParser(prog="benchmarks.components", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes of each kind, few runs")
    parser.add_argument("--only", nargs="+", default=[], help="names of cases")
    parser.add_argument("--runs", type=int, default=10, help="how often a step is timed")
    arguments = parser.parse_args()
    names = [case.name for case in CASES]
    for name in arguments.only:
        if name not in names:
            parser.error(f"no case '{name}'; there are {', '.join(names)}")
    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    # Operations one after the other: which tensors live at the same time is then always the same.
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.set_visible_devices([], "GPU")
    reserve_memory()
    too_fast = []
    for case in CASES:
        if not arguments.only or case.name in arguments.only:
            too_fast += measure_case(case, arguments.quick, arguments.runs)
    if too_fast:
        sys.exit(f"memory grows faster than the formula: {', '.join(too_fast)}")


def measure_case(case: Case, quick: bool, runs: int) -> list[str]:
    """Measures and prints a case; returns along which sizes memory grows too fast."""
    too_fast = []
    measurement = Measurement(case, QUICK_RUNS if quick else runs)
    for axis, values in case.axes.items():
        points = measurement.along(axis, values[:2] if quick else values)
        if not report(case.name, axis, points):
            too_fast.append(f"{case.name} with {axis}")
    return too_fast


def report(name: str, axis: str, points: list[Point]) -> bool:
    """Prints a table; returns whether memory grows no faster than the formula."""
    print(f"{name:24}{axis:>10} |  time, ms   plain  ratio |  memory, MB    plain  ratio")
    for point in points:
        ours, plain = point.ours, point.plain
        print(
            f"{'':24}{point.size:>10g} | {1e3 * ours.seconds:9.2f} {1e3 * plain.seconds:7.2f} "
            f"{ours.seconds / plain.seconds:6.2f} | {ours.megabytes:11.2f} {plain.megabytes:8.2f} "
            f"{ours.megabytes / plain.megabytes:6.2f}"
        )
    sizes = [point.size for point in points]
    work, seconds, plain_seconds = (
        growth(sizes, costs)
        for costs in (
            [p.work for p in points],
            [p.ours.seconds for p in points],
            [p.plain.seconds for p in points],
        )
    )
    memory, megabytes, plain_megabytes = (
        growth(sizes, costs)
        for costs in (
            [p.memory for p in points],
            [p.ours.megabytes for p in points],
            [p.plain.megabytes for p in points],
        )
    )
    few = len(points) < 3
    slow = seconds > work + (TOLERANCE_OF_TWO if few else TIME_TOLERANCE)
    large = megabytes > memory + (TOLERANCE_OF_TWO if few else MEMORY_TOLERANCE)
    print(
        f"{'  exponent (formula)':34} | {seconds:5.2f} ({work:.2f}){'!' if slow else ' '}{plain_seconds:5.2f}"
        f"{'':8}| {megabytes:7.2f} ({memory:.2f}){'!' if large else ' '}{plain_megabytes:5.2f}",
        flush=True,
    )
    return not large


if __name__ == "__main__":
    main()
