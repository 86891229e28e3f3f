"""`easyssl convert`: every set field with its line and what it does, and the exit code."""

import os
import subprocess
import sys

import pytest

from easyssl.config import load_config

WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None
from easyssl.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def sections(out):
    """Returns the lines of each section by its name."""
    found, name = {}, None
    for line in out.splitlines():
        if line.startswith("  "):
            found[name].append(line.strip())
        else:
            name = line.split(":")[0]
            found[name] = []
    return found


def test_a_config_that_acts_is_good_and_needs_no_tensorflow(project):
    path = project / "my.config"
    words = [sys.executable, "-c", WITHOUT_TENSORFLOW, "convert", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (done.returncode, done.stderr) == (0, "")
    found = sections(done.stdout)
    assert found["has no effect"] == found["refused"] == []
    assert done.stdout.endswith("nothing that changes results is ignored\n")
    text = path.read_text().splitlines()
    for line in found["acts"]:
        place, field, value = line.split(": ", 2)
        file, row, column = place.rsplit(":", 2)
        there = text[int(row) - 1][int(column) - 1 :]
        assert file == str(path) and there.startswith((field.split(".")[-1].split("[")[0], value))
    rows = [int(line.split(":")[1]) for line in found["acts"]]
    assert rows == sorted(rows)
    units = "model_config.backbone.blocks[0].keras_layer.mlp.hidden_units"
    assert [line.split(": ", 1)[1] for line in found["acts"] if units in line] == [
        f"{units}[0]: 8",
        f"{units}[1]: 4",
    ]


def test_every_set_field_is_told_once(easyssl, project):
    path = project / "my.config"
    path.write_text(
        path.read_text().replace("num_steps: 4", "num_steps: 4 sync_replicas: false summary_model_vars: true")
    )
    code, out, err = easyssl("convert", path)
    found = sections(out)
    assert code == 0 and err == ""
    leaves = leaves_of(load_config(path).message)
    told = [line.split(": ")[1] for lines in found.values() for line in lines]
    assert sorted(told) == sorted(leaves)
    assert [line.split(": ")[1] for line in found["has no effect"]] == [
        "train_config.sync_replicas",
        "train_config.summary_model_vars",
    ]


def leaves_of(message, prefix=""):
    """Paths of the scalars and empty messages that are set."""
    found = [] if message.ListFields() else [prefix[:-1]]
    for field, value in message.ListFields():
        name = f"{prefix}{field.name}"
        elements = (
            [(f"{name}[{i}]", v) for i, v in enumerate(value)] if field.is_repeated else [(name, value)]
        )
        for path, element in elements:
            found += [path] if field.message_type is None else leaves_of(element, f"{path}.")
    return found


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("input_type: CSVInput", "input_type: KafkaInput", "data_config.input_type: KafkaInput: "),
        (
            'train_input_path: "train.csv"',
            "hive_train_input { host: 'h' }",
            "hive_train_input: rows come from files",
        ),
    ],
)
def test_what_would_change_results_is_told_with_its_line(easyssl, project, old, new, line):
    path = project / "my.config"
    path.write_text(path.read_text().replace(old, new))
    code, out, err = easyssl("convert", path, "--brief")
    assert code == 2 and len(err.splitlines()) == 1 and err.startswith(f"{path}:")
    found = sections(out)
    assert found["acts"] == [] and len(found["refused"]) == 1 and line in found["refused"][0]
    place = found["refused"][0].split(": ")[0]
    assert (
        err.startswith(f"{place}: ")
        and path.read_text().splitlines()[int(place.split(":")[1]) - 1].find(new) >= 0
    )


def test_what_no_field_says_but_the_plan_finds_is_an_error_too(easyssl, project):
    code, out, err = easyssl(
        "convert", project / "my.config", "--set", "feature_config.features[0].input_names[0]=usr"
    )
    assert code == 2 and "'usr'" in err and "nothing that changes" not in out


@pytest.mark.parametrize("command", [("convert",), ("check", "--plan-only")])
@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (
            "exponential_decay_learning_rate { decay_steps: 0 }",
            "decay_steps is 0, expected a positive number",
        ),
        (
            "manual_step_learning_rate { schedule { step: 5 } schedule { step: 5 } }",
            "the steps are [5, 5], expected positive numbers that increase",
        ),
        (
            "cosine_decay_learning_rate { learning_rate_base: 0.01 warmup_learning_rate: 0.1 }",
            "warmup_learning_rate 0.1 is above learning_rate_base 0.01",
        ),
        ("poly_decay_learning_rate { learning_rate_base: 0.1 }", "'total_steps' is not set"),
        (
            "transformer_learning_rate { learning_rate_base: 1 hidden_size: 0 warmup_steps: 2 }",
            "hidden_size is 0, expected a positive number",
        ),
        ("constant_learning_rate { learning_rate: -1 }", "found -1, expected a rate of at least 0"),
        ("", "no learning rate is set"),
    ],
)
def test_a_schedule_that_cannot_be_is_told_with_its_line(easyssl, project, command, rate, text):
    path = project / "my.config"
    whole = path.read_text()
    start = whole.index("learning_rate {") + len("learning_rate {")
    depth, end = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(whole[end], 0)
        end += 1
    path.write_text(f"{whole[:start]} {rate} {whole[end - 1 :]}")
    line = whole[:start].count("\n") + 1
    code, out, err = easyssl(command[0], path, *command[1:])
    assert code == 2 and err.startswith(f"{path}:{line}:") and text in err and len(err.splitlines()) == 1
    assert "nothing that changes" not in out


def test_parameters_of_layers_and_overrides_have_places(easyssl, project):
    path = project / "my.config"
    old = 'class_name: "MLP" mlp { hidden_units: [8, 4] }'
    new = """class_name: "MLP" st_params { fields { key: "hidden_units" value {
        list_value { values { number_value: 8 } } } } }"""
    path.write_text(path.read_text().replace(old, new))
    code, out, err = easyssl("convert", path, "--set", "train_config.seed=7")
    assert code == 0, err
    acts = sections(out)["acts"]
    assert acts[-1] == "--set train_config.seed=7: train_config.seed: 7"
    row = 1 + next(i for i, line in enumerate(path.read_text().splitlines()) if "st_params" in line)
    units = next(line for line in acts if "hidden_units" in line)
    assert units.startswith(f"{path}:{row}:")
    assert units.endswith(": model_config.backbone.blocks[0].keras_layer.st_params.hidden_units: [8.0]")
