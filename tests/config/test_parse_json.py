import pathlib

import pytest
from google.protobuf import json_format

from easyssl.config import load_config, parse_config
from easyssl.errors import ConfigError

SMALL = pathlib.Path(__file__).with_name("small.config").read_text()


def error_of(text):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "a.json")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_json_reads_the_same_message(tmp_path):
    config = parse_config(SMALL)
    path = tmp_path / "a.json"
    path.write_text(json_format.MessageToJson(config.message))
    assert load_config(path).message == config.message
    path.write_text(json_format.MessageToJson(config.message, preserving_proto_field_name=True))
    read = load_config(path, ["train_config.num_steps=11"])
    assert read.message.train_config.num_steps == 11
    line = read.where("data_config.input_fields[1].input_type").split(":")[1]
    assert "INT64" in path.read_text().splitlines()[int(line) - 1]
    assert read.where("model_config.backbone.blocks[0].keras_layer.st_params.rate").startswith(f"{path}:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"trainConfig":\n {"numStepz": 3}}',
            "a.json:2:3: train_config.numStepz: TrainConfig has no field 'numStepz'; "
            "did you mean 'num_steps'?",
        ),
        (
            '{"train_config": {"num_steps": "a"}}',
            'a.json:1:19: train_config.num_steps: expected an integer from 0 to 4294967295, found "a"',
        ),
        ('{"model_config": {"loss_type": "L2"}}', None),
        (
            '{"data_config": {"label_dim": [1, -1]}}',
            "a.json:1:35: data_config.label_dim[1]: expected an integer from 0 to 4294967295, found -1",
        ),
        (
            '{"data_config": {"label_dim": 1}}',
            "a.json:1:18: data_config.label_dim: expected a list [ ... ], found 1",
        ),
        ('{"data_config": []}', "a.json:1:2: data_config: expected an object { ... }, found []"),
        ("[]", "a.json:1:1: expected an object { ... }, found []"),
        ('{"model_dir": "a", "modelDir": "b"}', "a.json:1:20: model_dir: given twice"),
        (
            '{"train_input_path": "a", "parquet_train_input": "b"}',
            "a.json:1:27: parquet_train_input: only one of 'train_input_path' and "
            "'parquet_train_input' can be given",
        ),
        ('{"model_dir": }', "a.json:1:15: not JSON: Expecting value"),
        ("", "a.json:1:1: not JSON: Expecting value"),
        ('{"model_dir": "\\ud800"}', None),
    ],
)
def test_json_errors_name_place_found_and_expected(text, expected):
    message = error_of(text)
    if expected is not None:
        assert message == expected
