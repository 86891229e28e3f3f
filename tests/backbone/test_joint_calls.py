"""Several calls of a package as one: the same values as one after the other."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.backbone.joint_calls import join_rows, split_rows
from easyssl.config import parse_config
from easyssl.models import build_model

pytestmark = pytest.mark.both_keras

CONFIG = """
model_dir: "unused"
data_config {
  input_type: CSVInput label_fields: "y" batch_size: 4 num_epochs: 1
  input_fields { input_name: "y" input_type: INT32 }
  input_fields { input_name: "hist" input_type: STRING }
}
feature_config {
  features { input_names: "hist" feature_type: SequenceFeature num_buckets: 10 embedding_dim: 4 }
}
model_config {
  model_class: "RankModel" loss_type: L2_LOSS model_params {}
  feature_groups { group_name: "seq" feature_names: "hist" }
  backbone { BACKBONE }
}
"""
ROWS = {"hist": np.array([b"1|2|3", b"4", b"5|6", b"7|8|9|1"], object)}
BST = """bst {
  hidden_size: 4 num_hidden_layers: 2 num_attention_heads: 2 intermediate_size: 4 hidden_act: "ACT"
  hidden_dropout_prob: 0 attention_probs_dropout_prob: 0 max_position_embeddings: 4
  output_all_token_embeddings: false target_item_position: "ignore"
}"""


def model(act="gelu", second="package_input: 'seq'", more=""):
    bst = BST.replace("ACT", act)
    backbone = f"""
      blocks {{
        name: "seq" inputs {{ feature_group_name: "seq" }} input_layer {{ output_seq_and_normal_feature: true }}
      }}
      packages {{
        name: "short"
        blocks {{ name: "cut" inputs {{ block_name: "seq" }} lambda {{ expression: "lambda x: [x[0][:, :2], x[1]]" }} }}
      }}
      packages {{
        name: "encode"
        blocks {{ name: "bst" inputs {{ use_package_input: true }} keras_layer {{ class_name: "BST" {bst} }} }}
      }}
      blocks {{ name: "one" inputs {{ package_name: "encode" package_input: "seq" }} }}
      blocks {{ name: "two" inputs {{ package_name: "encode" {second} }} {more} }}
      concat_blocks: "one" concat_blocks: "two"
      top_mlp {{ hidden_units: 2 }}
    """
    return build_model(parse_config(CONFIG.replace("BACKBONE", backbone), "test.config"))


def run(built, training):
    features = built.transform(ROWS)
    return built.backbone(features, training=training, return_blocks=["one", "two"])[1]


def test_one_call_gives_what_two_give():
    built = model()
    assert [len(calls) for calls in built.backbone.joint_calls.values()] == [2]
    apart, joint = run(built, training=False), run(built, training=True)
    assert apart["encode/bst"].shape[0] == 4 and joint["encode/bst"].shape[0] == 8
    for name in ("one", "two"):
        np.testing.assert_allclose(joint[name], apart[name], rtol=1e-5, atol=1e-6)


def test_statistics_of_a_batch_keep_calls_apart():
    assert not model(act="dice").backbone.joint_calls


STATES = """
  blocks {
    name: "seq" inputs { feature_group_name: "seq" } input_layer { output_seq_and_normal_feature: true }
  }
  packages {
    name: "short"
    blocks {
      name: "cut" inputs { block_name: "seq" }
      lambda { expression: "lambda x: [x[0][:, :2], tf.minimum(x[1], 2)]" }
    }
  }
  packages {
    name: "encode"
    blocks {
      name: "states" inputs { use_package_input: true }
      keras_layer {
        class_name: "ENCODER"
        st_params { fields { key: "output" value { string_value: "sequence" } } RATES }
      }
    }
    blocks {
      name: "last" inputs { block_name: "states" } inputs { use_package_input: true input_slice: "[1]" }
      merge_inputs_into_list: true
      keras_layer { class_name: "SequenceReadout" READOUT }
    }
    output_blocks: ["states", "last"]
  }
  blocks { name: "one" inputs { package_name: "encode" package_input: "seq" input_slice: "[0]" } }
  blocks { name: "two" inputs { package_name: "encode" package_input: "short" input_slice: "[0]" } }
  blocks {
    name: "three" inputs { package_name: "encode" package_input: "short" input_slice: "[1]" THREE }
  }
  blocks {
    name: "means"
    inputs { block_name: "one" input_fn: "lambda x: tf.reduce_mean(x, axis=1)" }
    inputs { block_name: "two" input_fn: "lambda x: tf.reduce_mean(x, axis=1)" }
    inputs { block_name: "three" }
  }
  concat_blocks: "means"
  top_mlp { hidden_units: 2 }
