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


def test_every_layer_that_a_config_may_name_is_shown_in_one(page):
    for layer in layer_docs().values():
        section = page.split(f"### {layer.class_name}\n")[1].split("\n### ")[0]
        shown = [name for name in layer.names if f"class_name: '{name}'" in section]
        assert bool(shown) == bool(layer.names)


def test_a_layer_without_a_config_is_named(script, monkeypatch):
    docs = layer_docs()
    monkeypatch.setitem(script["_config"].__globals__, "CONFIGS", script["CONFIGS"] / "none")
    with pytest.raises(ValueError, match=r"no config .* has a layer GradientReversal or GRL"):
        script["_config"](docs["GradientReversal"])
