"""Measures how fast the CL4SRec sample trains, next to the matmul peak of the machine in the same run.

Usage: python benchmarks/train_throughput.py [--rows N] [--batch N] [--steps N] [--config FILE] [--set A=B]

Each variant (plain TensorFlow, XLA) runs in a process of its own. The matmul (2048 x 2048) is timed between
the steps, so that other work on the machine slows both sides of the ratio. Prints, for each variant: seconds
from the start of the process to the end of the first step, examples/s and real tokens/s in steady state
(median step), examples/s per GFLOP/s of the matmul peak, processor seconds per 100 examples, and the peak
memory of the process. Then the input pipeline alone.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What a reference implementation of the config language reaches with this config: examples/s per GFLOP/s of
# the peak, padded to 50 steps; its first step ends after 33 s, its memory is 3.7 GB, 100 examples cost 0.5 s.
REFERENCE = {"ratio": 1.85, "first_step": 33.0, "memory": 3.7, "cpu": 0.5}
MATMUL_SIZE = 2048


def main() -> None:
    """Generates data and runs each variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=16384, help="training rows to generate")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=12, help="steps that are timed")
    parser.add_argument("--config", default=str(ROOT / "samples" / "cl4srec_on_taobao.config"))
    parser.add_argument("--set", action="append", default=[], help="override of the config")
    parser.add_argument("--only", default="", help="plain, xla or input: one variant")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--data", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure_input(arguments) if arguments.child == "input" else measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments.data = folder
        generate = ["-m", "easyssl", "data", "generate", "taobao", "--out", f"{folder}/taobao"]
        subprocess.run([sys.executable, *generate, "--rows", str(arguments.rows)], check=True, cwd=ROOT)
        for variant in ("plain", "xla", "input"):
            if arguments.only in ("", variant):
                report(variant, run_child(variant, arguments))


def run_child(variant: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Runs this file in a process of its own and returns what it measured."""
    options = ["--child", variant, "--data", arguments.data, "--config", arguments.config]
    options += ["--batch", str(arguments.batch), "--steps", str(arguments.steps)]
    for override in arguments.set:
        options += ["--set", override]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    begin = time.time()
    done = subprocess.run(
        [sys.executable, __file__, *options], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if "first_step_at" in result:
        result["first_step"] = result.pop("first_step_at") - begin
    return result


def load(arguments: argparse.Namespace) -> Any:
    """Returns the config with the generated data."""
    from easyssl.config import load_config

    overrides = [
        f"data_config.batch_size={arguments.batch}",
        "data_config.num_epochs=1000",
        f"model_dir={arguments.data}/model",
        *arguments.set,
    ]
    if arguments.child == "xla":
        overrides.append("train_config.jit_compile=true")
    # The samples name their data `data/...` below their own folder.
    (pathlib.Path(arguments.data) / "data").mkdir(exist_ok=True)
    link = pathlib.Path(arguments.data) / "data" / "taobao"
    if not link.exists():
        link.symlink_to(pathlib.Path(arguments.data) / "taobao")
    return load_config(arguments.config, overrides, data_root=arguments.data)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Times training steps, with a matmul between them."""
    from easyssl.cli.environment import load_tensorflow

    load_tensorflow()  # as `easyssl train` does
    import numpy as np
    import tensorflow as tf

    from easyssl.training.loop import Trainer
    from easyssl.training.pipeline import Prefetcher

    config = load(arguments)
    trainer = Trainer(config, open(os.devnull, "w"), lambda name: None)
    trainer.build()
    left, right = (tf.random.stateless_normal([MATMUL_SIZE, MATMUL_SIZE], [0, seed]) for seed in (1, 2))
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(left, right)))
    seconds, peaks, cpu, tokens = [], [], [], []
    with Prefetcher(trainer.dataset.batches(None), trainer.placement, 2) as batches:
        for number, batch in enumerate(batches):
            if number == 3:  # the first steps build graphs and fill caches
                seconds, peaks, cpu, tokens = [], [], [], []
            if len(seconds) == arguments.steps:
                break
            begin, used = time.perf_counter(), time.process_time()
            trainer.step(batch)
            seconds.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - used)
            lengths = next(value for name, value in batch.features.items() if name.endswith("/length"))
            tokens.append(float(np.sum(lengths)))
            if number == 0:
                first = time.time()
                memory_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                multiply()
            begin = time.perf_counter()
            for _ in range(2):
                multiply().numpy()
            peaks.append(2 * 2 * MATMUL_SIZE**3 / (time.perf_counter() - begin) / 1e9)
    step = statistics.median(seconds)
    ratios = [arguments.batch / s / peak for s, peak in zip(seconds, peaks, strict=True)]
    return {
        "first_step_at": first,
        "memory_after_first_step": memory_first / 1e6,
        "examples_per_second": arguments.batch / step,
        "tokens_per_second": statistics.median(t / s for t, s in zip(tokens, seconds, strict=True)),
        "gflops": statistics.median(peaks),
        "ratio": statistics.median(ratios),
        "cpu": statistics.median(cpu) / arguments.batch * 100,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def measure_input(arguments: argparse.Namespace) -> dict[str, float]:
    """Times reading and transforming rows, without training."""
    from easyssl.training.loop import Trainer

    trainer = Trainer(load(arguments), open(os.devnull, "w"), lambda name: None)
    trainer.build()
    batches = trainer.dataset.batches(None)
    trainer.placement(next(batches))
    begin, used, rows = time.perf_counter(), time.process_time(), 0
    for _ in range(2 * arguments.steps):
        rows += trainer.placement(next(batches)).rows
    return {
        "rows_per_second": rows / (time.perf_counter() - begin),
        "rows_per_cpu_second": rows / (time.process_time() - used),
    }


def report(variant: str, result: dict[str, float]) -> None:
    """Prints what a variant measured."""
    if variant == "input":
        print(
            f"input  {result['rows_per_second']:8.0f} rows/s, "
            f"{result['rows_per_cpu_second']:.0f} rows per processor second"
        )
        return
    print(
        f"{variant:6} {result['examples_per_second']:8.0f} examples/s "
        f"{result['tokens_per_second']:8.0f} tokens/s "
        f"matmul peak {result['gflops']:6.1f} GFLOP/s  ratio {result['ratio']:5.2f} "
        f"({result['ratio'] / REFERENCE['ratio']:.1f} x reference)  first step {result['first_step']:5.1f} s "
        f"({REFERENCE['first_step'] / result['first_step']:.1f} x)  memory {result['memory']:.2f} GB "
        f"({REFERENCE['memory'] / result['memory']:.1f} x)  {result['cpu']:.3f} CPU s per 100 examples "
        f"({REFERENCE['cpu'] / result['cpu']:.1f} x)",
        flush=True,
    )


if __name__ == "__main__":
    main()
