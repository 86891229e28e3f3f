"""Plans: what a backbone's text means, and where and how it is refused."""

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.backbone.plan import MAIN, InputLayerPlan, build_plan
from easyssl.config import parse_config
from easyssl.data.features.spec import build_feature_specs
from easyssl.errors import ConfigError

FEATURES = """
data_config {
  input_fields { input_name: 'user' input_type: STRING }
  input_fields { input_name: 'age' input_type: INT64 }
  input_fields { input_name: 'item' input_type: STRING }
  input_fields { input_name: 'history' input_type: STRING }
  input_fields { input_name: 'recent' input_type: STRING }
  input_fields { input_name: 'price' input_type: FLOAT }
  input_fields { input_name: 'f1' input_type: STRING }
  input_fields { input_name: 'f2' input_type: STRING }
  input_fields { input_name: 'f3' input_type: STRING }
}
feature_config {
  features { input_names: 'user' hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'age' num_buckets: 10 embedding_dim: 8 }
  features { input_names: 'item' hash_bucket_size: 10 embedding_dim: 4 }
  features { input_names: 'history' feature_type: SequenceFeature hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'recent' feature_type: SequenceFeature hash_bucket_size: 10 embedding_dim: 8
             sequence_combiner { attention {} } }
  features { input_names: 'price' feature_type: RawFeature }
  features { input_names: 'f1' hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'f2' hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'f3' hash_bucket_size: 10 embedding_dim: 8 }
}
"""
GROUPS = """
  feature_groups { group_name: 'user' feature_names: ['user', 'age'] wide_deep: DEEP }
  feature_groups { group_name: 'item' feature_names: ['item', 'f[1-3]'] wide_deep: DEEP }
  feature_groups { group_name: 'sequence' feature_names: ['item', 'history'] wide_deep: DEEP }
"""
MLP = "keras_layer { class_name: 'MLP' mlp { hidden_units: 8 } }"


def plan_of(backbone, groups=GROUPS):
    config = parse_config(f"{FEATURES} model_config {{ {groups} backbone {{ {backbone} }} }}", "a.config")
    return build_plan(config, build_feature_specs(config))


def refused(backbone, groups=GROUPS):
    """Returns the field path and the text of the error."""
    with pytest.raises(ConfigError) as error:
        plan_of(backbone, groups)
    place, path, text = str(error.value).split(": ", 2)
    assert place.startswith("a.config:") and "\n" not in text
    return path.removeprefix("model_config.").removeprefix("backbone."), text


def warnings(plan):
    return [warning.split(": ", 2)[1:] for warning in plan.warnings]


def block(name, *inputs, layer="", more=""):
    return f"blocks {{ name: '{name}' {' '.join(f'inputs {{ {i} }}' for i in inputs)} {layer} {more} }} "


def group(name):
    return f"feature_group_name: '{name}'"


def of(name, more=""):
    return f"block_name: '{name}' {more}"


USER = block("u", group("user"), layer=MLP)
ITEM = block("i", group("item"), layer=MLP)


