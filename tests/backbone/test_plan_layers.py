"""Plans: expressions and layers."""

import pytest
from plans import FEATURES, GROUPS, MLP, USER, block, group, plan_of, refused, warnings

from easyssl.backbone.plan import build_plan
from easyssl.config import parse_config
from easyssl.data.features.spec import build_feature_specs
from easyssl.errors import ConfigError


class TestExpressions:
    def test_they_are_parsed(self):
        plan = plan_of(
            block(
                "a",
                group("user") + " input_slice: '[1:]' input_fn: 'lambda x: [x, x]'",
                layer="lambda { expression: 'lambda x: tf.concat(x, axis=1)' }",
                more="extra_input_fn: 'lambda x: x[0]' input_concat_axis: 0",
            )
        )
        a = plan.main.block("a")
        assert a.inputs[0].slice([1, 2]) == [2]
        assert a.inputs[0].fn(3) == [3, 3]
        assert a.extra_input_fn([7]) == 7
        assert a.layers[0].expression.text == "lambda x: tf.concat(x, axis=1)"
        assert a.concat_axis == 0

    @pytest.mark.parametrize(
        ("backbone", "path", "words"),
        [
            (
                block("a", group("user") + " input_fn: 'lambda x: tf.reduce_sun(x)'"),
                "blocks[0].inputs[0].input_fn",
                "did you mean 'tf.reduce_sum'?, at column 11 of 'lambda x: tf.reduce_sun(x)'",
            ),
            (
                block("a", group("user") + " input_slice: '[i]'"),
                "blocks[0].inputs[0].input_slice",
                "unknown name 'i'; valid are 'x', at column 2 of '[i]'",
            ),
            (
                block("a", group("user") + " input_fn: 'lambda x, i: x'"),
                "blocks[0].inputs[0].input_fn",
                "expected a lambda with 1 parameters, found 2",
            ),
            (
                block("a", group("user"), more="extra_input_fn: '__import__(1)'"),
                "blocks[0].extra_input_fn",
                "not a function",
            ),
            (
                block("a", group("user"), layer="lambda { expression: 'x.y' }"),
                "blocks[0].lambda.expression",
                "attributes are not allowed",
            ),
            (block("a", group("user"), layer="lambda {}"), "blocks[0].lambda", "needs an expression"),
        ],
    )
    def test_refused(self, backbone, path, words):
        found, text = refused(backbone)
        assert (found, words in text) == (path, True), text

    def test_the_place_is_the_line_of_the_field(self):
        text = f"{FEATURES} model_config {{ {GROUPS} backbone {{\n blocks {{ name: 'a'\n" + (
            "  inputs { feature_group_name: 'user'\n   input_fn: 'lambda x: y' } } } }"
        )
        config = parse_config(text, "a.config")
        line = text[: text.index("input_fn")].count("\n") + 1
        with pytest.raises(ConfigError, match=rf"^a\.config:{line}:4: .*input_fn: unknown name 'y'"):
            build_plan(config, build_feature_specs(config))