"""


def model_of_states(encoder="SASRecEncoder", readout="", three=""):
    rates = ["hidden_dropout_prob"] + ["attention_probs_dropout_prob"] * (encoder != "GRU4RecEncoder")
    text = STATES.replace("ENCODER", encoder).replace("READOUT", readout).replace("THREE", three)
    text = text.replace(
        "RATES", " ".join(f'fields {{ key: "{rate}" value {{ number_value: 0 }} }}' for rate in rates)
    )
    return build_model(parse_config(CONFIG.replace("BACKBONE", text), "test.config"))


@pytest.mark.parametrize("encoder", ["SASRecEncoder", "BERT4RecEncoder", "GRU4RecEncoder"])
def test_packages_with_several_outputs_are_called_once_and_give_sequences_as_long_as_before(encoder):
    built = model_of_states(encoder)
    assert [len(calls) for calls in built.backbone.joint_calls.values()] == [3]
    features = built.transform(ROWS)
    names = ["one", "two", "three"]
    apart = built.backbone(features, training=False, return_blocks=names)[1]
    joint = built.backbone(features, training=True, return_blocks=names)[1]
    assert apart["encode/states"].shape[0] == 4 and joint["encode/states"].shape[0] == 12
    assert joint["one"].shape[1] > joint["two"].shape[1] == 2
    for name in names:
        assert joint[name].shape == apart[name].shape
        np.testing.assert_allclose(joint[name], apart[name], rtol=1e-4, atol=1e-5)


def test_a_readout_as_wide_as_the_padding_keeps_calls_apart():
    concat = 'st_params { fields { key: "output" value { string_value: "concat" } } }'
    total = "input_fn: 'lambda x: tf.reduce_sum(x, axis=1, keepdims=True)'"
    assert not model_of_states(readout=concat, three=total).backbone.joint_calls


def test_sequences_of_other_lengths_are_padded():
    long, short = tf.ones([2, 3, 1]), 2 * tf.ones([1, 2, 1])
    joined = join_rows([(long, tf.constant([3, 1])), [short, tf.constant([2]), None]])
    np.testing.assert_array_equal(joined[0][:, :, 0], [[1, 1, 1], [1, 1, 1], [2, 2, 0]])
    np.testing.assert_array_equal(joined[1], [3, 1, 2])
    first, second = split_rows(joined, [(long, tf.constant([3, 1])), (short, tf.constant([2]))])
    np.testing.assert_array_equal(first[1], [3, 1])
    np.testing.assert_array_equal(second[0][:, :, 0], [[2, 2]])


@pytest.mark.parametrize(
    "values",
    [
        [tf.ones([2, 3]), tf.ones([2, 4])],
        [tf.ones([2, 3]), tf.ones([2, 3], tf.float64)],
        [[tf.ones([2, 3])], [tf.ones([2, 3]), tf.ones([2])]],
        [tf.ones([2, 3]), [tf.ones([2, 3])]],
        [None, None],
    ],
)
def test_what_does_not_fit_is_not_joined(values):
    assert join_rows(values) is None
