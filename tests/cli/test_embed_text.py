"""easyssl embed-text: a file of items to a file of vectors."""

import sys

import numpy as np
import pytest

from easyssl.cli.main import main
from easyssl.data.item_vectors import read_vectors


def test_texts_of_items_become_vectors(tmp_path, capsys):
    pytest.importorskip("wordllama")
    items, out = tmp_path / "items.tsv", tmp_path / "v.npz"
    items.write_text("item_id\ttext\n3\tred paint brush for walls\n5\t\n")
    assert main(["embed-text", str(items), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 vectors of 256 numbers by wordllama" in said and "items without text: 1" in said
    assert main(["embed-text", str(items), "--out", str(tmp_path / "d.npz"), "--word-drop", "0.5"]) == 0
    whole, dropped = read_vectors(str(out)), read_vectors(str(tmp_path / "d.npz"))
    assert whole.ids == dropped.ids == ["3", "5"]
    assert not np.array_equal(whole.vectors[0], dropped.vectors[0])
    np.testing.assert_array_equal(whole.vectors[1], dropped.vectors[1])


@pytest.mark.parametrize(
    ("package", "encoder", "command"),
    [
        ("wordllama", "wordllama", "pip install 'easyssl[text]'"),
        ("sentence_transformers", ".", "pip install sentence-transformers"),
    ],
)
def test_a_missing_package_is_told_in_one_line(tmp_path, capsys, monkeypatch, package, encoder, command):
    monkeypatch.setitem(sys.modules, package, None)  # makes importing it fail
    monkeypatch.chdir(tmp_path)
    items = tmp_path / "items.tsv"
    items.write_text("item_id\ttext\n3\tred\n")
    assert main(["embed-text", str(items), "--out", str(tmp_path / "v.npz"), "--encoder", encoder]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert command in line


@pytest.mark.parametrize("words", [["--word-drop", "1"], ["--word-drop", "x"], ["--id", "item"]])
def test_wrong_arguments_are_told_in_one_line(tmp_path, capsys, words):
    items = tmp_path / "items.tsv"
    items.write_text("item_id\ttext\n3\tred\n")
    assert main(["embed-text", str(items), "--out", str(tmp_path / "v.npz"), *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
