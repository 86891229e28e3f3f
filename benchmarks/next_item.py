"""Measures how fast next-item models train and rank, next to the matmul peak of the machine in the same run.

Usage: python benchmarks/next_item.py [--source FILE] [--config FILE ...] [--steps N] [--xla]

Prepares Amazon Beauty (or another `user item item ...` file) in a temporary folder and, for each config,
prints in steady state: targets/s (the steps that predict an item), the peak of a 2048 x 2048 float32
matmul timed between the steps, targets/s per GFLOP/s of it, the time of a whole epoch at that rate, and the
time to rank all items for all users. The first config is what the others are compared with.

For scale, Beauty with SASRec of width 64, 2 layers and a full softmax at every step on 2 cores with a peak of
190 GFLOP/s: a well-known PyTorch framework trains 632 targets/s (3.3 per GFLOP/s), a rough prototype
15,100 (79 per GFLOP/s), and that takes 4 s to rank.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("EASYSSL_DATA", ROOT.parent / "shared" / "data"))
MATMUL_SIZE = 2048


def main() -> None:
    """Prepares the data and runs each config in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default=str(DATA / "amazon_5core" / "Beauty.txt.gz"))
    parser.add_argument(
        "--config", nargs="+", default=[str(ROOT / "samples" / "next_item" / "sasrec_on_beauty.config")]
    )
    parser.add_argument("--name", default="beauty", help="folder of the data that the configs name")
    parser.add_argument("--steps", type=int, default=60, help="steps that are timed")
    parser.add_argument("--set", action="append", default=[], help="override of the configs")
    parser.add_argument("--xla", action="store_true", help="compile steps by XLA")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--data", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare = ["-m", "easyssl", "data", "sequences", "--source", arguments.source]
        prepare += ["--out", f"{folder}/data/{arguments.name}"]
        subprocess.run([sys.executable, *prepare], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        first: dict[str, float] = {}
        for config in arguments.config:
            command = [sys.executable, __file__, "--child", config, "--data", folder]
            command += ["--steps", str(arguments.steps), *(["--xla"] if arguments.xla else [])]
            for override in arguments.set:
                command += ["--set", override]
            environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            result = json.loads(done.stdout.splitlines()[-1])
            first = first or result
            report(pathlib.Path(config).stem, result, first)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Times training steps, with a matmul between them, and then an evaluation."""
    import tensorflow as tf

    from easyssl.config import load_config
    from easyssl.training.pipeline import Prefetcher
    from easyssl.training.trainer import Trainer

    overrides = ["data_config.num_epochs=1000", f"model_dir={arguments.data}/model", *arguments.set]
    if arguments.xla:
        overrides.append("train_config.jit_compile=true")
    begun = time.time()
    config = load_config(arguments.child, overrides, data_root=arguments.data)
    trainer = Trainer(config, open(os.devnull, "w"), lambda name: None)
    trainer.build()
    left, right = (tf.random.stateless_normal([MATMUL_SIZE, MATMUL_SIZE], [0, seed]) for seed in (1, 2))
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(left, right)))
    seconds: list[float] = []
    peaks: list[float] = []
    targets: list[float] = []
    first = 0.0
    with Prefetcher(trainer.dataset.batches(None), trainer.placement, 4) as batches:
        for number, batch in enumerate(batches):
            if number == 5:  # the first steps build graphs and fill caches
                seconds, peaks, targets = [], [], []
            if len(seconds) == arguments.steps:
                break
            begin = time.perf_counter()
            trainer.step(batch)
            seconds.append(time.perf_counter() - begin)
            targets.append(float(tf.reduce_sum(batch.features[f"{trainer.model.next_item.history}/length"])))
            first = first or time.time() - begun
            if number % 10 == 0:
                multiply()
                begin = time.perf_counter()
                multiply().numpy()
                peaks.append(2 * MATMUL_SIZE**3 / (time.perf_counter() - begin) / 1e9)
    trainer.evaluator.run()  # builds its graph
    begin = time.perf_counter()
    trainer.evaluator.run()
    ranking = time.perf_counter() - begin
    rate = sum(targets) / sum(seconds)
    return {
        "targets_per_second": rate,
        "gflops": statistics.median(peaks),
        "step": statistics.median(seconds),
        "epoch": targets_of_an_epoch(trainer) / rate,
        "ranking": ranking,
        "first_step": first,
    }


def targets_of_an_epoch(trainer: Any) -> float:
    """Returns how many steps of histories there are to train on."""
    longest = trainer.model.specs[trainer.model.next_item.history].max_seq_len
    total, cursor = 0, None
    for batch in trainer.dataset.batches(None):
        if batch.cursor.epoch and cursor is not None:
            break
        cursor = batch.cursor
        cells = batch.columns[trainer.dataset.reader.split.items]
        total += sum(min(cell.count(b"|") + 1, longest or 1 << 30) for cell in cells)
    return float(total)


def report(name: str, result: dict[str, float], first: dict[str, float]) -> None:
    """Prints what was measured for a config."""
    print(
        f"{name:28} {result['targets_per_second']:8.0f} targets/s  peak {result['gflops']:6.1f} GFLOP/s  "
        f"{result['targets_per_second'] / result['gflops']:6.1f} targets/s per GFLOP/s  "
        f"step {result['step'] * 1e3:6.1f} ms ({result['step'] / first['step']:.2f} x the first)  "
        f"epoch {result['epoch']:6.1f} s  ranking {result['ranking']:5.1f} s  "
        f"first step after {result['first_step']:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
