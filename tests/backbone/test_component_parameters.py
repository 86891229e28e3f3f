"""What layers of EasyRec get from a config, where that is more than the values it sets."""

import re

import numpy as np
import pytest
import tensorflow as tf
from plans import block, group, plan_of, refused
from tensorflow import keras

from easyssl.backbone.instantiate import make_layer
from easyssl.backbone.plan_types import LayerPlan
from easyssl.config import parse_config
from easyssl.config.effects import Acting, Finding, walk
from easyssl.config.messages import message_class
from easyssl.layers.gate_nn import GateNN
from easyssl.registry import KERAS_LAYERS
from easyssl.training.names import named_variables

MASK_BLOCK = {"aggregation_size": 4}
MLP = {"hidden_units": [4]}


def planned(layer):
    (found,) = plan_of(block("a", group("user"), layer=f"keras_layer {{ {layer} }}")).main.block("a").layers
    return found.kwargs


def struct(**values):
    kinds = {str: "string_value: '{}'", list: "list_value {{ values {{ number_value: {} }} }}"}
    fields = []
    for key, value in values.items():
        if isinstance(value, dict):
            written = f"struct_value {{ {struct(**value)} }}"
        else:
            written = kinds[type(value)].format(*value if isinstance(value, list) else (value,))
        fields.append(f"fields {{ key: '{key}' value {{ {written} }} }}")
    return " ".join(fields)


def test_ppnet_has_a_default_mode_for_each_kind_of_parameters():
    assert planned("class_name: 'PPNet' ppnet { mlp { hidden_units: 4 } }") == {"mlp": MLP}
    found = planned(f"class_name: 'PPNet' st_params {{ {struct(mlp=MLP)} }}")
    assert found == {"mlp": MLP, "mode": "lazy"}
    found = planned(f"class_name: 'PPNet' st_params {{ {struct(mlp=MLP, mode='eager')} }}")
    assert found == {"mlp": MLP, "mode": "eager"}


def test_gates_of_ppnet_have_the_defaults_of_their_message():
    for field in message_class("GateNN").DESCRIPTOR.fields:
        if field.name != "output_dim":
            told = field.default_value if field.has_default_value else None
            assert GateNN(3).get_config()[field.name] == told


def test_nested_messages_are_dicts_of_what_is_set():
    text = "mask_blocks { aggregation_size: 4 } mask_blocks { reduction_factor: 0.1 } mlp { hidden_units: 4 }"
    assert planned(f"class_name: 'MaskNet' masknet {{ {text} }}") == {
        "mask_blocks": [MASK_BLOCK, {"reduction_factor": 0.1}],
        "mlp": MLP,
    }
    assert planned("class_name: 'FiBiNet' fibinet { senet {} }") == {"senet": {}}


def test_fields_without_effect_are_left_out():
    assert planned("class_name: 'FM' fm { l2_regularization: 0.5 }") == {}
    assert planned("class_name: 'Highway' highway { input: 'user' emb_size: 8 }") == {"emb_size": 8}


@pytest.mark.parametrize(
    ("layer", "path", "words"),
    [
        ("class_name: 'BiLinear' bilinear { type: 'eech' }", "bilinear", "did you mean 'each'"),
        (
            "class_name: 'BiLinear' bilinear { type: 'all' }",
            "bilinear",
            "needs the parameter 'num_output_units'",
        ),
        ("class_name: 'PPNet' ppnet { mode: 'lazy' }", "ppnet", "needs the parameter 'mlp'"),
        (
            "class_name: 'NaryDisEmbedding' "
            "nary_dis_embedding { embedding_dim: 2 carries: 2 inter_ary_pooling: 'sum' }",
            "nary_dis_embedding",
            "parameter 'inter_ary_pooling' of NaryDisEmbedding is 'sum'; valid are 'concat'",
        ),
        ("class_name: 'Bilinear' bilinear {}", "class_name", "did you mean 'BiLinear'"),
    ],
)
def test_what_a_layer_does_not_take_is_refused_where_it_stands(layer, path, words):
    found, text = refused(block("a", group("user"), layer=f"keras_layer {{ {layer} }}"))
    assert found.startswith(f"blocks[0].keras_layer.{path}") and words in text


@pytest.mark.parametrize(
    ("class_name", "keys", "idle"),
    [
        ("FM", "l2_regularization", "the layer has no weights"),
        ("TransformerBlock", "vocab_size", "it is of TransformerEncoder"),
        ("Cross", "trainable", "use|train_config.freeze_gradient"),
        ("Dropout", "name", "a layer is called like its block"),
        ("Dense", "input_dim", "the block's input has the shape"),
    ],
)
def test_keys_that_easyrec_passes_over_are_told(class_name, keys, idle):
    needed = {
        "Dense": "units",
        "Dropout": "rate",
        "TransformerBlock": "hidden_size num_attention_heads intermediate_size",
    }
    text = "".join(
        f" fields {{ key: '{k}' value {{ number_value: 0.5 }} }}" for k in needed.get(class_name, "").split()
    )
    text = text.replace("0.5", "4") if class_name != "Dropout" else text
    layer = f"keras_layer {{ class_name: '{class_name}' st_params {{ fields {{ key: '{keys}' value {{ number_value: 4 }} }} {text} }} }}"
    (found,) = plan_of(block("a", group("user"), layer=layer)).main.block("a").layers
    assert keys not in found.kwargs
    path = "model_config.backbone.blocks[0].keras_layer.st_params"
    walked = {
        each.path: each
        for each in walk(parse_config(f"model_config {{ backbone {{ {block('a', layer=layer)} }} }}").message)
    }
    finding = walked.pop(f"{path}.{keys}")
    assert isinstance(finding, Finding) and not finding.refused and re.search(idle, finding.reason)
    assert all(isinstance(each, Acting) for each in walked.values())


