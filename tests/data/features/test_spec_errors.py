"""build_feature_specs: which features are refused or warned of, and where."""

import pytest
from feature_specs import COMBO, EXPR, LOOKUP, NAME, config_of, error_of, group, specs_of

from easyssl.data.features.spec import build_feature_specs

RAW = "feature_type: RawFeature"
TAG = "feature_type: TagFeature hash_bucket_size: 10"
SEQUENCE = "feature_type: SequenceFeature hash_bucket_size: 10"


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