class TestOrder:
    def test_blocks_follow_what_they_read_and_declaration_order_otherwise(self):
        plan = plan_of(
            block("c", of("a"), of("b"), layer=MLP) + block("b", group("user")) + block("a", group("item"))
        )
        assert [b.name for b in plan.main.blocks] == ["item", "user", "b", "a", "c"] or [
            b.name for b in plan.main.blocks
        ] == ["user", "b", "item", "a", "c"]

    def test_an_implicit_block_stands_for_a_group(self):
        plan = plan_of(USER + ITEM)
        assert [b.name for b in plan.main.blocks] == ["user", "u", "item", "i"]
        implicit = plan.main.block("user")
        assert implicit.implicit and implicit.kind == "input_layer" and implicit.group == "user"
        assert implicit.input_layer == InputLayerPlan()
        assert plan.main.block("u").inputs[0].name == "user"

    def test_a_group_name_means_the_block_of_that_name(self):
        explicit = block("user", group("user"), layer="input_layer { only_output_feature_list: true }")
        plan = plan_of(block("u", group("user"), layer="lambda { expression: 'tf.add_n(x)' }") + explicit)
        assert [(b.name, b.implicit) for b in plan.main.blocks] == [("user", False), ("u", False)]
        assert plan.main.block("user").input_layer.output_format == "list"

    def test_several_input_blocks_may_read_one_group(self):
        layer = "input_layer { only_output_feature_list: true }"
        plan = plan_of(block("a", group("user"), layer=layer) + block("b", group("user"), layer=layer) + USER)
        assert [b.name for b in plan.main.blocks] == ["a", "b", "user", "u"]

    def test_ignored_inputs_order_blocks_too(self):
        plan = plan_of(block("first", of("last"), group("user")) + block("last", group("user"), layer=MLP))
        assert [b.name for b in plan.main.blocks] == ["user", "last", "first"]
        plan = plan_of(
            block("a", group("user"), of("z", "ignore_input: true"), layer=MLP)
            + block("z", group("item"), layer=MLP)
        )
        assert [b.name for b in plan.main.blocks][-1] == "a"
        assert plan.main.block("a").inputs[1].ignore

    def test_long_chains_need_no_recursion(self):
        chain = "".join(block(f"b{i}", of(f"b{i - 1}")) for i in range(3000, 0, -1))
        plan = plan_of(chain + block("b0", group("user")))
        assert [b.name for b in plan.main.blocks] == ["user", *(f"b{i}" for i in range(3001))]

    def test_a_cycle_is_shown(self):
        path, text = refused(block("a", of("c")) + block("b", of("a")) + block("c", of("b"), group("user")))
        assert text.removeprefix("blocks form a cycle: ") in (
            "a -> b -> c -> a",
            "b -> c -> a -> b",
            "c -> a -> b -> c",
        )
        assert path.startswith("blocks[")

    def test_a_block_that_reads_itself_is_a_cycle(self):
        assert refused(block("a", of("a"), group("user"))) == ("blocks[0]", "blocks form a cycle: a -> a")

    def test_a_cycle_through_a_package(self):
        package = "packages { name: 'p' " + block("inner", of("a")) + "}"
        path, text = refused(package + block("a", "package_name: 'p'"))
        assert sorted(set(text.removeprefix("blocks form a cycle: ").split(" -> "))) == [
            "a",
            "p/inner",
            "package p",
        ]

    def test_packages_that_call_each_other(self):
        packages = "".join(
            f"packages {{ name: '{a}' {block('x', group('user'), f'package_name: {b!r}')} }}"
            for a, b in [("p", "q"), ("q", "p")]
        )
        _, text = refused(packages + block("a", "package_name: 'p'"))
        assert text.startswith("blocks form a cycle: ") and "package p" in text and "package q" in text


class TestNames:
    @pytest.mark.parametrize(
        ("backbone", "path", "words"),
        [
            (block("", group("user")), "blocks[0]", "a block needs a name"),
            (USER + USER, "blocks[1].name", "there already is a block 'u'"),
            (block("a/b", group("user")), "blocks[0].name", "must not have a '/'"),
            (block("user", of("i")) + ITEM, "blocks[0].name", "only an input block may be called"),
            (block("a", group("usr")), "blocks[0].inputs[0].feature_group_name", "did you mean 'user'"),
            (block("a", of("tower")), "blocks[0].inputs[0].block_name", "there is no block 'tower'"),
            (USER + block("a", of("uu")), "blocks[1].inputs[0].block_name", "did you mean 'u'"),
            (block("a", of("user")), "blocks[0].inputs[0].block_name", "write feature_group_name: 'user'"),
            (
                USER + block("a", group("u2")),
                "blocks[1].inputs[0].feature_group_name",
                "no feature group 'u2'",
            ),
            (block("a", "package_name: 'p'"), "blocks[0].inputs[0].package_name", "no package 'p'"),
            (
                USER + block("a", "package_name: 'u'"),
                "blocks[1].inputs[0].package_name",
                "write block_name: 'u'",
            ),
            (block("a", "input_slice: '[0]'"), "blocks[0].inputs[0]", "needs one of feature_group_name"),
            (block("a", "use_package_input: false"), "blocks[0].inputs[0].use_package_input", "is false"),
            (
                block("a", "use_package_input: true"),
                "blocks[0].inputs[0].use_package_input",
                "only a block of a",
            ),
            ("blocks { name: 'a' }", "blocks[0]", "needs at least one of inputs"),
            ("", "backbone", "has no blocks"),
            ("packages { name: 'p' } " + USER, "packages[0]", "has no blocks"),
            (f"packages {{ {USER} }} {USER}", "packages[0]", "a package needs a name"),
            (
                f"packages {{ name: 'p' {USER} }} packages {{ name: 'p' {USER} }}",
                "packages[1].name",
                "already is",
            ),
            (USER + "concat_blocks: 'ux'", "concat_blocks[0]", "did you mean 'u'"),
            (USER + "output_blocks: ['u', 'x']", "output_blocks[1]", "there is no block 'x'"),
            (
                f"packages {{ name: 'p' {USER} }} {ITEM} output_blocks: 'p'",
                "output_blocks[0]",
                "'p' is a package; name a block that calls it",
            ),
        ],
    )
    def test_refused(self, backbone, path, words):
        found, text = refused(backbone)
        assert (found, words in text) == (path, True), text

    def test_without_a_backbone(self):
        config = parse_config(f"{FEATURES} model_config {{ model_class: 'DSSM' }}", "a.config")
        with pytest.raises(ConfigError, match="there is no backbone"):
            build_plan(config, build_feature_specs(config))


