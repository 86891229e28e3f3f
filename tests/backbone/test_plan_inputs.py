"""Plans: input blocks, and the tuples that they may give."""

import pytest
from plans import USER, block, group, of, plan_of, refused, warnings

from easyssl.backbone.plan import InputLayerPlan


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
