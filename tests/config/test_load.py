import pathlib

import pytest

from easyssl.config import Config, PipelineConfig, load_config, parse_config
from easyssl.config.parse import MAX_BYTES
from easyssl.errors import ConfigError

SMALL = pathlib.Path(__file__).with_name("small.config").read_text()


def error_of(text, path="a.config", **options):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads_what_the_text_says():
    message = parse_config(SMALL).message
    assert message.train_config.num_steps == 10
    assert [field.input_name for field in message.data_config.input_fields] == ["user", "item"]
    assert [field.input_type for field in message.data_config.input_fields] == [2, 1]
    assert message.model_config.backbone.blocks[0].keras_layer.st_params["rate"] == 0.5
    schedule = message.train_config.optimizer_config[0].adam_optimizer.learning_rate
    assert schedule.exponential_decay_learning_rate.decay_steps == 100


def test_unset_fields_have_their_defaults_and_presence():
    message = parse_config("train_config {} data_config { batch_size: 32 }").message
    assert message.train_config.save_checkpoints_steps == 1000
    assert not message.train_config.HasField("save_checkpoints_steps")
    assert message.data_config.HasField("batch_size")


def test_the_last_scalar_and_the_last_oneof_member_win():
    config = parse_config(
        "train_config { num_steps: 1 num_steps: 2 } train_config { num_steps: 3 seed: 4 }\n"
        "eval_config { metrics_set { auc {} max_f1 {} } }"
    )
    assert (config.message.train_config.num_steps, config.message.train_config.seed) == (3, 4)
    assert config.message.eval_config.metrics_set[0].WhichOneof("metric") == "max_f1"


def test_the_original_cl4srec_config(real_data):
    path = real_data("configs/cl4srec_model_config.txt")
    config = load_config(path)
    model = config.message.model_config
    assert [block.name for block in model.backbone.blocks] == ["user_seq", "contrastive", "main"]
    assert [package.name for package in model.backbone.packages] == ["seq_augment", "seq_encoder"]
    bst = model.backbone.packages[1].blocks[0].keras_layer.bst
    assert (bst.hidden_size, bst.max_position_embeddings, bst.output_all_token_embeddings) == (128, 50, False)
    assert list(model.backbone.top_mlp.hidden_units) == [256, 128]
    assert config.warnings == [] and config.refused == ()
    line = config.where("model_config.backbone.blocks[1].inputs[1].package_input").split(":")[-2]
    assert path.read_text().splitlines()[int(line) - 1].strip() == "package_input: 'seq_augment'"
    again = parse_config(config.text())
    assert again.message == config.message


def test_bom_is_stripped_and_places_count_without_it(tmp_path):
    path = tmp_path / "a.config"
    path.write_bytes(b"\xef\xbb\xbfmodel_dir: 'x'")
    config = load_config(path)
    assert config.message.model_dir == "x"
    assert config.where("model_dir") == f"{path}:1:1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "model_config {\n  modl_name: 'x'\n}",
            "a.config:2:3: EasyRecModel has no field 'modl_name'; did you mean 'model_name'?",
        ),
        (
            "model_config { loss_type: CLASIFICATION }",
            "a.config:1:27: model_config.loss_type: 'CLASIFICATION' is not a LossType; "
            "did you mean 'CLASSIFICATION'?",
        ),
        (
            "train_config { num_steps: -1 }",
            "a.config:1:27: train_config.num_steps: expected an integer from 0 to 4294967295, found -1",
        ),
        (
            "train_config { sync_replicas: maybe }",
            "a.config:1:31: train_config.sync_replicas: expected true or false, found maybe",
        ),
        ("model_dir: 3", "a.config:1:12: model_dir: expected a string in quotes, found 3"),
        ("model_dir: 'x", "a.config:1:12: model_dir: the string that starts here does not end in this line"),
        (
            "model_dir: '\\xff'",
            "a.config:1:18: model_dir: the string holds an escape that stands for no character",
        ),
        ("model_config: 3", 'a.config:1:15: model_config: expected "{", found 3'),
        ("train_config { num_steps 3 }", 'a.config:1:26: train_config.num_steps: expected ":", found 3'),
        (
            "train_config {\n num_steps: 3\n",
            "a.config:2:13: train_config.num_steps: the closing } is missing",
        ),
        ("}", "a.config:1:1: expected a field name, found }"),
        (
            "data_config { label_dim: [1, x] }",
            "a.config:1:30: data_config.label_dim[1]: expected an integer from 0 to 4294967295, found x",
        ),
        ("[a.b] {}", "a.config:1:4: expected a field name, found ["),
        ("train_config { 1: 2 }", None),
    ],
)
def test_errors_name_place_found_and_expected(text, expected):
    message = error_of(text)
    if expected is not None:
        assert message == expected


def test_deep_nesting_is_an_error_with_a_place():
    struct = "model_config { backbone { blocks { keras_layer { st_params "
    deep = struct + "{ fields { key: 'a' value { struct_value " * 3000
    assert (
        error_of(deep) == f"a.config:1:{len(deep[: deep.index(' ', 855)]) + 2}: nested deeper than 64 levels"
    )
    assert "nested deeper" in error_of("x {" * 50_000)
    assert "nested deeper" in error_of('{"a":' * 50_000, "a.json")


def test_runs_of_backslashes_are_bounded():
    text = "model_dir: 'a'\nmodel_dir: '" + "\\" * 100_000 + "'"
    assert error_of(text) == "a.config:2:13: more than 256 backslashes in a row"
    assert parse_config("model_dir: '" + "\\" * 256 + "'").message.model_dir == "\\" * 128


def test_size_is_bounded(tmp_path):
    text = "#" * (MAX_BYTES + 1)
    assert "larger than" in error_of(text)
    path = tmp_path / "big.config"
    path.write_text(text)
    with pytest.raises(ConfigError, match="larger than"):
        load_config(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"model_dir: 'a'\nmodel_dir: '\xff'", ":2:13: not UTF-8 text"), (None, "cannot be read: No such file")],
)
def test_files_that_cannot_be_read(tmp_path, content, words):
    path = tmp_path / "a.config"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path)) and words in str(caught.value)


def test_a_folder_is_not_a_config(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_error_starts_with_the_place_of_the_field_or_of_what_encloses_it():
    config = parse_config(SMALL, "dir/a.config")
    error = config.error("train_config.num_steps", "too small")
    assert isinstance(error, ConfigError)
    assert str(error) == "dir/a.config:8:3: train_config.num_steps: too small"
    assert config.where("train_config.seed") == "dir/a.config:4:1"
    assert config.where("export_config.verify") == "dir/a.config:1:1"


def test_a_message_made_in_python_has_no_places():
    message = PipelineConfig(model_dir="x")
    config = Config(message)
    assert config.where("model_dir") == "<config>:1:1"
