import re
import runpy

import pytest

from easyssl.config.messages import message_names


@pytest.fixture
def page(root):
    return (root / "docs" / "config-reference.md").read_text(encoding="utf-8")


def test_page_is_what_the_comments_make(root, page):
    pytest.importorskip("grpc_tools")
    made = runpy.run_path(str(root / "docs" / "make_config_reference.py"))["make"]()
    assert made == page, "run python docs/make_config_reference.py"


def test_every_message_has_a_section_and_every_link_a_target(page):
    headings = re.findall(r"^#{2,3} (.+)$", page, flags=re.MULTILINE)
    anchors = [re.sub(r"[^\w-]", "", heading.lower()) for heading in headings]
    assert set(message_names()) <= set(headings)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= set(anchors)


def test_every_message_field_and_value_is_explained(page):
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    meanings = [re.sub(r"^\*oneof \w+\*: ", "", row.rsplit(" | ", 1)[1]) for row in rows]
    assert len(rows) > 900
    assert [
        row for row, meaning in zip(rows, meanings, strict=True) if not re.match(r"[\w(\"-]", meaning)
    ] == []
    sections = re.findall(r"^#{2,3} (.+)\n\n(.*)$", page, flags=re.MULTILINE)
    assert [name for name, text in sections if not text.strip() or text.startswith("|")] == []


def test_defaults_and_effects_are_shown(page):
    assert "| `batch_size` | uint32 | `32` |" in page
    assert "*No effect*: with PSStrategy no worker waits, with the mirrored strategies all do." in page
    assert "*Not supported*: describe the model as a backbone." in page
