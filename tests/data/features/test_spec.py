"""build_feature_specs: what is read."""

import subprocess
import sys

import numpy as np
import pytest
from feature_specs import COMBO, EXPR, LOOKUP, NAME, config_of, error_of, group, specs_of

from easyssl.config import parse_config
from easyssl.data.features.names import expand_name
from easyssl.data.features.spec import build_feature_specs, column_types, group_features
from easyssl.layers.embedding_table import create_tables


def test_defaults_and_order():
    specs = specs_of(
        'features { input_names: "user" hash_bucket_size: 10 embedding_dim: 4 } '
        'features { feature_name: "cost" input_names: "price" feature_type: RawFeature }'
    )
    assert list(specs) == ["user", "cost"]
    user, cost = specs.values()
    assert (user.kind, user.rows, user.width, user.combiner, user.separator) == ("id", 10, 4, "sum", "|")
    assert (cost.kind, cost.rows, cost.width, cost.inputs) == ("values", 1, 1, ("price",))


def test_old_feature_list_wins_when_it_is_not_empty():
    both = """
        feature_config { features { input_names: "user" hash_bucket_size: 10 } }
        feature_configs { input_names: "item" num_buckets: 7 }
    """
    assert list(specs_of(both, field="both")) == ["item"]


def test_computed_features():
    specs = specs_of(
        f'features {{ {NAME} input_names: ["user", "item"] {COMBO} hash_bucket_size: 9 embedding_dim: 2 }} '
        f'features {{ feature_name: "g" input_names: ["user", "tags"] {LOOKUP} kv_separator: ":" }} '
        f'features {{ feature_name: "h" input_names: ["item", "price"] {EXPR} expression: "item < price" }} '
        f'features {{ feature_name: "s" input_names: ["user", "tags"] {COMBO} hash_bucket_size: 9 '
        '  combo_input_seps: ["", "|"] combo_join_sep: "_" }'
    )
    assert [(spec.kind, spec.rows, spec.element) for spec in specs.values()] == [
        ("id", 9, "IdFeature"),
        ("tags", 10, "IdFeature"),
        ("values", 1, "RawFeature"),
        ("tags", 9, "IdFeature"),
    ]
    assert specs["s"].combo_input_seps == ("", "|")


def test_parsing_needs_no_tensorflow():
    code = "import sys, easyssl.data.features.spec; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "fields, kind, size, ignored",
    [
        ('hash_bucket_size: 9 vocab_list: ["a"] num_buckets: 3', "hash", 9, ["vocab_list", "num_buckets"]),
        ('vocab_list: ["a", "b"] num_buckets: 3', "vocabulary", 2, ["num_buckets"]),
        ("num_buckets: 3", "integer", 3, []),
    ],
)
def test_first_bucket_definition_wins_and_the_others_are_named(fields, kind, size, ignored):
    config = config_of(f'features {{ input_names: "user" {fields} }}')
    spec = build_feature_specs(config)["user"]
    assert (spec.buckets.kind, spec.buckets.size) == (kind, size)
    assert [w.split(" has no effect")[0].rsplit(".", 1)[1] for w in config.warnings] == ignored
    assert all(w.startswith("test.config:") for w in config.warnings)


def test_vocabulary_file_is_found_beside_the_config(tmp_path):
    (tmp_path / "vocab.txt").write_text("é\r\nb\n c\n", encoding="utf-8")
    spec = specs_of('features { input_names: "user" vocab_file: "vocab.txt" }', folder=tmp_path)["user"]
    assert spec.buckets.entries == ("é", "b", " c")


@pytest.mark.parametrize("content, message", [("", "is empty"), ("a\nb\na\n", "'a' occurs twice")])
def test_bad_vocabulary_file(tmp_path, content, message):
    (tmp_path / "vocab.txt").write_text(content)
    error = error_of('features { input_names: "user" vocab_file: "vocab.txt" }', folder=tmp_path)
    assert "features[0].vocab_file: " in error and message in error


def test_missing_vocabulary_file(tmp_path):
    error = error_of('features { input_names: "user" vocab_file: "none.txt" }', folder=tmp_path)
    assert "'none.txt' cannot be read: No such file" in error


def test_boundaries_are_sorted():
    spec = specs_of(
        'features { input_names: "price" feature_type: RawFeature boundaries: [5, 1, 3] embedding_dim: 2 }'
    )
    assert spec["price"].buckets.boundaries == (1, 3, 5)
    assert spec["price"].rows == 4


def test_number_of_buckets_makes_equal_intervals():
    spec = specs_of('features { input_names: "price" feature_type: RawFeature num_buckets: 4 max_val: 10 }')[
        "price"
    ]
    assert spec.buckets.boundaries == (0.0, 0.25, 0.5, 0.75)
    assert spec.rows == 5


def test_a_range_whose_end_is_not_above_its_start_scales_nothing():
    text = 'features { input_names: "price" feature_type: RawFeature num_buckets: 4 min_val: 1 embedding_dim: 2 }'
    spec = specs_of(text)["price"]
    assert spec.buckets is None and spec.max_val - spec.min_val <= 0


def test_vector_buckets_have_rows_for_each_component():
    spec = specs_of(
        'features { input_names: "tags" feature_type: RawFeature raw_input_dim: 3 boundaries: [1, 2] }'
    )
    assert spec["tags"].rows == 9


