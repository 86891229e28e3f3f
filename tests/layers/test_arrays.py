import json
import os

import numpy as np
import pytest

from easyssl.layers.arrays import read_array

MATRIX = [[0.5, 0.25], [0.25, 0.75]]


class Evil:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_lists_and_files_give_the_same(tmp_path):
    np.save(tmp_path / "a.npy", MATRIX)
    (tmp_path / "a.json").write_text(json.dumps(MATRIX))
    (tmp_path / "b.json").write_text(json.dumps({"features": ["x"], "matrix": MATRIX}))
    for value in (MATRIX, *(str(tmp_path / name) for name in ("a.npy", "a.json", "b.json"))):
        np.testing.assert_array_equal(read_array("Layer", "matrix", value), MATRIX)


def test_what_is_no_array_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("objects.npy", np.array([Evil()], object), allow_pickle=True)
    np.save("short.npy", np.zeros([100, 100]))
    with open("short.npy", "r+b") as file:
        file.truncate(500)
    with open("text.npy", "w") as file:
        file.write("1 2 3")
    with open("deep.json", "w") as file:
        file.write("[" * 100_000)
    with open("other.json", "w") as file:
        file.write('{"something": [[1]]}')
    files = ["objects.npy", "short.npy", "text.npy", "deep.json", "other.json", "absent.npy", "a.txt", "."]
    for value in [*files, [[1.0, float("nan")]], [["a"]], [[1], [1, 2]]]:
        with pytest.raises(ValueError, match=r"\ALayer: `matrix`: [^\n]+\Z"):
            read_array("Layer", "matrix", value)
    assert not (tmp_path / "unpickled").exists()
