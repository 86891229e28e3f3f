"""The catalogue of components is what docstrings and configs make."""

import re
import runpy

import pytest

from easyssl.config.signatures import static_catalogue
from easyssl.docstrings import layer_docs


@pytest.fixture
def script(root):
    return runpy.run_path(str(root / "docs" / "make_components.py"))


@pytest.fixture
def page(root):
    return (root / "docs" / "components.md").read_text(encoding="utf-8")


def test_page_is_what_the_docstrings_make(script, page):
    assert script["make"]() == page, "run python docs/make_components.py"


def test_a_layer_without_a_group_is_named(script, monkeypatch):
    group, (first, *others) = next(iter(script["GROUPS"].items()))
    monkeypatch.setitem(script["GROUPS"], group, others)
    with pytest.raises(ValueError, match=rf"add \['{first}'\] to GROUPS"):
        script["make"]()
    monkeypatch.setitem(script["GROUPS"], group, [first, *others, "Gone"])
    with pytest.raises(ValueError, match=r"names \['Gone'\], which is not exported"):
        script["make"]()


def test_every_layer_has_a_section_and_every_link_a_target(page):
    headings = re.findall(r"^#{2,3} (.+)$", page, flags=re.MULTILINE)
    anchors = [heading.lower().replace(" ", "-") for heading in headings]
    assert len(anchors) == len(set(anchors))
    assert set(layer_docs()) <= set(headings)
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= set(anchors)


def test_every_layer_that_a_config_may_name_is_on_the_page(script):
    assert set(static_catalogue()) == {name for layer in layer_docs().values() for name in layer.names}


def test_a_section_shows_the_block_of_the_config(script, page):
    section = page.split("### SinkhornClustering\n")[1].split("\n### ")[0]
    assert "(../tests/components/configs/sinkhorn_clustering.config)" in section
    block = re.search(r"^```\n(blocks \{\n.*?\n\})\n```$", section, flags=re.MULTILINE | re.DOTALL).group(1)
    assert "class_name: 'SinkhornClustering'" in block and block.count("{") == block.count("}")


@pytest.mark.parametrize(
    ("name", "snake"),
    [("BST", "bst"), ("SeqAugmentOps", "seq_augment_ops"), ("MoEWhiteningAdaptor", "moe_whitening_adaptor")],
)
def test_configs_are_found_by_the_name_of_the_layer(script, name, snake):
    assert script["_snake"](name) == snake
