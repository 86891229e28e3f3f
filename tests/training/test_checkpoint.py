"""Checkpoints: complete or absent, damage found, retention, disk failures."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.errors import CheckpointError
from easyssl.training.checkpoint import MANIFEST, CheckpointFolder, find_damage, read_checkpoint


def arrays(step):
    rng = np.random.default_rng(step)
    return {
        "weights": {"dense/kernel": rng.normal(size=(4, 3)).astype(np.float32), "ids": np.arange(step)},
        "optimizer": {"m/dense/kernel": np.zeros((4, 3), np.float32), "iterations": np.int64(step)},
    }


def save(folder, step):
    return folder.save(step, arrays(step), {"state": {"step": step}}, {"versions": {"easyssl": "1"}})


@pytest.fixture
def lines():
    return []


@pytest.fixture
def folder(tmp_path, lines):
    return CheckpointFolder(tmp_path / "ckpt", keep=3, report=lines.append)


def test_what_was_saved_comes_back_bit_for_bit(folder):
    save(folder, 7)
    checkpoint = folder.latest()
    assert checkpoint.step == 7
    assert checkpoint.document("state") == {"step": 7}
    assert checkpoint.manifest["versions"] == {"easyssl": "1"}
    for name, group in arrays(7).items():
        with checkpoint.arrays(name) as stored:
            assert set(stored) == set(group)
            for key, value in group.items():
                assert stored[key].dtype == value.dtype
                np.testing.assert_array_equal(stored[key], value)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    one, other = CheckpointFolder(tmp_path / "a"), CheckpointFolder(tmp_path / "b")
    first, second = save(one, 7), save(other, 7)
    assert first.manifest == second.manifest


def test_an_empty_folder_has_no_checkpoint(folder):
    assert folder.latest() is None


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_or_cut_is_found_and_the_checkpoint_before_is_taken(tmp_path_factory, data):
    lines = []
    folder = CheckpointFolder(tmp_path_factory.mktemp("run") / "ckpt", report=lines.append)
    save(folder, 100)
    newest = save(folder, 200)
    names = sorted(path.name for path in newest.path.iterdir())
    victim = newest.path / data.draw(st.sampled_from(names))
    content = bytearray(victim.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    action = data.draw(st.sampled_from(["flip", "cut", "remove"]))
    if action == "remove":
        victim.unlink()
    elif action == "cut":
        victim.write_bytes(content[:place])
    else:
        content[place] ^= 0x20
        victim.write_bytes(content)
    damage = find_damage(newest.path)
    if victim.name == MANIFEST and damage is None:
        # A changed remark in the manifest; everything that is restored is still what was written.
        assert folder.latest().step == 200
        return
    assert damage is not None
    assert folder.latest().step == 100
    assert len(lines) == 1 and "damaged" in lines[0] and "step 100" in lines[0]
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        read_checkpoint(newest.path)


def test_only_damaged_checkpoints_are_an_error_that_names_the_way_out(folder):
    (save(folder, 5).path / "weights.npz").write_bytes(b"")
    with pytest.raises(CheckpointError, match="--fresh"):
        folder.latest()


def test_a_damaged_checkpoint_is_replaced_when_its_step_is_reached_again(folder):
    save(folder, 5)
    (save(folder, 6).path / "state.json").unlink()
    assert folder.latest().step == 5
    save(folder, 6)
    assert folder.latest().step == 6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_state_that_is_not_finite_is_never_written(folder, bad):
    save(folder, 5)
    groups = arrays(6)
    groups["weights"]["dense/kernel"][2, 1] = bad
    with pytest.raises(CheckpointError, match="dense/kernel"):
        folder.save(6, groups, {}, {})
    assert folder.steps() == [5]


def test_documents_that_json_cannot_hold_are_an_error(folder):
    with pytest.raises(ValueError, match="JSON"):
        folder.save(6, {}, {"state": {"best": float("nan")}}, {})
    assert folder.latest() is None


def test_retention_keeps_the_last_ones_and_the_best(folder):
    for step in range(1, 8):
        save(folder, step)
        folder.retain(best_step=2)
    assert folder.steps() == [7, 6, 5, 2]


def test_keep_zero_keeps_all(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=0)
    for step in range(1, 5):
        save(folder, step)
        folder.retain()
    assert folder.steps() == [4, 3, 2, 1]


FAILING = ["weights.npz", "optimizer.npz", "state.json", MANIFEST, "step-00000002"]


@pytest.mark.parametrize("place", FAILING)
def test_a_full_disk_leaves_the_earlier_checkpoints_alone(folder, place):
    save(folder, 1)

    def fail(name):
        if name == place:
            raise OSError(28, "No space left on device")

    folder.on_write = fail
    with pytest.raises(CheckpointError, match="No space left"):
        save(folder, 2)
    assert sorted(path.name for path in folder.folder.iterdir()) == ["step-00000001"]
    assert folder.latest().step == 1


@pytest.mark.parametrize("place", FAILING)
def test_a_killed_writer_leaves_no_half_checkpoint(tmp_path, place):
    program = (
        "import os, pathlib, signal, numpy as np\n"
        "from easyssl.training.checkpoint import CheckpointFolder\n"
        f"kill = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == {place!r} else None\n"
        f"folder = CheckpointFolder(pathlib.Path({str(tmp_path)!r}), on_write=kill)\n"
        "for step in (1, 2):\n"
        "    if step == 1: folder.on_write = lambda name: None\n"
        "    else: folder.on_write = kill\n"
        "    folder.save(step, {'weights': {'w': np.ones(3)}, 'optimizer': {}}, {'state': {}}, {})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert done.returncode == -9
    folder = CheckpointFolder(pathlib.Path(tmp_path))
    assert folder.latest().step == 1
    folder.clean()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match="Permission denied"):
        save(CheckpointFolder(tmp_path / "ckpt"), 1)
    tmp_path.chmod(0o700)


def test_arrays_with_objects_are_not_read(folder):
    checkpoint = save(folder, 1)
    target = checkpoint.path / "weights.npz"
    np.savez(target, w=np.array([{"a": 1}], dtype=object))
    manifest = json.loads((checkpoint.path / MANIFEST).read_text())
    del manifest["files"]["weights.npz"]
    (checkpoint.path / MANIFEST).write_text(json.dumps(manifest))
    with folder.latest().arrays("weights") as stored, pytest.raises(ValueError, match="pickle"):
        stored["w"]
