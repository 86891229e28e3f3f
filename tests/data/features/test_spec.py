"""build_feature_specs: what is read, what is refused and where."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from easyssl.config import parse_config
from easyssl.data.features.names import expand_name
from easyssl.data.features.spec import build_feature_specs, column_types, group_features
from easyssl.errors import ConfigError
from easyssl.layers.embedding_table import create_tables

COLUMNS = [
    ("user", "STRING"),
    ("item", "INT64"),
    ("price", "FLOAT"),
    ("flag", "BOOL"),
    ("tags", "STRING"),
    ("hist", "STRING"),
    ("weights", "STRING"),
]


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


RAW = "feature_type: RawFeature"
TAG = "feature_type: TagFeature hash_bucket_size: 10"
SEQUENCE = "feature_type: SequenceFeature hash_bucket_size: 10"
COMBO = "feature_type: ComboFeature"
LOOKUP = "feature_type: LookupFeature hash_bucket_size: 10"
EXPR = "feature_type: ExprFeature"
NAME = 'feature_name: "f"'


@pytest.mark.parametrize(
    "feature, place, message",
    [
        ("hash_bucket_size: 3", "features[0]", "input_names is empty"),
        (
            'input_names: "usr"',
            "input_names[0]",
            "no column 'usr' in data_config.input_fields; did you mean 'user'?",
        ),
        ('input_names: "user" shared_names: "itm"', "shared_names[0]", "did you mean 'item'?"),
        ('input_names: ["user", "item"]', "input_names", "IdFeature reads 1 column(s), found 2"),
        (f'input_names: "user" {COMBO}', "input_names", "ComboFeature reads 2 or more column(s), found 1"),
        (f'input_names: ["user", "item"] {COMBO}', "features[0]", "ComboFeature needs a feature_name"),
        (f'{NAME} input_names: ["user", "item"] {COMBO}', "features[0]", "needs hash_bucket_size"),
        (
            f'{NAME} input_names: ["user", "price"] {COMBO} hash_bucket_size: 9',
            "features[0]",
            "column 'price' is FLOAT: ids of it need precision above 0",
        ),
        (
            f'{NAME} input_names: ["user", "item"] {COMBO} hash_bucket_size: 9 combo_input_seps: "|"',
            "combo_input_seps",
            "one entry per column, found 1 for 2 columns",
        ),
        (f'{NAME} input_names: "user" {LOOKUP}', "input_names", "LookupFeature reads 2 column(s), found 1"),
        (f'{NAME} input_names: ["user", "tags"] {LOOKUP}', "features[0]", "needs kv_separator"),
        (f'{NAME} input_names: ["user", "item"] {LOOKUP}', "features[0]", "map needs a STRING column"),
        (
            f'{NAME} input_names: ["user", "tags"] {LOOKUP} kv_separator: ":" lookup_max_sel_elem_num: 0',
            "lookup_max_sel_elem_num",
            "at least 1, found 0",
        ),
        (f'{NAME} input_names: "item" {EXPR}', "features[0]", "needs an expression"),
        (f'{NAME} input_names: "item" {EXPR} expression: "itm > 1"', "expression", "did you mean 'item'?"),
        (
            f"""{NAME} input_names: "item" {EXPR} expression: "__import__('os')" """,
            "expression",
            "not a function of the expression language",
        ),
        (
            'input_names: "user" vocab_list: ["a", "b", "a"]',
            "vocab_list",
            "'a' occurs twice, as entries 0 and 2",
        ),
        ('input_names: "price" hash_bucket_size: 9', "features[0]", "need precision above 0"),
        ('input_names: "price" num_buckets: 9', "num_buckets", "needs whole numbers"),
        (f'input_names: "price" {RAW} raw_input_dim: 2', "features[0]", "vectors need a STRING column"),
        (f'input_names: "tags" {RAW} raw_input_dim: 0', "raw_input_dim", "at least 1"),
        (f'input_names: "tags" {RAW} seq_multi_sep: ";"', "seq_multi_sep", "needs combiner"),
        (f'input_names: "tags" {RAW} seq_multi_sep: ";" combiner: "avg"', "combiner", "called 'avg'"),
        (f'input_names: "price" {RAW} min_val: 2 max_val: 1', "max_val", "1.0 is below min_val 2.0"),
        (
            f'input_names: "price" {RAW} normalizer_fn: "os.remove"',
            "normalizer_fn",
            "only functions of 'tf.'",
        ),
        (f'input_names: "tags" {TAG} separator: ""', "separator", "is empty"),
        (f'input_names: "tags" {TAG} separator: "、"', "separator", "must be ASCII"),
        (f'input_names: "tags" {TAG} combiner: "men"', "combiner", "did you mean 'mean'?"),
        (f'input_names: ["tags", "weights"] {TAG} kv_separator: ":"', "kv_separator", "only one way"),
        (f'input_names: "price" {SEQUENCE}', "features[0]", "a sequence needs a STRING column"),
        (
            f'input_names: "hist" {SEQUENCE} sub_feature_type: TagFeature',
            "sub_feature_type",
            "found TagFeature",
        ),
        (f'input_names: "hist" {SEQUENCE} sequence_combiner {{ }}', "sequence_combiner", "found nothing"),
        (
            f'input_names: "hist" {SEQUENCE} sequence_combiner {{ text_cnn {{ }} }}',
            "sequence_combiner.text_cnn",
            "TextCNN needs the parameter 'filter_sizes'",
        ),
        (
            f'input_names: "hist" {SEQUENCE} sequence_combiner {{ text_cnn {{ filter_sizes: [2, 3] num_filters: 4 }} }}',
            "sequence_combiner.text_cnn",
            "2 filter_sizes need as many num_filters, found 1",
        ),
        (
            f'input_names: "hist" {SEQUENCE} sequence_combiner {{ text_cnn {{ filter_sizes: 2 num_filters: 4 mlp {{ }} }} }}',
            "sequence_combiner.text_cnn.mlp",
            "MLP needs the parameter 'hidden_units'",
        ),
        ('input_names: "user" initializer { }', "initializer", "is empty"),
        (
            'input_names: "user" initializer { constant_initializer { consts: [1, 2] } }',
            "initializer.constant_initializer",
            "expected one number, or 0 x 0 row by row, found 2",
        ),
    ],
)
def test_errors_name_the_field(feature, place, message):
    error = error_of(f"features {{ {feature} }}")
    assert f"{place}: " in error and message in error


def test_two_features_of_one_name():
    error = error_of('features { input_names: "user" } features { input_names: "user" }')
    assert "features[1].input_names: a feature called 'user' exists already" in error


HIST = 'features { input_names: "hist" feature_type: SequenceFeature embedding_dim: 4 '


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ("num_buckets: 10", True),
        ("sub_feature_type: RawFeature boundaries: [1, 2]", True),
        ("sub_feature_type: RawFeature sequence_length: 5", True),
        ("hash_bucket_size: 10", False),
        ("num_buckets: 10 empty_sequence: NO_STEP", False),
        ("num_buckets: 10 empty_sequence: ONE_STEP", False),
        ("num_buckets: 10 seq_multi_sep: ';'", False),
    ],
)
def test_an_empty_history_that_would_be_no_number_is_warned_of(fields, warned):
    config = config_of(f"{HIST} {fields} }}")
    build_feature_specs(config)
    told = [w for w in config.warnings if "an empty cell of 'hist' is one step without a number" in w]
    assert len(told) == warned


def test_an_empty_history_with_a_default_or_unused_is_not_warned_of():
    feature = f'{HIST} num_buckets: 10 feature_name: "h" input_names: "hist" }}'.replace(
        'input_names: "hist" ', "", 1
    )
    unused = config_of(
        feature + 'features { input_names: "item" num_buckets: 9 embedding_dim: 4 }', group('"item"')
    )
    build_feature_specs(unused)
    data = 'input_fields { input_name: "h2" default_val: "0" }'
    default = config_of(feature.replace('"hist"', '"h2"'), data=data)
    build_feature_specs(default)
    assert unused.warnings == default.warnings == []


@pytest.mark.parametrize(
    "feature, unused",
    [
        (
            'input_names: "user" hash_bucket_size: 9 kv_separator: ":" boundaries: 1',
            "boundaries kv_separator",
        ),
        (
            f'input_names: "price" {RAW} hash_bucket_size: 9 num_buckets: 5 expression: "x"',
            "hash_bucket_size expression num_buckets",
        ),
        (
            f'input_names: "hist" {SEQUENCE} min_val: 1 max_val: 2 sequence_length: 3',
            "min_val max_val sequence_length",
        ),
        (
            f'{NAME} input_names: "item" {EXPR} expression: "item > 1" max_val: 3 num_buckets: 2',
            "num_buckets max_val",
        ),
        (f'{NAME} input_names: ["user", "item"] {COMBO} hash_bucket_size: 9 vocab_list: "a"', "vocab_list"),
        ('input_names: "user" hash_bucket_size: 9 raw_input_dim: 1 combo_join_sep: "" min_val: 0', ""),
    ],
)
def test_fields_of_other_feature_types_have_no_effect(feature, unused):
    config = config_of(f"features {{ {feature} }}")
    build_feature_specs(config)
    named = [w.split(" has no effect")[0].rsplit(".", 1)[1] for w in config.warnings]
    assert named == unused.split()


HASHED = 'features { input_names: "user" hash_bucket_size: 9 }'
BACKBONE = (
    'model_params {{}} backbone {{ blocks {{ name: "b" inputs {{ feature_group_name: "g" }} {layer} }} }}'
)


@pytest.mark.parametrize(
    "features, groups, place, message",
    [
        (HASHED, group('"usr"'), "feature_groups[0].feature_names[0]", "did you mean 'user'?"),
        (HASHED, group('"user"'), "features[0].embedding_dim", "group 'g' embeds 'user'"),
        ('features { input_names: "user" }', group('"user"'), "features[0]", "needs one of hash_bucket_size"),
        (
            'features { input_names: "price" feature_type: RawFeature }',
            group('"price"', kind="WIDE"),
            "features[0].embedding_dim",
            "multiplied by a weight",
        ),
        (
            'features { input_names: "user" feature_type: PassThroughFeature }',
            group('"user"'),
            "feature_names[0]",
            "which no model reads",
        ),
        (
            'features { input_names: "price" feature_type: RawFeature }',
            group('"price"', BACKBONE.format(layer="embedding_layer { embedding_dim: 2 }")),
            "feature_names[0]",
            "needs ids",
        ),
    ],
)
def test_members_of_groups_have_what_their_readers_need(features, groups, place, message):
    error = error_of(features, groups)
    assert f"{place}: " in error and message in error


@pytest.mark.parametrize(
    "groups",
    [
        group('"user"', kind="WIDE"),
        group('"user"', BACKBONE.format(layer="raw_input {}")),
        group('"user"', BACKBONE.format(layer="embedding_layer { embedding_dim: 2 }")),
    ],
)
def test_embedding_dim_is_asked_for_only_where_it_is_used(groups):
    assert specs_of(HASHED, groups)["user"].used