class TestInputBlocks:
    @pytest.mark.parametrize(
        ("backbone", "path", "words"),
        [
            (
                block("a", group("user"), group("item"), layer="input_layer {}"),
                "blocks[0].inputs[1]",
                "input_layer takes one input, found 2",
            ),
            (
                USER + block("a", of("u"), layer="raw_input {}"),
                "blocks[1].inputs[0]",
                "needs a feature_group_name",
            ),
            (
                block("a", group("usr"), layer="input_layer {}"),
                "blocks[0].inputs[0].feature_group_name",
                "did you mean 'user'",
            ),
            (
                block(
                    "a", group("user"), layer="input_layer {}", more="layers { lambda { expression: 'x' } }"
                ),
                "blocks[0].layers",
                "exclude each other",
            ),
            (
                block("a", group("user"), layer="input_layer { do_batch_norm: true do_layer_norm: true }"),
                "blocks[0].input_layer.do_layer_norm",
                "exclude each other",
            ),
            (
                block("a", group("user"), layer="input_layer { dropout_rate: 1.0 }"),
                "blocks[0].input_layer.dropout_rate",
                "is 1, expected 0 or more and less than 1",
            ),
            (
                block("a", group("user"), layer="input_layer { feature_dropout_rate: -0.5 }"),
                "blocks[0].input_layer.feature_dropout_rate",
                "is -0.5",
            ),
            (
                block("a", group("user"), layer="input_layer { output_seq_and_normal_feature: true }"),
                "blocks[0].input_layer",
                "group 'user' has no sequence feature",
            ),
            (
                block("a", group("sequence")),
                "blocks[0].inputs[0]",
                "feature 'history' of group 'sequence' is a sequence and has no sequence_combiner",
            ),
            (
                block("a", group("item"), layer="input_layer { only_output_3d_tensor: true }"),
                "blocks[0].input_layer",
                "differ in width and cannot be stacked: item 4, f1 8, f2 8, f3 8",
            ),
            (
                block("a", group("user"), layer="embedding_layer {}"),
                "blocks[0].embedding_layer",
                "embedding_dim",
            ),
            (
                block("a", group("user"), layer="embedding_layer { embedding_dim: 4 combiner: 'avg' }"),
                "blocks[0].embedding_layer.combiner",
                "there is no combiner 'avg'",
            ),
        ],
    )
    def test_refused(self, backbone, path, words):
        found, text = refused(backbone)
        assert (found, words in text) == (path, True), text

    def test_settings(self):
        layer = "input_layer { dropout_rate: 0.1 do_batch_norm: true only_output_feature_list: true }"
        plan = plan_of(block("a", group("user"), layer=layer))
        assert plan.main.block("a").input_layer == InputLayerPlan(
            dropout_rate=0.1, do_batch_norm=True, only_output_feature_list=True
        )
        assert plan.main.block("a").inputs == ()
        assert all("no block reads" in text for _, text in warnings(plan))

    def test_embedding_and_raw_blocks(self):
        plan = plan_of(
            block("a", group("user"), layer="embedding_layer { embedding_dim: 4 concat: false }")
            + block("b", group("item"), layer="raw_input {}")
        )
        embedding = plan.main.block("a").embedding
        assert (embedding.embedding_dim, embedding.combiner, embedding.concat) == (4, "weight", False)
        assert plan.main.block("b").kind == "raw_input"

    def test_a_sequence_with_a_combiner_is_a_plain_feature(self):
        groups = "feature_groups { group_name: 'g' feature_names: ['user', 'recent'] }"
        assert plan_of(block("a", group("g")), groups).main.block("g").input_layer == InputLayerPlan()

    @pytest.mark.parametrize(
        ("block_text", "field", "words"),
        [
            (
                block("a", group("user"), layer="input_layer {}", more="extra_input_fn: 'lambda x: x'"),
                "extra_input_fn",
                "has no effect: put it on the inputs that read 'a'",
            ),
            (
                block("a", group("user") + " input_slice: '[0]'", layer="input_layer {}"),
                "inputs[0].input_slice",
                "has no effect: put it on the inputs that read 'a'",
            ),
            (
                block("a", group("user"), layer="input_layer {}", more="merge_inputs_into_list: true"),
                "merge_inputs_into_list",
                "has no effect",
            ),
            (
                block(
                    "a",
                    group("user"),
                    layer="input_layer { only_output_feature_list: true only_output_3d_tensor: true }",
                ),
                "input_layer.only_output_3d_tensor",
                "has no effect: only_output_feature_list is set",
            ),
            (
                block(
                    "a",
                    group("sequence"),
                    layer="input_layer { output_seq_and_normal_feature: true dropout_rate: 0.5 }",
                ),
                "input_layer.dropout_rate",
                "has no effect: sequences are not processed",
            ),
        ],
    )
    def test_settings_without_effect_are_warned_of(self, block_text, field, words):
        found = warnings(plan_of(block_text))
        assert [path for path, _ in found if "no block reads" not in _] == [
            f"model_config.backbone.blocks[0].{field}"
        ]
        assert words in found[0][1]


