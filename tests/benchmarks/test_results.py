"""benchmarks/results.py: its arithmetic, its settings and its tables, without training."""

import gzip
import importlib
import json
import pathlib
import sys

import numpy as np
import pytest
from scipy import stats

from easyssl.cli.main import main
from easyssl.config import load_config

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(FOLDER))
    names = ("statistics_of_runs", "tables", "results")
    yield tuple(importlib.import_module(name) for name in names)
    sys.path.remove(str(FOLDER))
    for name in names:
        del sys.modules[name]


@pytest.mark.parametrize("seeds", [2, 5, 31])
def test_intervals_are_those_of_student(modules, seeds):
    rng = np.random.default_rng(seeds)
    a, b = rng.normal(size=(2, seeds))
    found = modules[0].paired_interval(dict(enumerate(a)), {**dict(enumerate(b)), 99: 1.0})
    expected = stats.ttest_rel(b, a).confidence_interval(0.95)
    mean, half, pairs = found
    assert pairs == seeds
    assert (mean - half, mean + half) == pytest.approx(tuple(expected), rel=1e-3)


def test_one_seed_in_common_has_no_interval(modules):
    assert modules[0].paired_interval({1: 0.5}, {1: 0.6, 2: 0.7}) is None
    assert modules[0].summary([0.25]) == "0.2500"


def test_the_configs_of_the_tables_take_their_overrides(modules):
    _, tables, results = modules
    for name, table in tables.TABLES.items():
        assert all(model.after in (*table.models, "") for model in table.models.values())
        assert {side for pair in table.pairs for side in pair} <= set(table.models)
        for model in table.models.values():
            config = load_config(results.config_of(model.config), list(model.overrides))
            assert f"data/{table.folder}/" in config.message.train_input_path, (name, model)


def test_settings_of_a_run(modules, tmp_path):
    _, tables, results = modules
    model = tables.TABLES["beauty"].models["s3rec"]
    folder = results.run_folder("beauty", "s3rec", tmp_path, 2, 1)
    settings = results.run_settings("beauty", model, tmp_path, 2, 1, folder)
    first = results.run_folder("beauty", "s3rec_pretrain", tmp_path, 2, 1)
    assert settings == [
        f"model_dir={folder}",
        "train_config.seed=2",
        "export_config.exporter_type=none",
        "data_config.num_epochs=1",
        f"train_config.fine_tune_checkpoint={first}",
    ]
    assert folder != first != results.run_folder("beauty", "s3rec_pretrain", tmp_path, 2, None)
    assert results.loss_of("sasrec_on_beauty") == "full softmax"
    assert results.loss_of("unisrec/pretrain_on_four_domains") == "in batch softmax"
    assert results.loss_of("re4_on_instruments") == "sampled softmax"


def test_a_finished_run_is_not_run_again_and_is_reported(modules, tmp_path):
    _, tables, results = modules
    table = tables.TABLES["instruments"]
    numbers = {"re4": (0.2, 0.4), "mind": (0.1, 0.2)}
    found = {}
    for name, values in numbers.items():
        for seed, value in enumerate(values, start=1):
            folder = results.run_folder("instruments", name, tmp_path, seed, None)
            folder.mkdir(parents=True)
            run = {
                "metrics": {f"{m}_excluded" if "@" in m else m: value for m in table.metrics},
                "seconds": 90.0,
                "resumed": seed == 2,
                "commit": "abc",
                "loss": "sampled softmax",
            }
            (folder / "result.json").write_text(json.dumps(run))
            found.setdefault(name, {})[seed] = results.one_run("instruments", name, tmp_path, seed, None)
    text = "\n".join(results.report(table, found, "excluded", "the command"))
    cells = " | ".join(["0.3000 ± 0.1414"] * len(table.metrics))
    assert f"| re4 | sampled softmax | {cells} | 1.5 |" in text
    # Differences 0.1 and 0.2: half an interval is 12.706 * 0.0707 / sqrt(2).
    assert "| re4 - mind | +0.1500 ± 0.6353 |" in text
    assert "commit `abc`" in text and "the command" in text


def test_a_script_prepares_data(modules, tmp_path):
    _, tables, results = modules
    script = tmp_path / "prepare.sh"
    script.write_text(
        'command -v easyssl > /dev/null && mkdir "$2/part" && gzip -c "$1/rows" > "$2/part/sequences.tsv.gz"'
    )
    (tmp_path / "rows").write_text("user\n1\n2\n3\n")
    out = tmp_path / "work" / "data" / "here"
    out.mkdir(parents=True)
    table = tables.Table("", "here", (f"{script} {{source}} {{out}}",), (), {})
    for _ in range(2):  # the second time there is nothing to do
        results.prepare(table, tmp_path / "work", str(tmp_path), 2)
        assert gzip.open(out / "part" / "sequences.tsv.gz", "rt").read() == "user\n1\n2\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RFM", "RFM without complement", "CFM without dropout", "spread-out"])
def test_an_ablation_builds(modules, tmp_path, name):
    _, tables, results = modules
    model = tables.TABLES["ssl_item"].models[name]
    folder = tmp_path / "data" / "ml1m_next"
    folder.mkdir(parents=True)
    (folder / "mutual_information.json").write_text(json.dumps(np.eye(4).tolist()))
    words = [word for override in model.overrides for word in ("--set", override)]
    assert main(["check", results.config_of(model.config), "--data-root", str(tmp_path), *words]) == 0
