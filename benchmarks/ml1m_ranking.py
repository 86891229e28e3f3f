"""Ranking on MovieLens-1M: an MLP, the same with a sequence encoder, the same with the contrastive loss.

    python benchmarks/ml1m_ranking.py --source FOLDER_OF_ML1M [--seeds 1 2 3] [--train-rows N]

Prepares the rows, trains each of samples/*_on_ml1m.config with each seed through the `easyssl` command,
evaluates the result on the test rows and prints a Markdown table. Nothing is tuned here and nothing is chosen
by the test rows.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ("mlp", "bst", "cl4srec")
METRICS = ("auc", "gauc")


def easyssl(*arguments: str) -> str:
    """Runs the command and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "easyssl", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def main() -> None:
    """Runs everything; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--train-rows", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = ["--rows", str(options.train_rows)] if options.train_rows else []
        data = f"{folder}/data/ml1m"  # where the samples look for it below the data root
        prepare = ("data", "ml-1m", "--source", options.source, "--out", data, "--history", "20")
        easyssl(*prepare, *rows)
        results: dict[str, list[dict[str, float]]] = {}
        for seed in options.seeds:
            for model in MODELS:
                config = str(ROOT / "samples" / f"{model}_on_ml1m.config")
                common = [config, "--data-root", folder, "--set", f"model_dir={folder}/{model}-{seed}"]
                common += ["--set", f"train_config.seed={seed}"]
                begin = time.monotonic()
                easyssl("train", *common, "--set", "export_config.exporter_type=none")
                seconds = time.monotonic() - begin
                found = json.loads(easyssl("evaluate", *common, "--input", f"{data}/test.tsv.gz"))
                results.setdefault(model, []).append({**found, "seconds": seconds})
                line = f"{model} seed {seed}: {found}, trained in {seconds:.0f} s"
                print(line, file=sys.stderr, flush=True)
    print("| model | test AUC | test GAUC | wall time, s |\n| --- | --- | --- | --- |")
    for model, runs in results.items():
        cells = [summary([run[name] for run in runs]) for name in METRICS]
        print(f"| {model} | {' | '.join(cells)} | {statistics.mean(run['seconds'] for run in runs):.0f} |")
    for name in METRICS:
        for a, b in (("mlp", "bst"), ("bst", "cl4srec")):
            pairs = zip(results[a], results[b], strict=True)
            print(f"{name}: {b} - {a}, paired by seed: {summary([y[name] - x[name] for x, y in pairs])}")


def summary(values: list[float]) -> str:
    """Returns mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {deviation:.4f}"


if __name__ == "__main__":
    main()