class TestTuples:
    LIST = block("t", group("user"), layer="input_layer { output_2d_tensor_and_feature_list: true }")

    def test_a_tuple_is_not_merged(self):
        path, text = refused(self.LIST + block("a", group("item"), of("t")))
        assert path == "blocks[1].inputs[1]"
        assert text.startswith("block 't' gives a tuple (tensor, list of features), which cannot be merged")

    @pytest.mark.parametrize(
        "inputs",
        [
            [of("t")],
            [of("t", "input_slice: '[0]'"), group("item")],
            [of("t", "input_fn: 'lambda x: x[0]'"), group("item")],
            [of("t", "ignore_input: true"), group("item")],
            [of("t"), group("item") + " ignore_input: true"],
        ],
    )
    def test_it_may_be_alone_or_sliced_or_ignored(self, inputs):
        plan_of(self.LIST + block("a", *inputs))

    def test_it_may_become_an_element_of_a_list(self):
        plan_of(self.LIST + block("a", of("t"), group("item"), more="merge_inputs_into_list: true"))


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


class TestOutputs:
    LOSS = (
        "keras_layer { class_name: 'AuxiliaryLoss' st_params { "
        "fields { key: 'loss_type' value { string_value: 'info_nce' } } } }"
    )

    def test_leaves_in_declaration_order(self):
        plan = plan_of(USER + ITEM + block("mid", of("u")) + block("z", of("mid")))
        assert (plan.main.outputs, plan.main.output_as_list) == (("i", "z"), False)

    def test_concat_blocks(self):
        plan = plan_of(USER + ITEM + "concat_blocks: ['i', 'u']")
        assert (plan.main.outputs, plan.main.output_as_list) == (("i", "u"), False)

    def test_output_blocks_are_a_list_even_for_one(self):
        plan = plan_of(USER + ITEM + block("a", of("u"), of("i")) + "output_blocks: 'a'")
        assert (plan.main.outputs, plan.main.output_as_list) == (("a",), True)

    def test_output_blocks_come_first(self):
        plan = plan_of(USER + ITEM + "concat_blocks: 'i' output_blocks: ['u', 'i']")
        assert plan.main.outputs == ("u", "i")
        assert ["model_config.backbone.concat_blocks", "has no effect: output_blocks is set"] in warnings(
            plan
        )

    def test_unused_blocks_are_known_and_warned_of(self):
        plan = plan_of(USER + ITEM + "concat_blocks: 'u'")
        assert plan.main.unused == ("item", "i")
        assert [
            "model_config.backbone.blocks[1]",
            "neither an output nor a loss depends on block 'i'",
        ] in warnings(plan)

    def test_a_loss_needs_its_inputs(self):
        plan = plan_of(USER + ITEM + block("loss", of("u"), of("i"), layer=self.LOSS) + "concat_blocks: 'u'")
        assert plan.main.unused == ("item", "i", "loss")
        assert plan.main.block("loss").reports_loss
        assert not [text for _, text in warnings(plan) if "depends" in text]

    def test_a_loss_is_no_leaf(self):
        inputs = (of("u"), of("i"))
        plan = plan_of(
            USER + ITEM + block("loss", *inputs, layer=self.LOSS) + block("out", of("u"), layer=MLP)
        )
        assert plan.main.outputs == ("out",)
        assert [
            "model_config.backbone.blocks[2]",
            "block 'loss' is a loss and left out of the output",
        ] in warnings(plan)

    def test_only_losses(self):
        path, text = refused(USER + block("loss", of("u"), of("u"), layer=self.LOSS))
        assert (path, text) == ("backbone", "no block is left for the output; add concat_blocks")

    def test_blocks_that_only_packages_read_are_leaves(self):
        package = f"packages {{ name: 'p' {block('x', of('u'))} }}"
        plan = plan_of(package + USER + block("out", "package_name: 'p'", layer=MLP))
        assert plan.main.outputs == ("u", "out")
        assert any("because only packages read it" in text for _, text in warnings(plan))


