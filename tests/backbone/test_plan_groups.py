"""Plans: feature groups."""

import pytest
from plans import GROUPS, ITEM, MLP, USER, block, group, plan_of, refused, warnings


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

    def test_a_group_without_features_that_nothing_reads(self):
        plan = plan_of(USER, GROUPS + "feature_groups { group_name: 'empty' }")
        assert plan.groups["empty"].features == ()
        assert "no block reads feature group 'empty'" in [text for _, text in warnings(plan)]

    @pytest.mark.parametrize(
        "kind", ["input_layer {}", "raw_input {}", "embedding_layer { embedding_dim: 4 }"]
    )
    def test_a_group_without_features_that_a_block_reads(self, kind):
        groups = GROUPS + "feature_groups { group_name: 'empty' }"
        path, text = refused(block("a", group("empty"), layer=kind), groups)
        assert (path, text) == ("feature_groups[3]", "feature group 'empty' has no feature_names")

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
