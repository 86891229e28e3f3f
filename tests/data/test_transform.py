"""FeatureTransform: each kind of feature, bad cells, signatures and SavedModels."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.config import parse_config
from easyssl.data.features.text import LengthBuckets
from easyssl.data.features.types import Buckets, FeatureSpec
from easyssl.data.transform import FeatureTransform, transform_from_config
from easyssl.errors import ConfigError

VOCABULARY = Buckets("vocabulary", 3, entries=("a", "b", "1"))
INTEGERS = Buckets("integer", 5)
HASH = Buckets("hash", 1000)
BOUNDARIES = Buckets("boundaries", 3, boundaries=(0.5, 2.0))
# `tf.strings.to_hash_bucket_fast` of these in 1000 buckets, as EasyRec gives them.
GOLDEN = {"a": 939, "1": 849, "": 263}


def transform_of(spec, kind="STRING", **kwargs):
    return FeatureTransform({spec.name: spec}, {name: kind for name in spec.inputs}, **kwargs)


def run(spec, cells, kind="STRING", **kwargs):
    output = transform_of(spec, kind, **kwargs)({spec.inputs[0]: cells})
    return {name: tensor.numpy() for name, tensor in output.items()}


def identifier(buckets, **kwargs):
    return FeatureSpec("f", "IdFeature", ("f",), buckets=buckets, **kwargs)


def number(**kwargs):
    return FeatureSpec("f", "RawFeature", ("f",), element="RawFeature", **kwargs)


def tags(buckets=VOCABULARY, **kwargs):
    return FeatureSpec("f", "TagFeature", ("f",), buckets=buckets, **kwargs)


def sequence(buckets=VOCABULARY, **kwargs):
    return FeatureSpec("f", "SequenceFeature", ("f",), buckets=buckets, **kwargs)


def test_ids():
    assert run(identifier(HASH), ["a", "1", ""])["f"].tolist() == [GOLDEN["a"], GOLDEN["1"], -1]
    assert run(identifier(VOCABULARY), ["b", "x", ""])["f"].tolist() == [1, 0, -1]
    assert run(identifier(INTEGERS), ["4", "5", "-1", "-2"])["f"].tolist() == [4, 0, -1, 0]


@pytest.mark.parametrize("kind", ["INT32", "INT64"])
def test_ids_of_integer_columns(kind):
    assert run(identifier(INTEGERS), [4, 5, -1, -2], kind)["f"].tolist() == [4, 0, -1, 0]
    assert run(identifier(HASH), [1, 1], kind)["f"].tolist() == [GOLDEN["1"]] * 2
    assert run(identifier(VOCABULARY), [1, 7], kind)["f"].tolist() == [2, 0]


def test_ids_of_other_columns():
    as_text = run(identifier(HASH), ["1.50", "true"])["f"].tolist()
    assert run(identifier(HASH, precision=2), [1.5], "FLOAT")["f"].tolist() == as_text[:1]
    assert run(identifier(HASH), [True], "BOOL")["f"].tolist() == as_text[1:]


def test_numbers():
    assert run(number(), [1.5, -2.0], "DOUBLE")["f"].tolist() == [[1.5], [-2.0]]
    assert run(number(), ["1.5", ""])["f"].tolist() == [[1.5], [0.0]]
    assert run(number(min_val=1, max_val=5), [3, 9], "INT32")["f"].tolist() == [[0.5], [2.0]]


def test_vectors_of_numbers_split_at_every_character():
    spec = number(raw_input_dim=3, separator=",;")
    assert run(spec, ["1,2;3", ",4,", ""])["f"].tolist() == [[1, 2, 3], [4, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    "combiner, expected", [("sum", [5, 4]), ("mean", [2.5, 2]), ("max", [3, 6]), ("min", [2, -2])]
)
def test_several_vectors_are_merged(combiner, expected):
    spec = number(raw_input_dim=2, seq_multi_sep=";", combiner=combiner)
    assert run(spec, ["2|-2;3|6", ""])["f"].tolist() == [expected, [0, 0]]


def test_numbers_in_buckets_have_rows_for_each_component():
    spec = number(raw_input_dim=2, buckets=BOUNDARIES)
    assert run(spec, ["0.4|0.5", "1.9|2", "9"])["f"].tolist() == [[0, 3 + 1], [1, 3 + 2], [2, 3 + 0]]


def test_normalizer_comes_after_scaling():
    spec = number(max_val=2, normalizer="lambda x: tf.math.log1p(x)")
    np.testing.assert_allclose(run(spec, [6.0], "FLOAT")["f"], [[np.log(4)]], rtol=1e-6)


def test_tags_split_at_every_character_and_skip_empty_pieces():
    output = run(tags(separator="|;"), ["a;b|", "", "||x|1|a"])
    assert output["f"].tolist() == [[0, 1, -1, -1], [-1] * 4, [0, 2, 0, -1]]
    assert list(output) == ["f"]


def test_tags_with_weights_behind_them():
    output = run(tags(INTEGERS, kv_separator=":"), ["1:0.5|9:2", "", "4:-1"])
    assert output["f"].tolist() == [[1, 0], [-1, -1], [4, -1]]
    assert output["f/weight"].tolist() == [[0.5, 2], [0, 0], [-1, 0]]


def test_tags_with_weights_in_a_column():
    spec = FeatureSpec("f", "TagFeature", ("f", "w"), buckets=VOCABULARY)
    output = transform_of(spec)({"f": ["a|b", "", "1"], "w": ["0.5|2", "", "3"]})
    assert output["f"].numpy().tolist() == [[0, 1], [-1, -1], [2, -1]]
    assert output["f/weight"].numpy().tolist() == [[0.5, 2], [0, 0], [3, 0]]


def test_sequences_split_at_the_whole_separator_and_keep_empty_steps():
    output = run(sequence(HASH, separator="||"), ["a||||1", "", "a|1"], length_buckets=(3,))
    other = run(identifier(HASH), ["a|1"])["f"][0]
    assert output["f"].tolist() == [
        [GOLDEN["a"], GOLDEN[""], GOLDEN["1"]],
        [GOLDEN[""], -1, -1],
        [other, -1, -1],
    ]
    assert output["f/length"].tolist() == [3, 1, 1]
    assert output["f"].dtype == np.int64 and output["f/length"].dtype == np.int32


def test_empty_history_may_mean_no_step():
    for buckets in (HASH, VOCABULARY, INTEGERS):
        output = run(sequence(buckets, empty_sequence="NO_STEP"), ["", "1|1"], length_buckets=(4,))
        assert output["f/length"].tolist() == [0, 2]
        assert (output["f"] >= 0).tolist() == [[False] * 4, [True, True, False, False]]


def test_batch_without_any_step_has_a_shape():
    assert run(sequence(empty_sequence="NO_STEP"), ["", ""])["f"].shape == (2, 8)


def test_steps_with_several_values_end_at_the_last_one():
    spec = sequence(VOCABULARY, seq_multi_sep="+;")
    output = run(spec, ["a+b||1;x|", "", "|"], length_buckets=(3,))
    none = [-1, -1]
    assert output["f"].tolist() == [[[0, 1], none, [2, 0]], [none] * 3, [none] * 3]
    assert output["f/length"].tolist() == [3, 0, 0]


@pytest.mark.parametrize("buckets", [HASH, VOCABULARY, INTEGERS])
def test_limit_keeps_the_first_steps(buckets):
    spec = sequence(buckets, max_seq_len=3)
    output = run(spec, ["1|2|3|4|1", "2", "1|2|3"])
    assert output["f"].shape == (3, 3)
    assert output["f"].tolist() == run(sequence(buckets), ["1|2|3", "2", "1|2|3"])["f"][:, :3].tolist()
    assert output["f/length"].tolist() == [3, 1, 3]


def test_pooled_sequences_are_kept_whole():
    output = run(sequence(max_seq_len=2, sequence_combiner="attention"), ["a|b|1"])
    assert output["f/length"].tolist() == [3]


def test_sequences_of_numbers():
    spec = sequence(None, element="RawFeature", sequence_length=3, max_val=2)
    output = run(spec, ["1|2", "4"])
    assert output["f"].tolist() == [[0.5, 1, 0], [2, 0, 0]]
    assert output["f/length"].tolist() == [2, 1]
    bucketed = run(sequence(BOUNDARIES, element="RawFeature"), ["0|1|7"], length_buckets=(4,))
    assert bucketed["f"].tolist() == [[0, 1, 2, -1]]


def test_sequences_of_an_integer_column_have_one_step():
    assert run(sequence(INTEGERS), [3, 9], "INT64")["f"][:, 0].tolist() == [3, 0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.sets(st.integers(1, 100), max_size=4))
def test_lengths_are_rounded_up_to_the_next_bucket(longest, boundaries):
    boundaries = tuple(sorted(boundaries))
    expected = next((b for b in boundaries if b >= max(longest, 1)), -(-max(longest, 1) // 8) * 8)
    assert int(LengthBuckets(boundaries)(tf.constant(longest))) == expected


def test_bad_length_buckets_are_an_error_of_the_config():
    config = parse_config("data_config { length_buckets: [8, 4] }", "test.config")
    with pytest.raises(ConfigError, match=r"test.config:1:.*: data_config.length_buckets: .*increasing"):
        transform_from_config(config)


def test_signature_is_that_of_the_graph_though_like_features_are_traced_once():
    several = [
        identifier(HASH),
        identifier(VOCABULARY),
        number(raw_input_dim=3),
        number(raw_input_dim=2),
        number(raw_input_dim=2, normalizer="lambda x: tf.reduce_sum(x, axis=1)"),
        number(raw_input_dim=2, normalizer="lambda x: tf.reduce_sum(x, axis=1, keepdims=True)"),
        number(raw_input_dim=2, buckets=BOUNDARIES),
        FeatureSpec("f", "TagFeature", ("f",), buckets=HASH),
        FeatureSpec("f", "TagFeature", ("f",), buckets=HASH, kv_separator=":"),
        FeatureSpec("f", "ComboFeature", ("f",), buckets=HASH, combo_input_seps=("|",)),
        FeatureSpec("f", "ExprFeature", ("f",), element="RawFeature", expression="f + 1"),
        FeatureSpec("f", "SequenceFeature", ("f",), buckets=HASH),
        FeatureSpec("f", "SequenceFeature", ("f",), buckets=HASH, max_seq_len=5, seq_multi_sep=";"),
        FeatureSpec("f", "SequenceFeature", ("f",), element="RawFeature", sequence_length=4),
        FeatureSpec("f", "SequenceFeature", ("f",), element="RawFeature", sequence_length=6),
    ]
    specs = {
        f"{name}{place}": dataclasses.replace(spec, name=f"{name}{place}")
        for name in ("first", "second")
        for place, spec in enumerate(several)
    }
    transform = FeatureTransform(specs, {"f": "STRING"})
    traced = transform.compiled().get_concrete_function().structured_outputs
    signature = transform.output_signature()
    assert {name: (s.dtype, s.shape.as_list()) for name, s in signature.items()} == {
        name: (s.dtype, s.shape.as_list()) for name, s in traced.items()
    }


def test_unused_and_passed_through_features_are_left_out():
    specs = {
        "used": FeatureSpec("used", "IdFeature", ("a",), buckets=HASH),
        "unused": FeatureSpec("unused", "IdFeature", ("b",), buckets=HASH, used=False),
        "group": FeatureSpec("group", "PassThroughFeature", ("c",)),
    }
    transform = FeatureTransform(specs, {"a": "STRING", "b": "STRING", "c": "STRING"})
    assert list(transform.signature()) == ["a"]
    assert list(transform({"a": np.array([b"x"], object), "more": [1]})) == ["used"]


def test_undeclared_column_is_refused():
    with pytest.raises(ValueError, match=r"not declared: \['f'\]"):
        FeatureTransform({"f": identifier(HASH)}, {})


@pytest.mark.parametrize(
    "spec, cells, row, message",
    [
        (identifier(INTEGERS), ["1", "2", "x"], 2, "'x': expected whole numbers"),
        (identifier(INTEGERS), ["1", "", "x"], 1, "'': expected whole numbers"),
        (number(), ["1", "2", "3", "1,5"], 3, "'1,5': expected numbers"),
        (number(raw_input_dim=2), ["1|2", "1|2|3"], 1, "'1|2|3': more than raw_input_dim 2 numbers"),
        (tags(kv_separator=":"), ["a:1", "b", "c:1"], 1, "'b': a tag is not key:weight"),
        (tags(kv_separator=":"), ["a:1", "b:x"], 1, "'b:x': expected numbers"),
        (sequence(INTEGERS), ["1|2", ""], 1, "(set empty_sequence: NO_STEP if"),
        (
            sequence(None, element="RawFeature", sequence_length=2),
            ["1", "1|2|3"],
            1,
            "longer than sequence_length 2",
        ),
    ],
)
def test_bad_cell_stops_the_batch_and_is_found(spec, cells, row, message):
    transform = transform_of(spec)
    for call in (transform, tf.function(transform, input_signature=[transform.signature()], autograph=False)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            call({"f": tf.constant(cells)})
    bad = transform.find_bad_cell({"f": cells})
    assert bad.row == row
    assert str(bad).startswith("feature 'f': column 'f' has ") and message in str(bad)
    assert transform.find_bad_cell({"f": cells[:row]}) is None


def test_unequal_weight_column_is_found():
    spec = FeatureSpec("f", "TagFeature", ("f", "w"), buckets=VOCABULARY)
    bad = transform_of(spec).find_bad_cell({"f": ["a|b", "a|b"], "w": ["1|2", "1"]})
    assert (bad.row, bad.cells) == (1, ("a|b", "1"))
    assert "not as many weights as tags" in bad.reason


def test_saved_model_needs_no_vocabulary_file(tmp_path):
    (tmp_path / "vocab.txt").write_text("a\nb\n1\n")
    config = parse_config(
        """
        data_config { input_fields { input_name: "id" } input_fields { input_name: "hist" } }
        feature_config {
          features { input_names: "id" vocab_file: "vocab.txt" embedding_dim: 2 }
          features { input_names: "hist" feature_type: SequenceFeature hash_bucket_size: 1000 }
        }
        """,
        str(tmp_path / "x.config"),
    )
    transform = transform_from_config(config)
    raw = {"id": tf.constant(["b", "?", ""]), "hist": tf.constant(["a|1", "", "a"])}
    expected = transform(raw)
    module = tf.Module()
    module.transform = transform
    module.serve = tf.function(transform, input_signature=[transform.signature()], autograph=False)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "saved").rename(tmp_path / "moved")
    served = tf.saved_model.load(str(tmp_path / "moved")).serve(raw)
    assert sorted(served) == ["hist", "hist/length", "id"]
    assert served["id"].numpy().tolist() == [1, 0, -1]
    for name, tensor in expected.items():
        np.testing.assert_array_equal(served[name], tensor)


def test_runs_inside_a_tf_data_map():
    dataset = tf.data.Dataset.from_tensor_slices({"f": ["a|b", "1", "a"]}).batch(2)
    shapes = [batch["f"].shape for batch in dataset.map(transform_of(tags()))]
    assert shapes == [(2, 2), (1, 1)]