class TestPackages:
    ENCODER = f"packages {{ name: 'encoder' {block('e', 'use_package_input: true', layer=MLP)} }} "

    def test_a_call(self):
        call = (
            "package_name: 'encoder' package_input: 'u' package_input_fn: 'lambda x: [x]' input_slice: '[0]'"
        )
        plan = plan_of(self.ENCODER + USER + block("a", call))
        (source,) = plan.main.block("a").inputs
        assert (source.kind, source.name) == ("package", "encoder")
        assert (source.package_input, source.package_input_kind, source.package_input_scope) == (
            "u",
            "block",
            MAIN,
        )
        assert source.package_input_fn(1) == [1]
        assert source.slice([4]) == 4
        assert plan.packages["encoder"].outputs == ("e",)
        assert plan.packages["encoder"].block("e").inputs[0].kind == "package_input"
        assert plan.main.outputs == ("a",)

    def test_a_package_as_package_input(self):
        augment = f"packages {{ name: 'augment' {block('x', group('user'))} }} "
        plan = plan_of(
            augment + self.ENCODER + block("a", "package_name: 'encoder' package_input: 'augment'")
        )
        assert plan.main.block("a").inputs[0].package_input_kind == "package"

    def test_a_block_is_preferred_to_a_package(self):
        augment = f"packages {{ name: 'u' {block('x', group('user'))} }} "
        plan = plan_of(
            augment + self.ENCODER + USER + block("a", "package_name: 'encoder' package_input: 'u'")
        )
        assert plan.main.block("a").inputs[0].package_input_kind == "block"
        assert any("no block calls package 'u'" in text for _, text in warnings(plan))

    def test_a_feature_group_as_package_input(self):
        plan = plan_of(self.ENCODER + block("a", "package_name: 'encoder' package_input: 'user'"))
        assert [b.name for b in plan.main.blocks] == ["user", "a"]

    def test_packages_read_their_own_blocks_first_and_main_blocks_else(self):
        package = f"packages {{ name: 'p' {block('u', group('user'))} {block('x', of('u'), of('i'))} }} "
        plan = plan_of(package + USER + ITEM + block("a", "package_name: 'p'"))
        assert [(s.name, s.scope) for s in plan.packages["p"].block("x").inputs] == [("u", "p"), ("i", MAIN)]

    def test_main_blocks_that_a_package_reads_come_before_its_calls(self):
        inner = f"packages {{ name: 'inner' {block('x', of('late'))} }} "
        call = "package_name: 'inner'"
        outer = f"packages {{ name: 'outer' {block('y', call)} }} "
        plan = plan_of(outer + inner + block("a", "package_name: 'outer'") + block("late", group("user")))
        assert [b.name for b in plan.main.blocks] == ["user", "late", "a"]
        assert list(plan.packages) == ["inner", "outer"]
        assert [g.name for g in plan.graphs] == ["inner", "outer", MAIN]

    def test_reset_input(self):
        package = f"packages {{ name: 'p' {block('x', group('user'), layer='input_layer { dropout_rate: 0.5 }')} }} "
        plan = plan_of(package + block("a", "package_name: 'p' reset_input {}"))
        assert plan.main.block("a").inputs[0].reset_input == InputLayerPlan()

    @pytest.mark.parametrize(
        ("backbone", "path", "words"),
        [
            (
                ENCODER + block("a", "package_name: 'encoder'"),
                "blocks[0].inputs[0]",
                "package 'encoder' needs a package_input",
            ),
            (
                ENCODER + USER + block("a", "package_name: 'encoder' package_input: 'encoder'"),
                "blocks[1].inputs[0].package_input",
                "needs a package input of its own",
            ),
            (
                ENCODER + USER + block("a", "package_name: 'encoder' package_input: 'v'"),
                "blocks[1].inputs[0].package_input",
                "there is no block or package 'v'",
            ),
            (
                f"packages {{ name: 'p' {block('x', group('user'), layer='input_layer {}')} }}"
                + block("a", "package_name: 'p' reset_input { output_seq_and_normal_feature: true }"),
                "blocks[0].inputs[0].reset_input",
                "has no sequence feature",
            ),
        ],
    )
    def test_refused(self, backbone, path, words):
        found, text = refused(backbone)
        assert (found, words in text) == (path, True), text

    @pytest.mark.parametrize(
        ("backbone", "field", "words"),
        [
            (
                USER + block("a", of("u", "package_input: 'u'")),
                "inputs[0].package_input",
                "the input is no package",
            ),
            (
                USER + block("a", of("u", "reset_input {}")),
                "inputs[0].reset_input",
                "the input is no package",
            ),
            (
                f"packages {{ name: 'p' {USER} }} "
                + ITEM
                + block("a", "package_name: 'p' package_input: 'i'"),
                "inputs[0].package_input",
                "no block of package 'p' has use_package_input",
            ),
            (
                ENCODER + USER + block("a", "package_name: 'encoder' package_input: 'u' reset_input {}"),
                "inputs[0].reset_input",
                "package 'encoder' has no input_layer",
            ),
            (
                USER + block("a", of("u", "ignore_input: true input_slice: '[0]'"), group("user")),
                "inputs[0].input_slice",
                "the input is ignored",
            ),
        ],
    )
    def test_settings_without_effect_are_warned_of(self, backbone, field, words):
        path = f"model_config.backbone.blocks[1].{field}"
        assert [text for place, text in warnings(plan_of(backbone)) if place == path and words in text]


