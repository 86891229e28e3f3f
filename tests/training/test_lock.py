"""The lock of a model folder, between processes."""

import os
import signal
import subprocess
import sys

import pytest

from easyssl.errors import UsageError
from easyssl.training.lock import ModelDirLock

HOLD = (
    "import sys, pathlib, time\n"
    "from easyssl.training.lock import ModelDirLock\n"
    "with ModelDirLock(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def hold(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_run_is_told_who_holds_the_folder(tmp_path):
    process = hold(tmp_path / "run")
    try:
        with pytest.raises(UsageError, match=f"process {process.pid}"), ModelDirLock(tmp_path / "run"):
            pass
    finally:
        process.kill()
        process.wait()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    process = hold(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / ".lock").exists()
    with ModelDirLock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_it_can_be_taken_again_after_it_was_given_back(tmp_path):
    for _ in range(2):
        with ModelDirLock(tmp_path):
            pass


def test_a_model_dir_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="cannot be written"), ModelDirLock(tmp_path / "run"):
        pass
