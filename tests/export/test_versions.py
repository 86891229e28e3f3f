"""Folders of versions: what a killed export leaves is removed, what somebody works on is not."""

import os
import socket
import subprocess
import sys
import time

from easyssl.export import versions

HOST = socket.gethostname()


def gone_process():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def leave(folder, name, hours_old=0.0):
    path = folder / name
    (path / "variables").mkdir(parents=True)
    then = time.time() - 3600 * hours_old
    os.utime(path, (then, then))
    return path


def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path):
    pid = gone_process()
    leave(tmp_path, f"next.tmp-{HOST}-{pid}")
    leave(tmp_path, f"next.tmp-{pid}")
    leave(tmp_path, "next.tmp-elsewhere-1", hours_old=30)
    kept = [
        leave(tmp_path, f"next.tmp-{HOST}-{os.getppid()}"),
        leave(tmp_path, "next.tmp-elsewhere-2", hours_old=1),
        leave(tmp_path, "7"),
        leave(tmp_path, "next.tmp-of-mine"),
    ]
    with versions.unpublished(tmp_path) as temporary:
        assert sorted(tmp_path.iterdir()) == sorted([*kept, temporary])
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_published_folder_gets_the_next_number(tmp_path):
    leave(tmp_path, "7")
    with versions.unpublished(tmp_path) as temporary:
        (temporary / "saved_model.pb").write_bytes(b"x")
        assert versions.publish(temporary, tmp_path) == tmp_path / "8"
    assert versions.versions(tmp_path) == [7, 8]


def test_a_version_is_found_by_what_its_manifest_says(tmp_path):
    for number, checkpoint in enumerate(["a", "b", "b"], start=1):
        path = leave(tmp_path, str(number))
        (path / "saved_model.pb").write_bytes(b"x")
        versions.write_manifest(path, {"checkpoint": checkpoint, "step": number})
    leave(tmp_path, "9")  # somebody else's
    assert versions.find(tmp_path, {"checkpoint": "b"}) == tmp_path / "3"
    assert versions.find(tmp_path, {"checkpoint": "b", "step": 2}) == tmp_path / "2"
    assert versions.find(tmp_path, {"checkpoint": "c"}) is None
    (tmp_path / "1" / "saved_model.pb").unlink()
    assert versions.find(tmp_path, {"checkpoint": "a"}) is None
    assert versions.find(tmp_path / "absent", {}) is None
