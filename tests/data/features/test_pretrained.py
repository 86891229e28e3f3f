"""pretrained_vectors of features, as far as a plan sees them."""

import numpy as np
import pytest

from easyssl.config import parse_config
from easyssl.data.features.spec import build_feature_specs
from easyssl.data.features.types import Pretrained, group_features
from easyssl.data.item_vectors import write_vectors
from easyssl.errors import ConfigError

HEAD = """
    data_config { input_fields { input_name: "item" } input_fields { input_name: "hist" } }
    model_config { feature_groups { group_name: "g" feature_names: ["item"] wide_deep: %s } }
    feature_config { %s }
"""
ITEM = 'features { input_names: "item" embedding_name: "text" %s pretrained_vectors { path: "v.npz" } }'
HIST = 'features { input_names: "hist" feature_type: SequenceFeature embedding_name: "text" %s }'


@pytest.fixture
def read(tmp_path):
    write_vectors(str(tmp_path / "v.npz"), ["1", "2", "7"], np.ones([3, 4]))

    def run(features, side="DEEP"):
        config = parse_config(HEAD % (side, features), str(tmp_path / "a.config"))
        return config, build_feature_specs(config)

    run.path = str(tmp_path / "v.npz")
    return run


def test_the_width_comes_from_the_file(read):
    config, specs = read(ITEM % "num_buckets: 3")
    assert specs["item"].embedding_dim == 4
    assert specs["item"].pretrained == Pretrained(read.path, trainable=False)
    (feature,) = group_features(specs, ["item"], "g")
    assert feature["pretrained"] == {
        "path": read.path,
        "kind": "integer",
        "size": 3,
        "entries": [],
        "trainable": False,
    }
    assert config.warnings[0].endswith("pretrained_vectors: 'v.npz': 1 of 3 vectors have no id below 3")


@pytest.mark.parametrize(
    ("ids", "warnings"),
    [
        ("num_buckets: 8", ["4 of 8 ids have no vector and get zeros"]),  # 3, 4, 5 and 6
        ('vocab_list: ["7", "x", "1"]', ["1 of 3 ids have no vector and get zeros"]),
        ("hash_bucket_size: 100", []),
    ],
)
def test_ids_without_a_vector_are_counted(read, ids, warnings):
    config, _ = read(ITEM % ids)
    assert len(config.warnings) == len(warnings)
    assert all(text in warning for text, warning in zip(warnings, config.warnings, strict=True))


def test_a_history_shares_the_table(read):
    same = 'num_buckets: 8 pretrained_vectors { path: "v.npz" }'
    config, specs = read(ITEM % "num_buckets: 8" + HIST % same)
    assert len(config.warnings) == 1  # once for both
    assert {feature["table"] for feature in group_features(specs, ["item", "hist"], "g")} == {"text"}


def test_a_file_that_is_not_there_yet_is_no_error_if_the_width_is_known(read):
    _, specs = read((ITEM % "num_buckets: 8 embedding_dim: 4").replace("v.npz", "later.npz"))
    assert specs["item"].embedding_dim == 4


@pytest.mark.parametrize(
    ("features", "field", "text"),
    [
        (
            ITEM % "num_buckets: 8 embedding_dim: 5",
            "embedding_dim",
            "is 5, but the vectors of 'v.npz' have 4",
        ),
        (ITEM % "", "pretrained_vectors", "needs ids"),
        (ITEM % "num_buckets: 1", "pretrained_vectors.path", "no id of the file"),
        ((ITEM % "num_buckets: 8").replace("v.npz", "w.npz"), "pretrained_vectors.path", "w.npz: cannot be"),
        ((ITEM % "num_buckets: 8").replace("v.npz", ""), "pretrained_vectors.path", "is not set"),
        (
            ITEM % "num_buckets: 8 initializer { constant_initializer { consts: 0 } }",
            "initializer",
            "leave one of them out",
        ),
        (ITEM % "num_buckets: 8" + HIST % "num_buckets: 8 embedding_dim: 4", "pretrained_vectors", "shares"),
        (
            ITEM % "num_buckets: 3"
            + HIST % 'vocab_list: ["1", "2", "7"] pretrained_vectors { path: "v.npz" }',
            "pretrained_vectors",
            "and the same ids",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_at_its_field(read, features, field, text):
    with pytest.raises(ConfigError) as raised:
        read(features)
    place = "[1]" if "shares the table" in str(raised.value) else "[0]"
    assert f"feature_config.features{place}.{field}: " in str(raised.value) and text in str(raised.value)


def test_a_wide_group_has_no_such_table(read):
    with pytest.raises(ConfigError, match="the WIDE group 'g' has tables of its own, without 'item'"):
        read(ITEM % "num_buckets: 8", "WIDE")
