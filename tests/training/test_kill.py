"""A run that is killed again and again ends like one that was left alone, bit for bit."""

import json
import multiprocessing
import os
import pathlib
import random
import runpy
import time

import numpy as np
import pytest

from easyssl.training.checkpoint import CheckpointFolder

DRIVER = pathlib.Path(__file__).with_name("kill_driver.py")
STEPS = 200
SETTINGS = ("num_steps: 40", f"num_steps: {STEPS}"), ("log_step_count_steps: 5", "log_step_count_steps: 1")


def processes():
    """Processes that start with TensorFlow imported, which is most of the time that a start takes."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", "tf_keras", "easyssl.training.loop", "easyssl.models"])
    return context


def start(context, case, run, stop_at=None):
    lines = case.folder / f"{run}.txt"
    lines.write_text("")
    arguments = {
        "config_path": str(case.folder / "case.config"),
        "model_dir": str(case.folder / run),
        "lines": str(lines),
        "stop_at": stop_at,
    }
    process = context.Process(target=runpy.run_path, args=(str(DRIVER), arguments, "__main__"))
    process.start()
    return process, lines


def kill_when(process, lines, condition):
    """Kills the process as soon as the text it has written meets a condition; returns whether it did."""
    while process.is_alive():
        if condition(lines.read_text()):
            process.kill()
            process.join()
            assert process.exitcode == -9
            return True
        time.sleep(0.001)
    return False


def finish(process):
    process.join()
    assert process.exitcode == 0
    process.close()


def content(run):
    checkpoint = CheckpointFolder(run / "ckpt").latest()
    assert checkpoint.step == STEPS
    values = {}
    for group in ("weights", "optimizer"):
        with checkpoint.arrays(group) as stored:
            values |= {f"{group}/{name}": stored[name] for name in stored}
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in found:
        del record["clock"]
    return values, found, checkpoint.document("state")


def check_kills(case, text, kills):
    for old, new in SETTINGS:
        text = text.replace(old, new)
    case.config(text=text)
    context = processes()
    undisturbed, _ = start(context, case, "whole")
    rng = random.Random(20)
    for number in range(kills):
        process, lines = start(context, case, "killed")
        after = rng.randrange(1, 30)
        pause = rng.uniform(0, 0.02)

        def enough(shown, after=after, pause=pause):
            if shown.count("  loss ") < after:
                return False
            time.sleep(pause)
            return True

        assert kill_when(process, lines, enough), f"the run ended before kill {number}"
    for place in ("optimizer.npz", "step-"):
        process, lines = start(context, case, "killed", stop_at=place)
        assert kill_when(process, lines, lambda shown: "waiting before" in shown)
    last, lines = start(context, case, "killed")
    finish(last)
    finish(undisturbed)
    assert "going on after step" in lines.read_text()
    values, found, state = content(case.folder / "whole")
    other_values, other_found, other_state = content(case.folder / "killed")
    assert values.keys() == other_values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(value, other_values[name], err_msg=name)
    assert found == other_found
    assert [record["step"] for record in found if record["kind"] == "train"] == list(range(1, STEPS + 1))
    assert state == other_state


def test_twelve_kills_two_of_them_while_a_checkpoint_is_written(case):
    check_kills(case, case.small, kills=10)


@pytest.mark.slow
def test_kills_of_a_run_with_augmentation_and_attention(case):
    check_kills(case, case.tiny, kills=10)
