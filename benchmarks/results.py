"""Makes a table of docs/results.md: trains each model with each seed and prints Markdown.

    python benchmarks/results.py --table beauty --seeds 5 --out beauty.md
    python benchmarks/results.py --table beauty --models sasrec s4rec --seeds 1 --epochs 1 --users 500

Tables and what was published are in tables.py. Data is prepared from the published files below --source. A
run trains with early stopping on what is held out to validate, and evaluates the best checkpoint on what is
held out to test; nothing is chosen by the latter. Runs are kept below --work: what is finished is not run
again, what was interrupted goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from statistics_of_runs import paired_interval, summary
from tables import CONFIGS, SCRIPT, TABLES, Model, Table

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("EASYSSL_DATA", ROOT.parent / "shared" / "data"))
Results = Mapping[str, Mapping[int, Mapping[str, Any]]]


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", choices=TABLES, required=True)
    parser.add_argument("--models", nargs="+", help="rows to make (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 1 on (default: 5)")
    parser.add_argument("--epochs", type=int, help="train for so many at most, to try it out")
    parser.add_argument("--users", type=int, help="use the first users only, to try it out")
    parser.add_argument("--source", default=str(DATA), help="folder with the published files")
    parser.add_argument(
        "--work", default=str(ROOT / "experiments" / "results"), help="folder for data and runs"
    )
    parser.add_argument("--history", choices=("excluded", "kept"), help="default: as the table's papers do")
    parser.add_argument("--out", help="a file for the table (default: stdout)")
    options = parser.parse_args()
    table = TABLES[options.table]
    shown = [name for name, model in table.models.items() if model.shown]
    chosen = options.models or shown
    unknown = [name for name in chosen if name not in shown]
    if unknown:
        parser.error(f"--models: no model '{unknown[0]}' in table {options.table}; it has {', '.join(shown)}")
    work = pathlib.Path(options.work).resolve() / (f"users-{options.users}" if options.users else "all")
    prepare(table, work, options.source, options.users)
    results: dict[str, dict[int, dict[str, Any]]] = {}
    for seed in range(1, options.seeds + 1):
        for name in chosen:
            results.setdefault(name, {})[seed] = one_run(options.table, name, work, seed, options.epochs)
    if options.users:
        table = dataclasses.replace(table, about=f"{table.about}; the first {options.users} users only")
    if options.epochs:
        table = dataclasses.replace(table, about=f"{table.about}; {options.epochs} epochs at most")
    command = f"python benchmarks/results.py {shlex.join(sys.argv[1:])}"
    text = "\n".join(report(table, results, options.history or table.history, command)) + "\n"
    if options.out:
        pathlib.Path(options.out).write_text(text)
    else:
        print(text, end="")


def prepare(table: Table, work: pathlib.Path, source: str, users: int | None) -> None:
    """Writes the data of a table, unless it is there."""
    out = work / "data" / table.folder
    if not (out / "ready").exists():
        for words in table.prepare:
            arguments = [word.format(source=source, out=out) for word in words.split()]
            easyssl(*arguments) if not arguments[0].endswith(SCRIPT) else run("sh", *arguments)
        for path in out.rglob("sequences.tsv.gz") if users else ():
            with gzip.open(path, "rt") as lines:
                kept = [line for _, line in zip(range(users + 1), lines, strict=False)]
            with gzip.open(path, "wt") as file:
                file.writelines(kept)
        (out / "ready").touch()
    if table.measures and not (out / "mutual_information.json").exists():
        words = ("data", "mutual-information", config_of(table.measures), "--data-root", str(work))
        easyssl(*words, "--group", "drawn", "--output", str(out / "mutual_information.json"))


def one_run(table: str, name: str, work: pathlib.Path, seed: int, epochs: int | None) -> dict[str, Any]:
    """Trains and evaluates a model with a seed, or returns what that gave before."""
    model = TABLES[table].models[name]
    folder = run_folder(table, name, work, seed, epochs)
    finished = folder / "result.json"
    if finished.exists():
        found: dict[str, Any] = json.loads(finished.read_text())
        return found
    settings = run_settings(table, model, work, seed, epochs, folder)
    arguments = [config_of(model.config), "--data-root", str(work)]
    arguments += [word for setting in settings for word in ("--set", setting)]
    if model.after:
        one_run(table, model.after, work, seed, epochs)
    resumed = folder.exists()
    print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
    begin = time.monotonic()
    easyssl("train", *arguments)
    seconds = time.monotonic() - begin
    best = ["--best"] if "early_stopping {" in pathlib.Path(config_of(model.config)).read_text() else []
    metrics = json.loads(easyssl("evaluate", *arguments, *best, "--part", "test").splitlines()[-1])
    result = {
        "model": name,
        "seed": seed,
        "metrics": metrics,
        "seconds": seconds,
        "resumed": resumed,
        "commit": commit(),
        "loss": loss_of(model.config),
    }
    partial = folder / "result.json.partial"
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(finished)
    return result


def run_folder(table: str, name: str, work: pathlib.Path, seed: int, epochs: int | None) -> pathlib.Path:
    """Returns the folder of a run; runs of other lengths have other ones."""
    ending = f"-epochs-{epochs}" if epochs else ""
    return work / "runs" / table / (re.sub(r"\W+", "_", name) + ending) / f"seed-{seed}"


def run_settings(
    table: str, model: Model, work: pathlib.Path, seed: int, epochs: int | None, folder: pathlib.Path
) -> list[str]:
    """Returns the overrides of a run."""
    settings = [f"model_dir={folder}", f"train_config.seed={seed}", "export_config.exporter_type=none"]
    if epochs:
        settings.append(f"data_config.num_epochs={epochs}")
    if model.after:
        first = run_folder(table, model.after, work, seed, epochs)
        settings.append(f"train_config.fine_tune_checkpoint={first}")
    return [*settings, *model.overrides]


def report(table: Table, results: Results, history: str, command: str) -> list[str]:
    """Returns the lines of the table: our rows, paired differences, and the rows of others."""
    runs = [run for each in results.values() for run in each.values()]
    commits = ", ".join(sorted({f"`{run['commit']}`" for run in runs}))
    seeds = max(len(each) for each in results.values())
    # What is not about lists does not depend on what happens to the history.
    names = [f"{metric}_{history}" if "@" in metric else metric for metric in table.metrics]
    lines = [f"{table.about}. History {history}; seeds 1 to {seeds}; commit {commits}.", ""]
    lines += ["```sh", command, "```", ""]
    lines += _header("model", "loss", *table.metrics, "minutes")
    for name, each in results.items():
        first, *_ = each.values()
        cells = [summary([run["metrics"][metric] for run in each.values()]) for metric in names]
        whole = [run["seconds"] / 60 for run in each.values() if not run["resumed"]]
        minutes = f"{sum(whole) / len(whole):.1f}" if whole else "interrupted"
        lines.append(_row(name, first["loss"], *cells, minutes))
    lines += _paired(table, results, names)
    if table.published:
        lines += ["", "Published:", ""]
        lines += _header("model", *table.metrics, "source", "certainty")
        for model, numbers, source, certainty in table.published:
            cells = [f"{numbers[metric]:.4f}" if metric in numbers else "" for metric in table.metrics]
            lines.append(_row(model, *cells, source, certainty))
    return lines


def _paired(table: Table, results: Results, names: Iterable[str]) -> list[str]:
    rows = []
    for reference, other in table.pairs:
        if reference in results and other in results:
            cells = []
            for metric in names:
                sides = (results[reference], results[other])
                a, b = ({seed: run["metrics"][metric] for seed, run in side.items()} for side in sides)
                found = paired_interval(a, b)
                cells.append("" if found is None else f"{found[0]:+.4f} ± {found[1]:.4f}")
            if any(cells):
                rows.append(_row(f"{other} - {reference}", *cells))
    if not rows:
        return []
    return ["", "Differences seed by seed, with 95 % confidence:", "", *_header("", *table.metrics), *rows]


def _header(*cells: str) -> list[str]:
    return [_row(*cells), _row(*("---" for _ in cells))]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def config_of(name: str) -> str:
    """Returns the path of a config."""
    return str(ROOT / ("samples" if "/" in name else CONFIGS) / f"{name}.config")


def loss_of(name: str) -> str:
    """Returns what a config's `next_item` says about the loss."""
    text = pathlib.Path(config_of(name)).read_text()
    found = re.search(r"\bloss: ([A-Z_]+)", text[text.index("next_item {") :])
    return (found[1] if found else "FULL_SOFTMAX").lower().replace("_", " ")


def commit() -> str:
    """Returns the commit, with a star if files differ from it."""
    git = ["git", "-C", str(ROOT)]
    done = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False
    )
    return (done.stdout.strip() or "unknown") + ("*" if changed.stdout.strip() else "")


def easyssl(*arguments: str) -> str:
    """Runs the command and returns what it prints."""
    return run(sys.executable, "-m", "easyssl", *arguments)


def run(*words: str) -> str:
    """Runs a program, for which `easyssl` is on the path, and returns what it prints."""
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
