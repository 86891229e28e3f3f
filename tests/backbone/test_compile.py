"""What a compiled backbone computes, against NumPy on the values it was given."""

import numpy as np
import pytest
import tensorflow as tf
from small_backbones import (
    DATA,
    GROUPS,
    NUMBERS,
    ROWS,
    SEQUENCE,
    block,
    dense,
    group,
    model_of,
    run,
    weights_of,
)

from easyssl.config import parse_config
from easyssl.errors import ConfigError
from easyssl.models import build_model

pytestmark = pytest.mark.both_keras


def test_dense_on_numbers():
    model = model_of(block("net", group("numbers"), dense(3, activation="relu")))
    kernel, bias = weights_of(model.backbone.layers_of("", "net")[0][0])
    output, _ = run(model)
    np.testing.assert_allclose(output, np.maximum(NUMBERS @ kernel + bias, 0), rtol=1e-5)


def test_head_is_added_only_where_the_width_differs():
    model = model_of(block("net", group("numbers"), dense(3)))
    output, _ = run(model)
    kernel, bias = weights_of(model._output_layer)
    np.testing.assert_allclose(
        model(model.transform(ROWS))["y"], (output.numpy() @ kernel + bias)[:, 0], rtol=1e-4, atol=1e-6
    )
    model = model_of(block("net", group("numbers"), dense(1)))
    np.testing.assert_allclose(model(model.transform(ROWS))["y"], run(model)[0][:, 0])
    assert not model._output_layer.weights


def test_sequential_layers_run_in_order():
    layers = f"layers {{ {dense(3)} }} layers {{ {dense(2)} }}"
    model = model_of(block("net", group("numbers"), layers))
    (first,), (second,) = model.backbone.layers_of("", "net")
    assert (first.name, second.name) == ("net_l0", "net_l1")
    expected = NUMBERS
    for layer in (first, second):
        kernel, bias = weights_of(layer)
        expected = expected @ kernel + bias
    np.testing.assert_allclose(run(model)[0], expected, rtol=1e-4, atol=1e-6)


def test_slices_functions_and_lambda():
    backbone = block(
        "a", group("numbers") + ' input_slice: "[:, :1]" input_fn: "lambda x: x * 2"', dense(2)
    ) + block("b", f'block_name: "a";{group("numbers")}', 'lambda { expression: "lambda x: x + 1" }')
    model = model_of(backbone)
    kernel, bias = weights_of(model.backbone.layers_of("", "a")[0][0])
    a = 2 * NUMBERS[:, :1] @ kernel + bias
    np.testing.assert_allclose(run(model)[0], np.concatenate([a, NUMBERS], 1) + 1, rtol=1e-5)


def test_extra_input_fn_acts_on_the_merged_input():
    backbone = block(
        "sum",
        f"{group('numbers')};{group('numbers')}",
        "",
        'merge_inputs_into_list: true extra_input_fn: "lambda x: tf.add_n(x)"',
    )
    np.testing.assert_allclose(run(model_of(backbone))[0], 2 * NUMBERS)


def test_recurrent_with_a_fixed_input():
    layer = 'recurrent { num_steps: 2 fixed_input_index: 0 keras_layer { class_name: "Add" } }'
    model = model_of(block("r", group("numbers") + ' input_fn: "lambda x: [x, x]"', layer))
    # x0 + (x0 + x0)
    np.testing.assert_allclose(run(model)[0], 3 * NUMBERS, rtol=1e-6)