class TestGroups:
    WIDE = "feature_groups { group_name: 'wide' feature_names: 'user' wide_deep: WIDE }"

    def test_ranges_are_written_out(self):
        plan = plan_of(USER + ITEM)
        assert plan.groups["item"].features == ("item", "f1", "f2", "f3")
        assert not plan.groups["item"].wide

    def test_used_groups(self):
        plan = plan_of(USER)
        assert plan.used_groups == ("user",)
        assert [text for _, text in warnings(plan)] == [
            "no block reads feature group 'item'",
            "no block reads feature group 'sequence'",
        ]

    @pytest.mark.parametrize(
        ("groups", "words"),
        [
            ("feature_groups { feature_names: 'user' }", "needs a group_name"),
            ("feature_groups { group_name: 'a' }", "group 'a' has no feature_names"),
            ("feature_groups { group_name: 'a' feature_names: 'usr' }", "did you mean 'user'"),
            ("feature_groups { group_name: 'a' feature_names: ['user', 'user'] }", "listed twice"),
            ("feature_groups { group_name: 'a' feature_names: 'f[3-1]' }", "must count upwards"),
            ("feature_groups { group_name: 'a' feature_names: 'f[1-4]' }", "'f4'"),
            (
                "feature_groups { group_name: 'a' feature_names: 'user' wide_deep: WIDE_AND_DEEP }",
                "two groups, DEEP and WIDE",
            ),
        ],
    )
    def test_refused(self, groups, words):
        assert words in refused(block("b", group("a"), layer=MLP), groups)[1]

    def test_two_groups_of_one_name(self):
        path, text = refused(USER, GROUPS + "feature_groups { group_name: 'user' feature_names: 'age' }")
        assert (path, text) == ("feature_groups[3].group_name", "there already is a feature group 'user'")

    def test_a_wide_group_needs_a_width(self):
        path, text = refused(block("a", group("wide")), self.WIDE)
        assert "needs a wide_output_dim" in text

    def test_the_width_is_one_for_the_model(self):
        first = block("a", group("wide"), layer="input_layer { wide_output_dim: 1 }")
        plan = plan_of(first + block("b", group("wide")), self.WIDE)
        assert plan.wide_output_dim == 1
        assert plan.groups["wide"].wide
        second = block("b", group("wide"), layer="input_layer { wide_output_dim: 2 }")
        path, text = refused(first + second, self.WIDE)
        assert (path, text) == (
            "blocks[1].input_layer.wide_output_dim",
            "is 2, but another block says 1; a model has one",
        )

    def test_a_width_without_a_wide_group(self):
        plan = plan_of(block("a", group("user"), layer="input_layer { wide_output_dim: 1 }"))
        assert plan.wide_output_dim is None
        assert any("no block reads a WIDE feature group" in text for _, text in warnings(plan))


