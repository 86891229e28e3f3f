"""Plans: the order of blocks, and cycles."""

from hypothesis import given, settings
from hypothesis import strategies as st
from plans import ITEM, MLP, USER, block, group, of, plan_of, refused

from easyssl.backbone.plan import InputLayerPlan
from easyssl.errors import ConfigError


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
