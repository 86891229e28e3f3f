"""Measures how the cost of a config grows with its number of features.

Usage: python benchmarks/many_features.py [--features N ...] [--rows N] [--write FILE]

Makes configs with ids, numbers, tags, crosses, expressions and pooled histories in equal parts, in a DEEP
group that an MLP reads. For each size it prints processor seconds of `easyssl check --plan-only` and of
`easyssl check`, and the peak memory of the latter; processor seconds of building the model and of the first
training step, which traces the feature transform and the step; and the peak memory of training. Processor
time is less sensitive to other work on the machine than time on the wall. Behind each number stands in
brackets what a further feature costs, relative to what it costs between the first two sizes: about 1 is
linear.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MEASURES = ("plan s", "check s", "check MB", "build s", "first step s", "memory MB")

HEAD = """
train_input_path: '{folder}/rows.csv'
model_dir: '{folder}/run'
train_config {{
  num_steps: 1
  optimizer_config {{
    adam_optimizer {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.01 }} }} }}
  }}
}}
"""
FEATURES = (
    "input_names: 'text{i}' hash_bucket_size: 1000 embedding_dim: 8",
    "input_names: 'number{i}' feature_type: RawFeature boundaries: [1, 2, 3] embedding_dim: 8",
    "input_names: 'list{i}' feature_type: TagFeature hash_bucket_size: 1000 embedding_dim: 8",
    "feature_name: 'cross{i}' input_names: ['text{i}', 'number{i}'] feature_type: ComboFeature precision: 1 "
    "hash_bucket_size: 1000 embedding_dim: 8",
    "feature_name: 'sum{i}' input_names: 'number{i}' feature_type: ExprFeature "
    "expression: 'number{i} * 2 + 1'",
    "feature_name: 'hist{i}' input_names: 'list{i}' feature_type: SequenceFeature hash_bucket_size: 1000 "
    "embedding_dim: 8 sequence_combiner {{ attention {{}} }}",
)
NAMES = ("text{i}", "number{i}", "list{i}", "cross{i}", "sum{i}", "hist{i}")
MODEL = """
model_config {{
  model_class: 'RankModel'
  feature_groups {{ group_name: 'all' feature_names: [{names}] wide_deep: DEEP }}
  backbone {{
    blocks {{
      name: 'mlp' inputs {{ feature_group_name: 'all' }}
      keras_layer {{ class_name: 'MLP' mlp {{ hidden_units: 8 }} }}
    }}
    concat_blocks: 'mlp'
  }}
  model_params {{ }}
}}
"""


def config_text(features: int, folder: str) -> str:
    """Returns a config with that many features."""
    kinds = len(FEATURES)
    columns = ["input_fields { input_name: 'label' input_type: INT32 }"]
    for i in range(-(-features // kinds)):
        columns.append(f"input_fields {{ input_name: 'text{i}' input_type: STRING }}")
        columns.append(f"input_fields {{ input_name: 'number{i}' input_type: FLOAT }}")
        columns.append(f"input_fields {{ input_name: 'list{i}' input_type: STRING }}")
    described = [FEATURES[k % kinds].format(i=k // kinds) for k in range(features)]
    names = ", ".join(f"'{NAMES[k % kinds].format(i=k // kinds)}'" for k in range(features))
    return "\n".join(
        [
            HEAD.format(folder=folder),
            "data_config { batch_size: 64 label_fields: 'label' input_type: CSVInput",
            *columns,
            "}",
            "feature_config {",
            *(f"features {{ {text} }}" for text in described),
            "}",
            MODEL.format(names=names),
        ]
    )


def write_rows(features: int, rows: int, path: pathlib.Path) -> None:
    """Writes rows for the columns of `config_text`."""
    lines = []
    for row in range(rows):
        cells = [str(row % 2)]
        for i in range(-(-features // len(FEATURES))):
            cells += [f"t{row + i}", f"{(row + i) % 5}.5", f"a{row}|b{i}|c"]
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measures each size in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, nargs="+", default=[75, 150, 300, 600])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--write", default="", help="only write the config of the first size to this file")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(train(arguments.child)))
        return
    if arguments.write:
        pathlib.Path(arguments.write).write_text(config_text(arguments.features[0], "/tmp"))
        return
    found: list[dict[str, float]] = []
    print("  ".join(["features", *(f"{name:>18}" for name in MEASURES)]))
    for features in arguments.features:
        found.append({"features": features, **measure(features, arguments.rows)})
        print("  ".join([f"{features:8}", *(f"{cell(found, name):>18}" for name in MEASURES)]), flush=True)


def cell(found: list[dict[str, float]], name: str) -> str:
    """Returns the last number, and its growth relative to that between the first two sizes."""
    value = found[-1][name]
    text = f"{value:.0f}" if value >= 100 else f"{value:.2f}"
    if len(found) < 3:
        return text

    def slope(before: dict[str, float], after: dict[str, float]) -> float:
        return (after[name] - before[name]) / (after["features"] - before["features"])

    first = slope(found[0], found[1])
    return f"{text} ({slope(found[-2], found[-1]) / first:.2f})" if first > 0 else text


def measure(features: int, rows: int) -> dict[str, float]:
    """Returns all measures of one size."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "many.config")
        path.write_text(config_text(features, folder))
        write_rows(features, rows, pathlib.Path(folder, "rows.csv"))
        check = [sys.executable, "-m", "easyssl", "check", str(path)]
        plan, _, _ = run([*check, "--plan-only"])
        built, memory, _ = run(check)
        _, _, printed = run([sys.executable, __file__, "--child", str(path)])
    result: dict[str, float] = {"plan s": plan, "check s": built, "check MB": memory}
    result.update(json.loads(printed.splitlines()[-1]))
    return result


def run(command: list[str]) -> tuple[float, float, str]:
    """Returns the processor seconds of a command, its peak memory in MB and what it printed."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, printed


def train(path: str) -> dict[str, float]:
    """Builds the model of a config and trains one step."""
    from easyssl.config import load_config
    from easyssl.data.build import dataset_from_config
    from easyssl.training.labels import Labels
    from easyssl.training.optimizers.build import update_rule_from_config
    from easyssl.training.pipeline import Preparation
    from easyssl.training.setup import build_model
    from easyssl.training.step import TrainStep

    config = load_config(path)
    begin = time.process_time()
    model = build_model(config)
    built = time.process_time()
    preparation = Preparation(model.transform, Labels.from_config(config, model.label_names))
    step = TrainStep(model, update_rule_from_config(config, model), preparation.signature())
    step(preparation(next(iter(dataset_from_config(config, "train").batches()))))
    return {
        "build s": built - begin,
        "first step s": time.process_time() - built,
        "memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