def test_a_plan_is_immutable_and_comparable():
    plan = plan_of(USER)
    assert plan == plan_of(USER)
    assert plan != plan_of(USER + ITEM)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.main = None
    with pytest.raises(KeyError):
        plan.main.block("nothing")


def test_planning_does_not_import_tensorflow():
    program = (
        "import sys; from easyssl.config import parse_config; from easyssl.backbone.plan import build_plan; "
        "from easyssl.data.features.spec import build_feature_specs; import easyssl.backbone.render; "
        f"config = parse_config({FEATURES + 'model_config {' + GROUPS + 'backbone {' + USER + '} }'!r}); "
        "build_plan(config, build_feature_specs(config)); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_graph_is_planned_in_order_or_its_cycle_is_shown(data):
    count = data.draw(st.integers(1, 8))
    edges = {
        i: data.draw(st.lists(st.integers(0, count - 1), max_size=3, unique=True), label=f"reads {i}")
        for i in range(count)
    }
    text = "".join(block(f"b{i}", *(of(f"b{j}") for j in reads), group("user")) for i, reads in edges.items())
    try:
        plan = plan_of(text)
    except ConfigError as error:
        cycle = [int(name[1:]) for name in str(error).rpartition("cycle: ")[2].split(" -> ")]
        assert cycle[0] == cycle[-1] and len(cycle) > 1
        for source, target in zip(cycle, cycle[1:], strict=False):
            assert source in edges[target]
        return
    position = {b.name: i for i, b in enumerate(plan.main.blocks)}
    for target, reads in edges.items():
        assert all(position[f"b{source}"] < position[f"b{target}"] for source in reads)
    read = {source for reads in edges.values() for source in reads}
    assert plan.main.outputs == tuple(f"b{i}" for i in range(count) if i not in read)