class TestLayers:
    def test_parameters_are_bound(self):
        layer = "keras_layer { class_name: 'MLP' mlp { hidden_units: [8, 4] dropout_ratio: 0.1 } }"
        (mlp,) = plan_of(block("a", group("user"), layer=layer)).main.block("a").layers
        assert (mlp.kind, mlp.name, mlp.class_name, mlp.bound) == ("keras_layer", "a", "MLP", True)
        assert mlp.kwargs == {"hidden_units": [8, 4], "dropout_ratio": [0.1]}
        assert mlp.path == "model_config.backbone.blocks[0].keras_layer"
        assert mlp.params_path == "model_config.backbone.blocks[0].keras_layer.mlp"

    def test_layers_of_keras_are_bound_later(self):
        st_params = "st_params { fields { key: 'units' value { number_value: 4 } } }"
        layer = f"keras_layer {{ class_name: 'Dense' {st_params} }}"
        (dense,) = plan_of(block("a", group("user"), layer=layer)).main.block("a").layers
        assert (dense.kwargs, dense.bound) == ({"units": 4}, False)

    def test_a_sequence_of_layers(self):
        layers = f"layers {{ {MLP} }} layers {{ lambda {{ expression: 'x * 2' }} }}"
        plan = plan_of(block("a", group("user"), layer="lambda { expression: 'x' }", more=layers))
        assert [(layer.kind, layer.name) for layer in plan.main.block("a").layers] == [
            ("keras_layer", "a_l0"),
            ("lambda", "a_l1"),
        ]
        assert ["model_config.backbone.blocks[0].lambda", "has no effect: the block has layers"] in warnings(
            plan
        )

    def test_recurrent(self):
        layer = f"recurrent {{ num_steps: 3 fixed_input_index: 0 {MLP} }}"
        (found,) = plan_of(block("a", group("user"), layer=layer)).main.block("a").layers
        assert (found.kind, found.num_steps, found.fixed_input_index) == ("recurrent", 3, 0)
        assert found.path == "model_config.backbone.blocks[0].recurrent.keras_layer"

    def test_repeat(self):
        more = "output_concat_axis: 0 input_slice: '[i]' input_fn: 'lambda x, i: x * i'"
        layer = f"repeat {{ num_repeat: 2 {more} {MLP} }}"
        (found,) = plan_of(block("a", group("user"), layer=layer)).main.block("a").layers
        assert (found.kind, found.num_repeat, found.output_concat_axis) == ("repeat", 2, 0)
        assert found.input_slice([5, 6], 1) == 6
        assert found.input_fn(4, 3) == 12

    def test_a_list_unless_an_axis_is_set(self):
        (found,) = (
            plan_of(block("a", group("user"), layer=f"repeat {{ num_repeat: 2 {MLP} }}"))
            .main.block("a")
            .layers
        )
        assert found.output_concat_axis is None and found.input_fn is None

    @pytest.mark.parametrize(
        ("layer", "path", "words"),
        [
            ("keras_layer {}", "keras_layer", "needs a class_name"),
            ("keras_layer { class_name: 'MLPP' }", "keras_layer.class_name", "did you mean 'MLP'"),
            ("keras_layer { class_name: 'Lambda' }", "keras_layer.class_name", "no layer is called 'Lambda'"),
            (
                "keras_layer { class_name: 'os.system' }",
                "keras_layer.class_name",
                "no layer is called 'os.system'",
            ),
            (
                "keras_layer { class_name: 'MappedDotProduct' }",
                "keras_layer.class_name",
                "layer 'MappedDotProduct' works on text, and a model gets numbers only; do that where",
            ),
            (
                "keras_layer { class_name: 'TextNormalize' }",
                "keras_layer.class_name",
                "layer 'TextNormalize' works on text",
            ),
            ("keras_layer { class_name: 'mlp' }", "keras_layer.class_name", "did you mean 'MLP'"),
            ("keras_layer { class_name: 'st_params' }", "keras_layer.class_name", "no layer is called"),
            ("keras_layer { class_name: 'MLP' }", "keras_layer", "MLP needs the parameter 'hidden_units'"),
            (
                "keras_layer { class_name: 'MLP' mlp {} }",
                "keras_layer.mlp",
                "needs the parameter 'hidden_units'",
            ),
            (
                "keras_layer { class_name: 'MLP' bst {} }",
                "keras_layer.bst",
                "MLP takes 'mlp' or st_params, found 'bst'",
            ),
            (
                "keras_layer { class_name: 'Dense' mlp {} }",
                "keras_layer.mlp",
                "Dense is a Keras layer and takes st_params, found 'mlp'",
            ),
            (
                "keras_layer { class_name: 'Dropout' st_params { fields { key: 'rat' value { number_value: 1 } } } }",
                "keras_layer.st_params.rat",
                "Dropout has no parameter 'rat'; did you mean 'rate'?",
            ),
            (f"recurrent {{ num_steps: 0 {MLP} }}", "recurrent.num_steps", "is 0, expected 1 to 1000"),
            (f"recurrent {{ num_steps: 4000000000 {MLP} }}", "recurrent.num_steps", "is 4000000000"),
            ("recurrent { num_steps: 2 }", "recurrent", "a recurrent layer needs a keras_layer"),
            (f"repeat {{ num_repeat: 0 {MLP} }}", "repeat.num_repeat", "is 0"),
            ("repeat {}", "repeat", "needs a keras_layer"),
            (f"repeat {{ input_fn: 'lambda x: x' {MLP} }}", "repeat.input_fn", "with 2 parameters, found 1"),
            ("layers {}", "layers[0]", "none is set"),
        ],
    )
    def test_refused(self, layer, path, words):
        found, text = refused(block("a", group("user"), layer=layer))
        assert (found, words in text) == (f"blocks[0].{path}", True), text

    def test_fields_for_another_class_of_the_same_message_have_no_effect(self):
        fields = (
            "hidden_size: 8 num_attention_heads: 2 intermediate_size: 4 num_hidden_layers: 3 vocab_size: 9"
        )
        layer = f"keras_layer {{ class_name: 'TransformerBlock' transformer {{ {fields} }} }}"
        plan = plan_of(block("a", group("user"), layer=layer))
        assert plan.main.block("a").layers[0].kwargs == {
            "hidden_size": 8,
            "num_attention_heads": 2,
            "intermediate_size": 4,
        }
        found = {path.rpartition(".")[2]: text for path, text in warnings(plan) if ".transformer." in path}
        assert set(found) == {"num_hidden_layers", "vocab_size"}
        assert all("TransformerBlock is one layer on vectors" in text for text in found.values())

    def test_words_are_split_by_features(self):
        def config(fields):
            layer = f"keras_layer {{ class_name: 'TextEncoder' text_encoder {{ {fields} }} }}"
            backbone = block("a", group("user"), layer=layer)
            return parse_config(f"{FEATURES} model_config {{ {GROUPS} backbone {{ {backbone} }} }}")

        found = {
            f.path.rpartition(".")[2]: f.reason for f in config("separator: '|' vocab_file: 'words'").refused
        }
        assert set(found) == {"separator", "vocab_file"}
        assert found["separator"] == "the feature splits its cell; set its separator"
        default = config("transformer { hidden_size: 8 } separator: ' '")
        plan = build_plan(default, build_feature_specs(default))
        assert plan.main.block("a").layers[0].kwargs == {"transformer": {"hidden_size": 8}}

    def test_top_mlp(self):
        plan = plan_of(USER + "top_mlp { hidden_units: [4, 1] }")
        assert (plan.top_mlp.name, plan.top_mlp.kwargs) == ("backbone_top_mlp", {"hidden_units": [4, 1]})
        assert refused(USER + "top_mlp {}") == ("top_mlp", "MLP needs the parameter 'hidden_units'")
        assert plan_of(USER).top_mlp is None

    def test_a_plugin(self):
        from tensorflow import keras

        from easyssl.registry import register, temporary_registration

        with temporary_registration():

            @register("TestPlanDoubled")
            class Doubled(keras.layers.Layer):
                def __init__(self, factor: int, **kwargs):
                    super().__init__(**kwargs)

            struct = "st_params { fields { key: 'factor' value { number_value: 2 } } }"
            layer = f"keras_layer {{ class_name: 'TestPlanDoubled' {struct} }}"
            assert plan_of(block("a", group("user"), layer=layer)).main.block("a").layers[0].kwargs == {
                "factor": 2
            }


@pytest.mark.parametrize(
    ("prototypes", "batch", "queue", "warned"),
    [
        (33, "", "", True),
        (33, "batch_size: 33", "", False),
        (33, "", "queue_size", False),
        (32, "", "", False),
    ],
)
def test_more_prototypes_than_rows_without_a_queue_are_warned_of(prototypes, batch, queue, warned):
    fields = f"fields {{ key: 'num_prototypes' value {{ number_value: {prototypes} }} }}"
    if queue:
        fields += f" fields {{ key: '{queue}' value {{ number_value: 100 }} }}"
    layer = f"keras_layer {{ class_name: 'SinkhornClustering' st_params {{ {fields} }} }}"
    features = f"{FEATURES} data_config {{ {batch} }}"
    plan = plan_of(USER + block("clusters", "block_name: 'u'", layer=layer), features=features)
    found = [(path, text) for path, text in warnings(plan) if "num_prototypes" in path]
    assert len(found) == warned
    for path, text in found:
        assert path.endswith("blocks[1].keras_layer.st_params.num_prototypes")
        assert text.startswith("is 33, but a batch has 32 rows (data_config.batch_size)")
