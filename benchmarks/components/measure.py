"""Measures a step (forward and backward) of two functions at growing sizes.

Time is the least of several runs, in which the two functions take turns, so that both see the same machine.
Memory is what TensorFlow's CPU allocator had handed out at the peak of a step, minus what it had handed out
before: tensors, and what kernels allocate for themselves through it. The allocator itself counts, provided
that `TF_CPU_ALLOCATOR_USE_BFC` is set before TensorFlow is loaded; without, it misses what is small. The size
of the process would not tell: it only grows, as freed memory is kept.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from benchmarks.components.case import Case, Function, Sizes

_DEVICE = "CPU:0"
_MEGABYTE = 1e6
_RESERVED = 2**28  # numbers of 8 bytes

Step = Callable[[list[tf.Tensor]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a step takes.

    Attributes:
        seconds: Time.
        megabytes: Memory.
    """

    seconds: float
    megabytes: float


@dataclasses.dataclass(frozen=True)
class Point:
    """A component and its plain formulation at one size."""

    size: float
    ours: Cost
    plain: Cost
    work: float
    memory: float


class Measurement:
    """Measures a case at any sizes, each of them once.

    Args:
        case: The case.
        runs: How often a step is timed.
    """

    def __init__(self, case: Case, runs: int) -> None:
        self.case = case
        self.runs = runs
        self._steps: dict[Sizes, list[Step]] = {}
        # All stay, for the holes that they would leave in the allocator's memory are filled inexactly.
        self._inputs: list[list[tf.Tensor]] = []
        gc.collect()
        self._costs: dict[Sizes, list[Cost]] = {}

    def along(self, axis: str, values: Sequence[float]) -> list[Point]:
        """Measures while one size grows.

        Args:
            axis: The field of `Sizes` that grows.
            values: Its values.

        Returns:
            One point for each value.

        Raises:
            RuntimeError: If both functions should return the same and do not.
        """
        points = []
        for value in values:
            sizes = dataclasses.replace(self.case.base, **{axis: value})
            if sizes not in self._costs:
                self._costs[sizes] = self._measure(sizes)
            work, memory = self.case.work(sizes), self.case.memory(sizes)
            points.append(Point(value, *self._costs[sizes], work=work, memory=memory))
        return points

    def _measure(self, sizes: Sizes) -> list[Cost]:
        case = self.case
        inputs = [tf.constant(array) for array in case.inputs(sizes)]
        self._inputs.append(inputs)
        # No weight has these sizes: one graph serves all of them.
        shared = dataclasses.replace(sizes, batch=0, fill=0.0)
        if shared not in self._steps:
            functions = case.make(sizes)
            functions[0](*inputs)  # builds layers
            self._steps[shared] = [_step(function, inputs) for function in functions]
        steps = self._steps[shared]
        results = [float(step(inputs)) for step in steps]  # traces, and fills caches of kernels
        if case.same and not math.isclose(*results, rel_tol=2e-3, abs_tol=1e-4):
            raise RuntimeError(f"{case.name} at {sizes}: {results[0]}, but plainly {results[1]}")
        return _costs(steps, inputs, self.runs)


def reserve_memory() -> None:
    """Makes the allocator take one large piece of memory, to be called before any other use of TensorFlow.

    It cuts exactly what is asked for out of a large piece, but hands out up to twice as much of a small one.
    """
    with tf.device(_DEVICE):
        tf.raw_ops.Empty(shape=[_RESERVED], dtype=tf.int64, init=False)


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Returns the exponent x of `cost ~ size^x`, by least squares of the logarithms."""
    slope, _ = np.polyfit(np.log(sizes), np.log(np.maximum(costs, 1e-12)), 1)
    return float(slope)


def _step(function: Function, inputs: list[tf.Tensor]) -> Step:
    """Returns what runs a function and its gradient once, for any batch, and waits for the result."""

    @tf.function(input_signature=[tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in inputs])
    def graph(*arguments: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        floats = [x for x in arguments if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            result = tf.reduce_sum(function(*arguments))
        gradients = tape.gradient(result, [*floats, *tape.watched_variables()])
        return result, [g for g in gradients if g is not None]

    return lambda values: graph(*values)[0].numpy()


def _costs(steps: Sequence[Step], inputs: list[tf.Tensor], runs: int) -> list[Cost]:
    megabytes = []
    for step in steps:
        tf.config.experimental.reset_memory_stats(_DEVICE)
        before = tf.config.experimental.get_memory_info(_DEVICE)["current"]
        step(inputs)
        peak = tf.config.experimental.get_memory_info(_DEVICE)["peak"]
        megabytes.append((peak - before) / _MEGABYTE)
    seconds = [math.inf] * len(steps)
    for _ in range(runs):
        for index, step in enumerate(steps):
            begin = time.perf_counter()
            step(inputs)
            seconds[index] = min(seconds[index], time.perf_counter() - begin)
    return [Cost(*pair) for pair in zip(seconds, megabytes, strict=True)]
