"""Every sample config plans without a warning and says what it is."""

import csv
import json
import pathlib
import re

import numpy as np
import pytest
from command_lines import parse_command

from easyssl.backbone.plan import build_plan
from easyssl.cli.main import main
from easyssl.config import load_config, parse_config
from easyssl.data.features.spec import build_feature_specs
from easyssl.data.prepare.taobao import COLUMNS
from easyssl.metrics import metrics_from_config

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "samples"
CONFIGS = sorted(str(path.relative_to(SAMPLES)) for path in SAMPLES.rglob("*.config"))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_sample_plans_without_a_warning(name):
    config = load_config(str(SAMPLES / name))
    plan = build_plan(config, build_feature_specs(config))
    assert [*config.warnings, *plan.warnings] == []
    assert metrics_from_config(config)
    assert plan.main.outputs


@pytest.mark.parametrize("name", CONFIGS)
def test_a_sample_begins_with_its_task_data_and_command(name):
    text = (SAMPLES / name).read_text(encoding="utf-8")
    head = re.match(r"(#.*\n)+", text).group(0)
    assert all(word in head for word in ("# Task:", "# Data:", f"# Command: easyssl train samples/{name}"))
    assert max(map(len, text.splitlines())) <= 132


@pytest.mark.parametrize("name", CONFIGS)
def test_the_commands_in_the_head_of_a_sample_are_there(name):
    text = re.sub(r" \\\n#\s+", " ", (SAMPLES / name).read_text(encoding="utf-8"))
    found = re.findall(r"^#.*? easyssl (.*)$", text, flags=re.MULTILINE)
    assert found and found[-1].startswith(("train ", "evaluate "))
    for line in found:
        parse_command(line.split())


def test_the_cl4srec_sample_has_the_model_that_must_run_unchanged(real_data):
    given = parse_config(real_data("configs/cl4srec_model_config.txt").read_text())
    sample = load_config(str(SAMPLES / "cl4srec_on_taobao.config"))
    assert sample.message.model_config == given.message.model_config


MULTI_TASK = [f"easyrec/{name}" for name in ("simple_multi_task", "mmoe", "mmoe_mirrored", "dbmtl", "aitm")]


@pytest.mark.parametrize("model", ["cl4srec", "bst", "mlp", "dssm", *MULTI_TASK])
def test_a_sample_on_generated_rows_reads_the_columns_of_the_generator(model):
    config = load_config(str(SAMPLES / f"{model}_on_taobao.config"))
    assert [field.input_name for field in config.message.data_config.input_fields] == list(COLUMNS)


def test_the_sample_for_real_rows_differs_as_it_says():
    made = load_config(str(SAMPLES / "cl4srec_on_taobao.config")).message
    real = load_config(str(SAMPLES / "cl4srec_on_taobao_real.config")).message
    assert real.data_config.with_header
    fields = real.data_config.input_fields
    (extra,) = [i for i, field in enumerate(fields) if field.input_name == "tag_btag_list"]
    del fields[extra]
    real.data_config.ClearField("with_header")
    for field in ("train_input_path", "eval_input_path", "model_dir"):
        real.ClearField(field)
        made.ClearField(field)
    assert real == made


@pytest.mark.slow
def test_the_sample_for_real_rows_trains_evaluates_and_predicts(real_data, tmp_path, capfd):
    rows = real_data("taobao_alimama_sample/taobao_dmr_500.csv")
    words = [str(SAMPLES / "cl4srec_on_taobao_real.config"), "--data-root", str(rows.parent)]
    words += ["--set", f"model_dir={tmp_path / 'run'}", "--set", "train_config.num_steps=3"]
    assert main(["train", *words, "--set", "export_config.exporter_type=none"]) == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    reported = [record["metrics"] for record in records if record["kind"] == "eval"][-1]
    capfd.readouterr()
    words += ["--allow-config-change"]
    assert main(["evaluate", *words]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found.keys() == reported.keys() == {"auc", "gauc", "cross_entropy_loss"}
    assert found == pytest.approx(reported, rel=1e-5)
    scored = tmp_path / "scored.csv"
    assert main(["predict", *words, "--input", str(rows), "--output", str(scored)]) == 0
    with rows.open(newline="") as given, scored.open(newline="") as file:
        given, rows = list(csv.DictReader(given)), list(csv.DictReader(file))
    assert [row["user_id"] for row in rows] == [row["user_id"] for row in given] and len(rows) == 500
    logits = np.array([float(row["logits"]) for row in rows])
    clicks = np.array([float(row["clk"]) for row in rows])
    loss = np.mean(np.logaddexp(0, logits) - clicks * logits)
    assert found["cross_entropy_loss"] == pytest.approx(loss, rel=1e-4)


def without(config, blocks, packages, groups=()):
    """Returns a config without some parts of its model, and without the names that tell samples apart."""
    config.ClearField("model_dir")
    model = config.model_config
    model.ClearField("model_name")
    for parts, key, names in (
        (model.backbone.blocks, "name", blocks),
        (model.backbone.packages, "name", packages),
        (model.feature_groups, "group_name", groups),
    ):
        kept = [part for part in parts if getattr(part, key) not in names]
        assert len(kept) == len(parts) - len(names)
        del parts[:]
        parts.extend(kept)
    (main,) = [block for block in model.backbone.blocks if block.name == "main"]
    kept = [source for source in main.inputs if source.package_name not in packages]
    del main.inputs[:]
    main.inputs.extend(kept)
    return config


TWINS = {
    # data: the parts of contrast, and of the encoder: blocks, packages, feature groups
    "taobao": (({"contrastive"}, {"seq_augment"}), ({"user_seq"}, {"seq_encoder"}, {"user_seq"})),
    "ml1m": (({"contrast"}, {"view"}), ({"history"}, {"encoder"}, {"history"})),
}


@pytest.mark.parametrize("data", TWINS)
def test_twins_differ_in_the_contrastive_blocks_and_in_the_encoder(data):
    contrast, encoder = TWINS[data]
    cl4srec, bst, mlp = (
        load_config(str(SAMPLES / f"{model}_on_{data}.config")).message for model in ("cl4srec", "bst", "mlp")
    )
    assert len({config.model_dir for config in (cl4srec, bst, mlp)}) == 3
    assert without(cl4srec, *contrast) == without(bst, (), ())
    assert without(bst, *encoder) == without(mlp, (), ())
