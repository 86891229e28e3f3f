"""benchmarks/clusters.py: what it says of clusters, and its picture."""

import importlib
import pathlib

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"


def test_sizes_shares_and_information(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    clusters = importlib.import_module("clusters")
    rng = np.random.default_rng(0)
    assigned = rng.random((200, 6))
    assigned[:, 4] = 0  # a prototype without users
    active = (rng.random(200) < 0.3).astype(np.int64)
    found = clusters.mix_of(assigned, active)
    labels = assigned.argmax(axis=1)
    assert found["sizes"].tolist() == [int(np.sum(labels == k)) for k in (0, 1, 2, 3, 5)]
    assert found["shares"] == pytest.approx([active[labels == k].mean() for k in (0, 1, 2, 3, 5)])
    assert found["information"] == pytest.approx(mutual_info_score(labels, active))
    assert found["entropy"] == pytest.approx(mutual_info_score(labels, labels))
    pytest.importorskip("matplotlib")
    path = tmp_path / "mix.svg"
    clusters.draw({"before": found, "after": found}, path)
    assert "share of active users" in path.read_text()