def test_a_layer_that_easyrec_has_not_passes_over_nothing():
    layer = f"keras_layer {{ class_name: 'SinkhornClustering' st_params {{ {struct(trainable='x')} }} }}"
    path, text = refused(block("a", group("user"), layer=layer))
    assert path.endswith("st_params.trainable") and "has no parameter 'trainable'" in text


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("number_value: 1", True),
        ("number_value: 0", False),
        ("number_value: 2", None),
        ("string_value: 'x'", None),
    ],
)
def test_numbers_are_truth_values_where_these_are_due(value, wanted):
    layer = f"keras_layer {{ class_name: 'FM' st_params {{ fields {{ key: 'use_variant' value {{ {value} }} }} }} }}"
    if wanted is None:
        path, text = refused(block("a", group("user"), layer=layer))
        assert path.endswith("use_variant") and "expected true or false" in text
    else:
        assert plan_of(block("a", group("user"), layer=layer)).main.block("a").layers[0].kwargs == {
            "use_variant": wanted
        }


def test_text_is_a_number_where_one_is_due():
    assert planned(f"class_name: 'Dropout' st_params {{ {struct(rate='0.2')} }}") == {"rate": 0.2}


@pytest.mark.parametrize("name", KERAS_LAYERS)
def test_every_admitted_layer_of_keras_is_there(name):
    assert issubclass(getattr(keras.layers, name), keras.layers.Layer)


def test_keras_layers_may_be_frozen_and_have_a_precision_of_their_own():
    kwargs = {"units": 3, "trainable": False, "dtype": "float64"}
    plan = LayerPlan("keras_layer", "a", "blocks[0].keras_layer", "Dense", kwargs)
    layer = make_layer(plan, 0.0, "float32", lambda path, text: AssertionError(text))
    layer.build((2, 4))
    assert not layer.trainable_weights and layer.compute_dtype == "float64"


@pytest.mark.parametrize(
    ("class_name", "kwargs", "takes"),
    [
        ("MLP", MLP, True),
        ("MaskBlock", MASK_BLOCK, True),
        ("MaskNet", {"mask_blocks": [MASK_BLOCK]}, True),
        ("FiBiNet", {"mlp": MLP}, True),
        ("PPNet", {"mlp": MLP}, True),
        ("Cross", {}, False),
        ("CIN", {"hidden_feature_sizes": [2]}, False),
        ("Gate", {"mlp": MLP}, False),
        ("SENet", {}, False),
    ],
)
def test_which_layers_the_regularization_of_a_model_reaches(class_name, kwargs, takes):
    plan = LayerPlan("keras_layer", "a", "blocks[0].keras_layer", class_name, kwargs)
    layer = make_layer(plan, 0.2, None, lambda path, text: AssertionError(text))
    regularizer = getattr(layer, "kernel_regularizer", None)
    assert (regularizer is not None) == takes
    if takes:
        assert isinstance(regularizer, keras.regularizers.L2) and float(regularizer.l2) == pytest.approx(0.1)


def test_an_own_regularizer_of_a_layer_is_kept():
    plan = LayerPlan("keras_layer", "a", "blocks[0].keras_layer", "Cross", {"kernel_regularizer": "l1"})
    layer = make_layer(plan, 0.2, None, lambda path, text: AssertionError(text))
    assert isinstance(layer.kernel_regularizer, keras.regularizers.L1)


INPUTS = {
    "GaussianNoise": ({"stddev": 0.1}, (2, 3)),
    "GaussianDropout": ({"rate": 0.5}, (2, 3)),
    "AlphaDropout": ({"rate": 0.5}, (2, 3)),
    "SpatialDropout1D": ({"rate": 0.5}, (2, 4, 3)),
}


@pytest.mark.parametrize("name", INPUTS)
def test_random_layers_of_keras_have_a_state_that_checkpoints_keep(name):
    kwargs, shape = INPUTS[name]
    plan = LayerPlan("keras_layer", "a", "blocks[0].keras_layer", name, kwargs)

    def model():
        keras.utils.set_random_seed(7)
        layer = make_layer(plan, 0.0, "float32", lambda path, text: AssertionError(text))
        made = keras.Sequential([layer])
        made(tf.ones(shape), training=False)
        return made

    first, second = model(), model()
    draws = [first(tf.ones(shape), training=True) for _ in range(3)]
    assert not np.array_equal(draws[1], draws[2])
    states, others = named_variables(first), named_variables(second)
    assert list(states) == list(others) == ["a/random_generator"]
    before = tf.identity(states["a/random_generator"])
    wanted = first(tf.ones(shape), training=True)
    others["a/random_generator"].assign(before)
    np.testing.assert_array_equal(second(tf.ones(shape), training=True), wanted)


def test_the_rows_of_an_embedding_of_keras_act():
    layer = (
        f"keras_layer {{ class_name: 'Embedding' st_params {{ {struct(input_dim='10', output_dim='4')} }} }}"
    )
    path = "model_config.backbone.blocks[0].keras_layer.st_params.input_dim"
    text = f"model_config {{ backbone {{ {block('a', layer=layer)} }} }}"
    walked = {each.path: each for each in walk(parse_config(text).message)}
    assert isinstance(walked[path], Acting)
