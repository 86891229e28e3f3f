"""Measures each component next to the plainest formulation of its formula, growing one size at a time.

Usage: python -m benchmarks.components [--quick] [--only NAME ...] [--runs 10]
       python -m benchmarks.components --output FILE [--seconds 90]; the same again goes on where that ended
       python -m benchmarks.components --table FILE

The plain side is written here in TensorFlow operations. It computes the same numbers with the same weights
(which is checked, unless they are random), and takes turns with the component: forward and backward, on two
cores. For each size that a cost depends on, a table shows time and memory of a step and the ratios to the
plain side; then the exponents with which they grow, next to the formula's. A fixed cost of a step makes a
measured exponent smaller than the formula's, never larger: one that is larger by more than a tolerance is
marked with `!`, and for memory, which does not depend on what else the machine does, makes this fail.
`--quick` takes the two smallest sizes and fewer runs. With `--output` each component that is done is added to
a file, and what the file has is not measured again; no component is begun after `--seconds`. `--table` prints
such a file as a table.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_CPU_ALLOCATOR_USE_BFC"] = "1"  # the allocator that counts every byte

import tensorflow as tf

from benchmarks.components import clusters, contrast, encoders, interests, record, views
from benchmarks.components.case import Case
from benchmarks.components.measure import Measurement, Point, reserve_memory
from benchmarks.components.record import Growth

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
    parser.add_argument("--output", type=pathlib.Path, help="file that keeps what is done")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no component after these")
    parser.add_argument("--table", type=pathlib.Path, help="print this file as a table, and measure nothing")
    arguments = parser.parse_args()
    if arguments.table is not None:
        print(record.table(record.read(arguments.table)))
        return
    begin = time.monotonic()
    done = {each.case for each in record.read(arguments.output)} if arguments.output is not None else set()
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
        if case.name in done or (arguments.only and case.name not in arguments.only):
            continue
        if time.monotonic() - begin > arguments.seconds:
            print(f"out of time before {case.name}; the same command goes on from here")
            break
        found = measure_case(case, arguments.quick, arguments.runs)
        too_fast += [f"{each.case} with {each.axis}" for each in found if is_large(each)]
        if arguments.output is not None:
            record.append(arguments.output, found)
    if too_fast:
        sys.exit(f"memory grows faster than the formula: {', '.join(too_fast)}")


def measure_case(case: Case, quick: bool, runs: int) -> list[Growth]:
    """Measures and prints a case; returns how its costs grow along each size."""
    measurement = Measurement(case, QUICK_RUNS if quick else runs)
    found = []
    for axis, values in case.axes.items():
        points = measurement.along(axis, values[:2] if quick else values)
        found.append(Growth.of(case.name, axis, points))
        report(found[-1], points)
    return found


def is_large(found: Growth) -> bool:
    """Returns whether memory grows faster than the formula."""
    tolerance = TOLERANCE_OF_TWO if len(found.sizes) < 3 else MEMORY_TOLERANCE
    return found.exponent(found.megabytes) > found.memory + tolerance


def is_slow(found: Growth) -> bool:
    """Returns whether time grows faster than the formula."""
    tolerance = TOLERANCE_OF_TWO if len(found.sizes) < 3 else TIME_TOLERANCE
    return found.exponent(found.milliseconds) > found.work + tolerance


def report(found: Growth, points: list[Point]) -> None:
    """Prints a table."""
    print(f"{found.case:24}{found.axis:>10} |  time, ms   plain  ratio |  memory, MB    plain  ratio")
    for point in points:
        ours, plain = point.ours, point.plain
        print(
            f"{'':24}{point.size:>10g} | {1e3 * ours.seconds:9.2f} {1e3 * plain.seconds:7.2f} "
            f"{ours.seconds / plain.seconds:6.2f} | {ours.megabytes:11.2f} {plain.megabytes:8.2f} "
            f"{ours.megabytes / plain.megabytes:6.2f}"
        )
    seconds, plain_seconds = (found.exponent(c) for c in (found.milliseconds, found.plain_milliseconds))
    megabytes, plain_megabytes = (found.exponent(c) for c in (found.megabytes, found.plain_megabytes))
    slow, large = "!" if is_slow(found) else " ", "!" if is_large(found) else " "
    print(
        f"{'  exponent (formula)':34} | {seconds:5.2f} ({found.work:.2f}){slow}{plain_seconds:5.2f}"
        f"{'':8}| {megabytes:7.2f} ({found.memory:.2f}){large}{plain_megabytes:5.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
