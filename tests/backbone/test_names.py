"""Names of layers and variables: each its own, whatever blocks and packages are called."""

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from easyssl.backbone.names import UniqueNames, name_layers
from easyssl.config import parse_config
from easyssl.models import build_model

pytestmark = pytest.mark.both_keras

HEAD = """
model_dir: "unused"
data_config {
  input_type: CSVInput label_fields: "y" batch_size: 4 num_epochs: 1
  input_fields { input_name: "y" input_type: INT32 }
  input_fields { input_name: "user" input_type: STRING }
  input_fields { input_name: "price" input_type: FLOAT }
}
feature_config {
  features { input_names: "user" feature_type: IdFeature num_buckets: 10 embedding_dim: 4 }
  features { input_names: "price" feature_type: RawFeature }
}
"""
DENSE = 'keras_layer { class_name: "Dense" st_params { fields { key: "units" value { number_value: 3 } } } }'
BACKBONE = """
  packages { name: "p" blocks { name: "d" inputs { feature_group_name: "all" }
                                input_layer { do_batch_norm: true } } }
  packages { name: "q" blocks { name: "d" inputs { feature_group_name: "all" } DENSE } }
  blocks { name: "one" inputs { package_name: "p" } }
  blocks { name: "two" inputs { package_name: "p" reset_input { do_batch_norm: true dropout_rate: 0.5 } } }
  blocks { name: "three" inputs { package_name: "p" reset_input { do_batch_norm: true dropout_rate: 0.25 } } }
  blocks { name: "four" inputs { package_name: "q" } }
  blocks { name: "d" inputs { feature_group_name: "all" } DENSE }
  blocks { name: "a@b" inputs { feature_group_name: "q_all" } DENSE }
  blocks { name: "a b" inputs { feature_group_name: "q_all" } DENSE }
  blocks { name: "价格" inputs { feature_group_name: "all" } DENSE }
  blocks { name: "r" inputs { block_name: "d" }
           repeat { num_repeat: 2 output_concat_axis: 1 keras_layer { class_name: "Dropout" } } }
  blocks { name: "r_1" inputs { block_name: "d" } DENSE }
  blocks {
    name: "end" inputs { block_name: "one" } inputs { block_name: "two" } inputs { block_name: "three" }
    inputs { block_name: "four" } inputs { block_name: "a@b" } inputs { block_name: "a b" }
    inputs { block_name: "价格" } inputs { block_name: "r_1" }
  }
  concat_blocks: "end"
"""


@pytest.fixture(scope="module")
def model():
    text = BACKBONE.replace(
        'repeat { num_repeat: 2 output_concat_axis: 1 keras_layer { class_name: "Dropout" } }',
        f"repeat {{ num_repeat: 2 output_concat_axis: 1 {DENSE} }}",
    ).replace("DENSE", DENSE)
    groups = """
      feature_groups { group_name: "all" feature_names: "user" feature_names: "price" }
      feature_groups { group_name: "q_all" feature_names: "user" }
    """
    return build_model(
        parse_config(f'{HEAD} model_config {{ model_class: "RankModel" {groups} backbone {{ {text} }} }}')
    )


def test_layers_are_called_like_their_blocks_and_never_alike(model):
    assert name_layers(model.plan) == {
        ("", "one"): [],
        ("", "two"): [],
        ("", "three"): [],
        ("", "four"): [],
        ("", "d"): ["d"],
        ("", "a@b"): ["a_b"],
        ("", "a b"): ["a_b_2"],
        ("", "价格"): ["__"],
        ("", "r"): ["r"],
        ("", "r_1"): ["r_1_2"],
        ("", "end"): [],
        ("", "all"): ["all"],
        ("", "q_all"): ["q_all"],
        ("p", "d"): ["p_d", "d_reset", "d_reset_2"],
        ("q", "d"): ["q_d"],
        ("q", "all"): ["q_all_2"],
    }


def test_variables_have_names_of_their_own(model):
    variables = {id(v): getattr(v, "path", v.name) for v in model.backbone.weights}
    assert len(set(variables.values())) == len(variables)
    first, second, third = (
        model.backbone.input_layer_of("p", model.plan.packages["p"].block("d"), reset)
        for reset in [
            None,
            *(b.inputs[0].reset_input for b in model.plan.main.blocks if b.name in ("two", "three")),
        ]
    )
    assert [layer.dropout_rate for layer in (first, second, third)] == [0.0, 0.5, 0.25]


def test_blocks_keep_their_values(model):
    rows = {"user": tf.constant(["1", "2"]), "price": tf.constant([0.5, 2.0])}
    _, blocks = model.backbone(model.transform(rows), return_blocks=["a@b", "a b"])
    assert float(tf.reduce_max(tf.abs(blocks["a@b"] - blocks["a b"]))) > 0


names = st.text("ab_@/-0 ä", min_size=1, max_size=3)


@given(st.lists(st.tuples(names, names, st.sampled_from([[""], ["_0", "_1"]])), max_size=12))
def test_no_name_is_given_away_twice(wanted):
    for _ in range(2):
        unique = UniqueNames(["groups"])
        taken = [
            unique.take(name, scope, suffixes) + suffix
            for name, scope, suffixes in wanted
            for suffix in suffixes[:1]
        ]
        assert len(set(taken)) == len(taken)
