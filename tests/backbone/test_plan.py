"""Plans: names, what a plan is, and that making one is quick."""

import dataclasses
import subprocess
import sys

import pytest
from plans import FEATURES, GROUPS, ITEM, USER, block, group, of, plan_of, refused

from easyssl.backbone.plan import build_plan
from easyssl.config import parse_config
from easyssl.data.features.spec import build_feature_specs
from easyssl.errors import ConfigError


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
            (block("a", "use_target_item: false"), "blocks[0].inputs[0].use_target_item", "is false"),
            (
                USER + block("a", "use_target_item: true"),
                "blocks[1].inputs[0].use_target_item",
                "is for model_class NextItemModel",
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
