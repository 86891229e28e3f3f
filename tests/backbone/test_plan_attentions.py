"""Plans: target attention of feature groups."""

import pytest
from plans import MLP, block, group, plan_of, refused

USER = block("b", group("g"), layer=MLP)


def groups(attention, names="'user', 'age'", more=""):
    return (
        f"feature_groups {{ group_name: 'g' feature_names: [{names}] "
        f"sequence_features {{ {attention} }} {more} }}"
    )


def pair(key="'user'", hist="'history'", **extra):
    fields = "".join(f" {name}: [{values}]" for name, values in extra.items())
    return f"seq_att_map {{ key: [{key}] hist_seq: [{hist}]{fields} }}"


def test_defaults():
    plan = plan_of(USER, groups(pair(aux_hist_seq="'recent'"))).groups["g"]
    (attention,) = plan.attentions
    assert (attention.name, attention.keys, attention.histories) == ("g_0", ("user",), ("history",))
    assert (attention.auxiliary, attention.transform, attention.need_key) == (("recent",), False, True)
    assert attention.attention_dnn == {
        "hidden_units": [128, 64, 32, 1],
        "activation": "tf.nn.relu",
        "final_activation": "linear",
        "use_bn": True,
        "use_final_bn": False,
        "use_bias": True,
        "use_final_bias": True,
        "initializer": "glorot_uniform",
    }
    assert plan.features == ("user", "age") and plan.attention_features == ("history", "recent")


def test_several_pairs_are_one_attention():
    second = pair("'age'", "'recent'")
    (attention,) = plan_of(USER, groups(f"{pair()} {second}")).groups["g"].attentions
    assert attention.keys == ("user", "age") and attention.histories == ("history", "recent")


@pytest.mark.parametrize(
    ("key", "fields", "transform"),
    [
        ("'item'", "allow_key_transform: true", False),
        ("'item'", "allow_key_transform: true transform_dnn: true", True),
        ("'item', 'user'", "allow_key_transform: true", True),
        ("'user'", "allow_key_transform: true transform_dnn: true", False),
    ],
)
def test_widths_that_differ(key, fields, transform):
    text = groups(f"{pair(key)} allow_key_search: true {fields}")
    assert plan_of(USER, text).groups["g"].attentions[0].transform is transform


@pytest.mark.parametrize(
    ("attention", "place", "words"),
    [
        ("", "", "the target attention 'g_0' has no key in seq_att_map"),
        (pair(hist=""), "", "has no hist_seq"),
        (pair("'usr'"), ".seq_att_map[0].key[0]", "did you mean 'user'?"),
        (pair("'history'"), ".seq_att_map[0].key[0]", "expected a plain feature, not a sequence"),
        (pair(hist="'age'"), ".seq_att_map[0].hist_seq[0]", "expected a SequenceFeature, found IdFeature"),
        (pair(aux_hist_seq="'age'"), ".seq_att_map[0].aux_hist_seq[0]", "expected a SequenceFeature"),
        (pair("'user', 'user'"), ".seq_att_map[0].key[1]", "listed twice"),
        (pair("'f1'"), ".seq_att_map[0].key[0]", "set allow_key_search"),
        (
            """seq_att_map { key: 'item' hist_seq: 'history' } allow_key_search: true""",
            ".seq_att_map[0].key[0]",
            "is 4 wide and its history 8",
        ),
        (f"{pair()} seq_dnn {{ hidden_units: [8, 2] }}", ".seq_dnn.hidden_units", "it has 1 unit"),
        (f"{pair()} seq_dnn {{ hidden_units: 0 }}", ".seq_dnn.hidden_units", "it has 1 unit"),
        (
            f"{pair()} seq_dnn {{ hidden_units: 1 dropout_ratio: [0, 0] }}",
            ".seq_dnn.dropout_ratio",
            "2 rates for 1",
        ),
    ],
)
def test_refused(attention, place, words):
    path, text = refused(USER, groups(attention))
    assert path == f"feature_groups[0].sequence_features[0]{place}" and words in text


def test_two_attentions_of_one_name():
    twice = f"group_name: 'a' {pair()} }} sequence_features {{ group_name: 'a' {pair()}"
    assert "there already is an attention 'a'" in refused(USER, groups(twice))[1]


def test_readers_that_would_leave_attention_out():
    text = groups(pair(), names="'user', 'history'")
    for layer, words in (
        ("raw_input {}", "raw_input does not read the sequence_features"),
        ("embedding_layer { embedding_dim: 2 }", "embedding_layer does not read"),
        ("input_layer { output_seq_and_normal_feature: true }", "are no part of its sequences"),
    ):
        assert words in refused(block("b", group("g"), layer=layer), text)[1]
    assert "DEEP group" in refused(USER, groups(pair(), more="wide_deep: WIDE"))[1]
    stacked = block("b", group("g"), layer="input_layer { only_output_3d_tensor: true }")
    assert "g_0 16" in refused(stacked, groups(pair()))[1]
