"""Whatever the text, nothing but a ConfigError of one line escapes."""

import json
import pathlib

from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.config import PipelineConfig, parse_config
from easyssl.errors import ConfigError

SMALL = pathlib.Path(__file__).with_name("small.config").read_text()


SNIPPETS = st.sampled_from(
    ["{", "}", "<", ">", "[", "]", ":", ";", ",", "'", '"', "''", "#", "\\", "\ufeff", "\0", "\n", "\t", "é"]
    + ["-1", "0", "1e999", "nan", "99999999999999999999", "true", "RankModel", "train_config", "data_config"]
    + ["model_config", "backbone", "blocks", "fields", "key", "value", "struct_value", "list_value", "lambda"]
)
JSON_NAMES = [
    "train_config",
    "modelConfig",
    "num_steps",
    "backbone",
    "blocks",
    "keras_layer",
    "st_params",
    "x",
]
PATHS = [
    "train_config",
    "train_config.num_steps",
    "train_config.seed[",
    "train_config.optimizer_config[+]",
    "feature_config.features[name=user]",
    "feature_config.features[0].embedding_dim",
    "data_config.label_fields",
    "data_config.label_fields[+]",
    "model_config.backbone.blocks[0].keras_layer.st_params.rate",
    "model_dir",
]


def check(text, path):
    try:
        config = parse_config(text, path)
    except ConfigError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(f"{path}:")
    else:
        assert parse_config(config.text()).message == config.message or "nan" in config.text()
        for known in config._places.known:
            assert config.where(known).startswith(f"{path}:")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_configs_fail_with_one_line_or_read(data):
    text = SMALL
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(st.lists(SNIPPETS, max_size=3).map(" ".join)) + text[end:]
    check(text, "f.config")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80) | st.lists(SNIPPETS, max_size=25).map(" ".join))
def test_arbitrary_text_fails_with_one_line_or_reads(text):
    check(text, "f.config")
    check(text, "f.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(JSON_NAMES),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_arbitrary_json_fails_with_one_line_or_reads(value):
    check(json.dumps(value), "f.json")


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=40)
    | st.tuples(
        st.sampled_from(PATHS),
        st.text(max_size=20) | st.lists(SNIPPETS, max_size=6).map(" ".join),
    ).map("=".join)
)
def test_arbitrary_overrides_fail_with_one_line_or_set(override):
    try:
        config = parse_config(SMALL, "f.config", overrides=[override])
    except ConfigError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("--set ")
    else:
        text_format.Parse(config.text(), PipelineConfig(), allow_unknown_field=False)
