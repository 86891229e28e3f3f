"""The page of what each field of EasyRec's configs does here."""

import re
import runpy

import pytest

from easyssl.config import parse_config


@pytest.fixture
def program(root):
    return runpy.run_path(str(root / "docs" / "make_compatibility.py"))


@pytest.fixture
def rows(root):
    """Message or enum -> field or value -> (state, reason)."""
    found, name = {}, None
    for line in (root / "docs" / "easyrec-compatibility.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            name = line.removeprefix("### ")
            found[name] = {}
        elif match := re.match(r"\| `(\w+)` \| \**(\w+)\** \| (.*) \|$", line):
            found[name][match[1]] = (match[2], match[3])
    return found


def test_page_is_what_the_descriptors_make(root, program):
    page = (root / "docs" / "easyrec-compatibility.md").read_text(encoding="utf-8")
    assert program["make"]() == page, "run python docs/make_compatibility.py"


def test_every_field_of_the_format_is_there_and_ours_are_not(root, rows):
    text = (root / "tests" / "config" / "expected_fields.txt").read_text(encoding="utf-8")
    fields = [line.split()[0].rpartition(".")[::2] for line in text.splitlines() if not line.startswith("#")]
    expected = {(name.replace("EasyRecConfig", "PipelineConfig"), field) for name, field in fields}
    assert expected <= {(name, field) for name, fields in rows.items() for field in fields}
    assert "EarlyStopping" not in rows and "seed" not in rows["TrainConfig"]


@pytest.mark.parametrize(
    ("text", "message", "field"),
    [
        ("train_config { write_graph: false }", "TrainConfig", "write_graph"),
        ("train_config { train_distribute: HorovodStrategy }", "DistributionStrategy", "HorovodStrategy"),
        ("kafka_train_input { topic: 't' }", "PipelineConfig", "kafka_train_input"),
        ("kafka_train_input { topic: 't' }", "KafkaServer", "topic"),
        ("data_config { input_type: OdpsInput }", "DatasetConfig.InputType", "OdpsInput"),
        ("train_config { num_steps: 3 }", "TrainConfig", "num_steps"),
    ],
)
def test_the_page_says_what_reading_a_config_says(rows, text, message, field):
    config = parse_config(text)
    state = "refused" if config.refused else "accepted" if config.warnings else "acts"
    assert rows[message][field][0] == state


def test_whatever_does_not_act_has_a_reason(rows):
    for fields in rows.values():
        assert all(reason for state, reason in fields.values() if state != "acts")
