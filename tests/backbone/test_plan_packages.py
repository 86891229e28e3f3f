"""Plans: packages and their calls."""

import pytest
from plans import ITEM, MLP, USER, block, group, of, plan_of, refused, warnings

from easyssl.backbone.plan import MAIN, InputLayerPlan

SEQUENCES = "input_layer { output_seq_and_normal_feature: true }"


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
                f"packages {{ name: 'p' {block('x', group('sequence'), layer=SEQUENCES)} }}"
                + ITEM
                + block("a", "package_name: 'p' reset_input {} input_slice: '[0]'"),
                "inputs[0].reset_input",
                "no input_layer but for sequences",
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