@pytest.mark.parametrize("text", ["tf.math.log1p", "tf.math.log1p(x)", "lambda x: tf.math.log1p(x)"])
def test_normalizer_may_be_a_name_or_an_expression(text):
    spec = specs_of(f'features {{ input_names: "price" feature_type: RawFeature normalizer_fn: "{text}" }}')
    assert spec["price"].normalizer.endswith("tf.math.log1p(x)")


def test_shared_names_clone_the_feature():
    specs = specs_of('features { input_names: "user" shared_names: ["tags", "hist"] hash_bucket_size: 10 }')
    assert {name: spec.inputs for name, spec in specs.items()} == {
        "user": ("user",),
        "tags": ("tags",),
        "hist": ("hist",),
    }
    assert {spec.rows for spec in specs.values()} == {10}


def test_ranges_of_names_are_expanded_where_the_config_says_so():
    config = parse_config("""
        data_config {
            auto_expand_input_fields: true
            input_fields { input_name: "p[1-3]" input_type: INT32 }
        }
        feature_config { features { input_names: "p1" shared_names: "p[2-3]" num_buckets: 5 } }
    """)
    assert column_types(config) == {"p1": "INT32", "p2": "INT32", "p3": "INT32"}
    assert list(build_feature_specs(config)) == ["p1", "p2", "p3"]
    assert expand_name("p[7-7]") == ["p7"]
    assert expand_name("p[7-8]_x") == ["p7_x", "p8_x"]
    with pytest.raises(ValueError, match="count upwards"):
        expand_name("p[3-1]")


def test_members_of_groups_are_used_and_others_are_not():
    features = 'features { input_names: "user" hash_bucket_size: 9 embedding_dim: 4 } '
    features += 'features { input_names: "item" }'
    specs = specs_of(features, group('"user"'))
    assert (specs["user"].used, specs["item"].used) == (True, False)


SHARED = 'hash_bucket_size: 10 embedding_dim: 4 embedding_name: "e"'


def test_shared_tables_need_two_members():
    specs = specs_of(
        f'features {{ input_names: "user" {SHARED} }} '
        f'features {{ input_names: "hist" feature_type: SequenceFeature {SHARED} }} '
        'features { input_names: "item" hash_bucket_size: 3 embedding_dim: 2 embedding_name: "alone" }'
    )
    assert [spec.shared for spec in specs.values()] == [True, True, False]
    described = group_features(specs, specs, "main/g")
    assert [feature["table"] for feature in described] == ["e", "e", "main/g/item"]
    wide = group_features(specs, ["user"], "main/g", wide_output_dim=1)[0]
    assert (wide["table"], wide["dim"], wide["rows"], wide["combiner"]) == ("main/g/user", 1, 10, "sum")


@pytest.mark.parametrize(
    "other, field",
    [
        ('hash_bucket_size: 10 embedding_dim: 8 embedding_name: "e"', "embedding_dim"),
        ('hash_bucket_size: 11 embedding_dim: 4 embedding_name: "e"', "number of ids"),
        (f'{SHARED} combiner: "mean"', "combiner"),
        (f"{SHARED} initializer {{ glorot_normal_initializer {{}} }}", "initializer"),
    ],
)
def test_shared_tables_must_agree(other, field):
    error = error_of(
        f'features {{ input_names: "user" {SHARED} }} features {{ input_names: "item" {other} }}'
    )
    assert f"'item' shares the table 'e' with 'user', so its {field} must be" in error


def test_different_limits_of_a_shared_table_are_mentioned():
    config = config_of(
        f'features {{ input_names: "tags" feature_type: SequenceFeature max_seq_len: 3 {SHARED} }} '
        f'features {{ input_names: "hist" feature_type: SequenceFeature max_seq_len: 5 {SHARED} }}'
    )
    specs = build_feature_specs(config)
    assert (specs["tags"].max_seq_len, specs["hist"].max_seq_len) == (3, 5)
    assert any("keeps its own limit 5" in w for w in config.warnings)


def test_initializers_are_keras_initializers():
    specs = specs_of(
        'features { input_names: "user" initializer { random_normal_initializer { stddev: 0.5 } } } '
        'features { input_names: "item" initializer { constant_initializer { consts: 2 } } }'
    )
    assert specs["user"].initializer == {
        "class_name": "RandomNormal",
        "config": {"mean": 0.0, "stddev": 0.5},
    }
    assert specs["item"].initializer == {"class_name": "Constant", "config": {"value": 2.0}}
    table = 'input_names: "user" num_buckets: 3 embedding_dim: 2 '
    numbers = "initializer { constant_initializer { consts: [1, 2, 3, 4, 5, 6] } }"
    (spec,) = specs_of(f"features {{ {table} {numbers} }}").values()
    assert spec.initializer["config"]["value"] == [[1, 2], [3, 4], [5, 6]]
    np.testing.assert_array_equal(
        create_tables(group_features({"user": spec}, ["user"], ""))["/user"](np.array([1])), [[3, 4]]
    )
    error = error_of(f"features {{ {table} {numbers} }}", group('"user"', kind="WIDE"))
    assert "initializer.constant_initializer: the WIDE group 'g' has tables of another width" in error