def test_recurrent_without_a_fixed_input_has_weights_of_its_own_per_step():
    model = model_of(block("r", group("numbers"), f"recurrent {{ num_steps: 2 {dense(2)} }}"))
    steps = model.backbone.layers_of("", "r")[0]
    assert [s.name for s in steps] == ["r_0", "r_1"]
    expected = NUMBERS
    for step in steps:
        kernel, bias = weights_of(step)
        expected = expected @ kernel + bias
    np.testing.assert_allclose(run(model)[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("more", "shape"), [("", [2, (4, 3)]), ("output_concat_axis: 1", (4, 6))])
def test_repeat_outputs_a_list_or_joins(more, shape):
    layer = f"repeat {{ num_repeat: 2 {more} {dense(3)} }}"
    backbone = block("r", group("numbers"), layer) + block("cat", 'block_name: "r"', "", "")
    model = model_of(backbone + "top_mlp { hidden_units: 2 }")
    _, blocks = run(model)
    value = blocks["r"]
    assert (isinstance(value, list) and [len(value), tuple(value[0].shape)] == shape) or value.shape == shape


def test_repeat_chooses_its_input_by_index():
    layer = 'repeat { num_repeat: 2 input_slice: "[i]" keras_layer { class_name: "Identity" } }'
    backbone = block("r", group("numbers") + ' input_fn: "lambda x: [x, x * 3]"', layer)
    model = model_of(backbone + "top_mlp { hidden_units: 2 }")
    _, blocks = run(model)
    np.testing.assert_allclose(blocks["r"][1], 3 * NUMBERS)


def test_one_table_for_a_whole_group():
    layer = "embedding_layer { embedding_dim: 3 }"
    model = model_of(block("e", group("user_item"), layer))
    output, _ = run(model)
    table = next(np.asarray(tf.convert_to_tensor(w)) for w in model.backbone.weights if w.shape == (20, 3))
    np.testing.assert_allclose(output, np.concatenate([table[[1, 2, 3, 9]], table[[14, 15, 14, 10]]], 1))


def test_embeddings_of_a_whole_group_are_regularised():
    layer = "embedding_layer { embedding_dim: 3 }"
    model = model_of(block("e", group("user_item"), layer), "embedding_regularization: 0.5", "CLASSIFICATION")
    output, _ = run(model)
    losses = model.compute_losses(model.transform(ROWS), {"y": tf.constant([1, 0, 1, 0])})
    expected = 0.25 * np.sum(np.square(output.numpy(), dtype=np.float64))
    np.testing.assert_allclose(losses.weighted["embedding_regularization_loss"], expected, rtol=1e-5)


def test_raw_input_hands_on_the_transformed_features():
    model = model_of(
        block("r", group("numbers"), "raw_input { }") + block("n", 'block_name: "r" input_slice: "[1]"')
    )
    np.testing.assert_array_equal(run(model)[0], NUMBERS[:, 1:])


def test_vocabularies_outlive_the_graph_that_shapes_are_read_from():
    text = model_of(block("net", group("user"))).pipeline_config.text()
    model = build_model(
        parse_config(text.replace("num_buckets: 10", 'vocab_list: ["1", "2", "3", "9"]', 1), "t.config")
    )
    output, _ = run(model)
    np.testing.assert_array_equal(output, model.backbone.lookups.tables["user/user"].get_weights()[0])


def test_regularisation_reaches_the_loss():
    model = model_of(
        block(
            "net",
            f"{group('user')};{group('numbers')}",
            'keras_layer { class_name: "MLP" mlp { hidden_units: [3, 2] } }',
        ),
        extra="embedding_regularization: 0.5",
        loss="CLASSIFICATION",
    )
    text = model.pipeline_config.text().replace("model_params {", "model_params { l2_regularization: 0.1")
    model = build_model(parse_config(text, "test.config"))
    features = model.transform(ROWS)
    losses = model.compute_losses(features, {"y": tf.constant([1, 0, 1, 0])})
    table = model.backbone.lookups.tables["user/user"].get_weights()[0].astype(np.float64)
    np.testing.assert_allclose(
        losses.weighted["embedding_regularization_loss"],
        0.5 / 2 * np.sum(table[[1, 2, 3, 9]] ** 2),
        rtol=1e-5,
    )
    kernels = [w for w in model.backbone.layers_of("", "net")[0][0].trainable_weights if "kernel" in w.name]
    assert len(kernels) == 2
    expected = (
        0.1 / 2 * sum(np.sum(np.square(np.asarray(tf.convert_to_tensor(k), np.float64))) for k in kernels)
    )
    np.testing.assert_allclose(losses.weighted["l2_regularization_loss"], expected, rtol=1e-5)
    assert losses.total > losses.weighted["cross_entropy_loss"]


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (
            block(
                "a",
                group("numbers"),
                'keras_layer { class_name: "Reshape" st_params { fields { key: "target_shape" value { list_value { values { number_value: 7 } } } } } }',
            ),
            r"layer 'a' \(Reshape\) fails: .*; its input is \[batch, 2\]",
        ),
        (
            SEQUENCE + block("b", f'block_name: "seq" input_slice: "[0]";{group("numbers")}'),
            r"cannot be joined on axis -1",
        ),
        (block("a", group("numbers"), dense(3, activation="reluu")), "reluu"),
        (SEQUENCE + block("b", 'block_name: "seq" input_slice: "[0]"'), "one tensor"),
        (block("a", group("numbers"), dense(0.5)), "units.*0.5"),
        (
            block("a", group("numbers"), dense(3, activasion="relu")),
            "no parameter 'activasion'; did you mean 'activation'",
        ),
    ],
)
def test_shape_conflicts_name_the_block(backbone, message):
    with pytest.raises(ConfigError, match=message) as error:
        model_of(backbone)
    assert str(error.value).startswith("test.config:")
    assert "\n" not in str(error.value)


def test_a_pooling_that_refuses_its_parameters_is_an_error_of_the_group():
    pooling = "sequence_combiner { text_cnn { filter_sizes: 2 num_filters: 3 activation: 'rellu' } }"
    data = DATA.replace('input_names: "hist"', f'input_names: "hist" {pooling}')
    pooled = block("a", group("seq"), dense(1))
    text = f'{data} model_config {{ model_class: "RankModel" {GROUPS} backbone {{ {pooled} }} }}'
    with pytest.raises(ConfigError, match=r"feature_groups\[4\]: unknown activation 'rellu'; did you mean"):
        build_model(parse_config(text, "test.config"))


MASKING = """keras_layer {
  class_name: "FeatureMasking"
  st_params {
    fields { key: "strategy" value { string_value: "correlated" } }
    fields { key: "mutual_information" value { string_value: "NAME" } }
  }
}"""


def test_a_file_that_a_layer_reads_starts_from_the_folder_of_the_config(tmp_path):
    (tmp_path / "inside").mkdir()
    for folder in (tmp_path, tmp_path / "inside"):
        np.save(folder / "mi.npy", np.eye(2))

    def model_with(name):
        fields = block("fields", group("user_item"), "input_layer { only_output_feature_list: true }")
        views = block("views", 'block_name: "fields"', MASKING.replace("NAME", name))
        first = block("first", 'block_name: "views" input_slice: "[0]"')
        text = f"""{DATA} model_config {{ model_class: "RankModel" loss_type: L2_LOSS {GROUPS} model_params {{ }}
          backbone {{ {fields} {views} {first} concat_blocks: "first" }} }}"""
        return build_model(parse_config(text, str(tmp_path / "inside" / "my.config")))

    ((layer,),) = model_with("mi.npy").backbone.layers_of("", "views")
    assert layer.get_config()["mutual_information"] == [[1.0, 0.0], [0.0, 1.0]]
    for name, message in (
        ("../mi.npy", "mutual_information: '../mi.npy' leaves the folder"),
        ("absent.npy", "absent.npy' cannot be read: No such file"),
    ):
        with pytest.raises(ConfigError, match=message):
            model_with(name)
