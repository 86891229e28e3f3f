"""Configs with features, for tests of what becomes of them."""

import textwrap

import pytest

from easyssl.config import parse_config
from easyssl.data.features.spec import build_feature_specs
from easyssl.errors import ConfigError

COLUMNS = [
    ("user", "STRING"),
    ("item", "INT64"),
    ("price", "FLOAT"),
    ("flag", "BOOL"),
    ("tags", "STRING"),
    ("hist", "STRING"),
    ("weights", "STRING"),
]

COMBO = "feature_type: ComboFeature"
LOOKUP = "feature_type: LookupFeature hash_bucket_size: 10"
EXPR = "feature_type: ExprFeature"
NAME = 'feature_name: "f"'


def config_of(features, groups="", field="feature_config", data="", folder=None):
    fields = "\n".join(f'input_fields {{ input_name: "{n}" input_type: {t} }}' for n, t in COLUMNS)
    if field == "feature_config":
        features = f"feature_config {{\n{features}\n}}"
    path = "test.config" if folder is None else str(folder / "test.config")
    text = f"data_config {{\n{fields}\n{data}\n}}\n{features}\nmodel_config {{\n{groups}\n}}\n"
    return parse_config(textwrap.dedent(text), path)


def specs_of(features, groups="", **kwargs):
    return build_feature_specs(config_of(features, groups, **kwargs))


def error_of(features, groups="", **kwargs):
    with pytest.raises(ConfigError) as caught:
        specs_of(features, groups, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and "test.config:" in message
    return message


def group(names, extra="", kind="DEEP"):
    return f'feature_groups {{ group_name: "g" feature_names: {names} wide_deep: {kind} }} {extra}'
