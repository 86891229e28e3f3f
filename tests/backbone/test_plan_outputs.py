"""Plans: what comes out of a graph."""

from plans import ITEM, MLP, USER, block, of, plan_of, refused, warnings


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
