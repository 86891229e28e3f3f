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


def test_sequences_of_other_lengths_are_padded():
    long, short = tf.ones([2, 3, 1]), 2 * tf.ones([1, 2, 1])
    joined = join_rows([(long, tf.constant([3, 1])), [short, tf.constant([2]), None]])
    np.testing.assert_array_equal(joined[0][:, :, 0], [[1, 1, 1], [1, 1, 1], [2, 2, 0]])
    np.testing.assert_array_equal(joined[1], [3, 1, 2])
    first, second = split_rows(joined, [(long, tf.constant([3, 1])), (short, tf.constant([2]))])
    np.testing.assert_array_equal(first[1], [3, 1])
    np.testing.assert_array_equal(second[0][:, :, 0], [[2, 2, 0]])


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
