"""Training on several devices and by several workers, in processes of their own."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from easyssl.training.checkpoint import CheckpointFolder

pytestmark = pytest.mark.slow
DRIVER = pathlib.Path(__file__).with_name("devices_driver.py")
MIRRORED = "train_config.train_distribute=MirroredStrategy"
WORKERS = "train_config.train_distribute=MultiWorkerMirroredStrategy"
# Without statistics of a batch and random numbers, several devices compute what one does.
PLAIN = ("dropout_ratio: 0.2 use_bn: true", "use_bn: false use_final_bn: false")
ADAGRAD = (
    "adam_optimizer {",
    "adagrad_optimizer {",
)


def plain(case):
    return case.small.replace(*PLAIN).replace(*ADAGRAD)


STARTED = []


@pytest.fixture(autouse=True)
def no_process_stays():
    yield
    for process in STARTED:
        process.kill()
        process.wait()
    STARTED.clear()


def start(case, runs, cpus=1, task=None, ports=(), cluster=None):
    out = case.folder / ("out" if task is None else f"out{task}")
    out.mkdir(exist_ok=True)
    environment = dict(os.environ)
    if task is not None:
        kind, index = task if cluster else ("worker", task)
        cluster = cluster or {"worker": [f"localhost:{port}" for port in ports]}
        environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})
    job = {
        "config": str(case.folder / "case.config"),
        "runs": {name: [f"model_dir={case.folder / name}", *more] for name, more in runs.items()},
        "out": str(out),
        "cpus": cpus,
    }
    with open(case.folder / f"lines{task}", "a") as lines:
        process = subprocess.Popen(
            [sys.executable, str(DRIVER), json.dumps(job)], env=environment, stderr=lines
        )
    STARTED.append(process)
    return process


def lines(case, task=None):
    return (case.folder / f"lines{task}").read_text()


def finish(case, process, task=None, code=0):
    assert process.wait(timeout=900) == code, lines(case, task)[-3000:]


def result(case, name, task=None):
    with np.load(case.folder / ("out" if task is None else f"out{task}") / f"{name}.npz") as stored:
        return {key: stored[key] for key in stored.files}


def cursor(case, name):
    return CheckpointFolder(case.folder / name / "ckpt").latest().document("state")["run"]["cursor"]


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def close(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name != "chief":
            np.testing.assert_allclose(found[name], value, err_msg=name, **tolerance)


def test_two_devices_compute_what_one_does(case):
    """Also where the last batch of an epoch is smaller than the number of devices, and with row weights."""
    rows = (case.folder / "train.csv").read_text().splitlines()
    rows = [
        ",".join([*row.split(",")[:3], "0.0", row.split(",")[4]]) if i % 3 == 0 else row
        for i, row in enumerate(rows)
    ]
    (case.folder / "train.csv").write_text("\n".join(rows[: 32 * 5 + 1]) + "\n")
    case.config(text=plain(case).replace("batch_size: 32", "batch_size: 32 sample_weight: 'price'"))
    settings = ["train_config.gradient_clipping_by_norm=0.1", "train_config.num_steps=30"]
    averages = "train_config.optimizer_config[0].use_moving_average=true"
    finish(
        case,
        start(
            case,
            {
                "one": [*settings, averages],
                "two": [*settings, averages, MIRRORED],
                "half": [*settings, "train_config.mixed_precision=mixed_float16", MIRRORED],
            },
            cpus=2,
        ),
    )
    close(result(case, "two"), result(case, "one"), rtol=2e-4, atol=1e-6)
    close(result(case, "half"), result(case, "one"), rtol=0.2, atol=0.02)
    assert cursor(case, "two") == cursor(case, "one")
    values = [CheckpointFolder(case.folder / name / "ckpt").latest() for name in ("one", "two")]
    with values[0].arrays("optimizer") as one, values[1].arrays("optimizer") as two:
        assert set(one) == set(two)
        for name in one:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("settings", [(), ("train_config.jit_compile=true",)], ids=["plain", "jit"])
def test_a_stopped_run_on_two_devices_goes_on(case, settings):
    """With statistics of a batch, dropout, augmentation and a contrastive loss."""
    case.config(text=case.tiny)
    common = ["train_config.save_checkpoints_steps=6", MIRRORED, *settings]
    finish(
        case,
        start(
            case,
            {
                "whole": ["train_config.num_steps=12", *common],
                "parts": ["train_config.num_steps=6", *common],
            },
            cpus=2,
        ),
    )
    finish(case, start(case, {"parts": ["train_config.num_steps=12", *common]}, cpus=2))
    assert "going on after step 6" in lines(case)
    close(result(case, "parts"), result(case, "whole"), rtol=1e-5, atol=1e-7)


def test_two_workers_train_one_model_and_go_on_after_being_killed(case):
    case.config(text=plain(case))
    settings = ["train_config.num_steps=60", WORKERS]
    finish(case, start(case, {"one": ["train_config.num_steps=60"]}))

    def workers(name):
        ports = free_ports(2)
        return [start(case, {name: settings}, task=task, ports=ports) for task in (0, 1)]

    for task, process in enumerate(workers("whole")):
        finish(case, process, task)
    first, second = result(case, "whole", 0), result(case, "whole", 1)
    assert first["chief"] and not second["chief"]
    close(second, first, rtol=0, atol=0)
    close(first, result(case, "one"), rtol=2e-4, atol=1e-6)
    records = [
        json.loads(line) for line in (case.folder / "whole" / "metrics.jsonl").read_text().splitlines()
    ]
    steps = [record["step"] for record in records if record["kind"] == "eval"]
    assert steps == [10, 20, 30, 40, 50, 60]

    chief, other = workers("killed")
    until = time.monotonic() + 600
    while not (case.folder / "killed" / "ckpt" / "step-00000020").exists():
        assert time.monotonic() < until and chief.poll() is None, lines(case, 0)
        time.sleep(0.01)
    other.kill()
    other.wait()
    assert chief.wait(timeout=300) == 2, lines(case, 0)
    assert "TrainingError: another worker has gone" in lines(case, 0)
    for task, process in enumerate(workers("killed")):
        finish(case, process, task)
    assert "going on after step" in lines(case, 0) and "going on after step" in lines(case, 1)
    close(result(case, "killed", 0), first, rtol=1e-5, atol=1e-7)
    # The position in the data is one device's, so that any number of workers can go on.
    assert cursor(case, "killed") == cursor(case, "one")


def test_workers_stop_together(case):
    """By a signal to one of them, and by bad rows that only one of them has."""
    case.config(text=plain(case))
    ports = free_ports(2)
    settings = ["train_config.num_steps=100000", WORKERS]
    chief, other = (start(case, {"run": settings}, task=task, ports=ports) for task in (0, 1))
    while "step 10 evaluation" not in lines(case, 0):
        assert chief.poll() is None, lines(case, 0)
        time.sleep(0.05)
    other.send_signal(signal.SIGTERM)
    finish(case, chief, 0, code=143)
    finish(case, other, 1, code=143)

    rows = (case.folder / "train.csv").read_text().splitlines()
    rows[1] = rows[1].replace(rows[1].split(",")[0], "2", 1)  # a label of 2, in worker 1's first batch
    (case.folder / "train.csv").write_text("\n".join(rows) + "\n")
    ports = free_ports(2)
    settings = ["train_config.num_steps=10", "data_config.shuffle=false", WORKERS]
    chief, other = (start(case, {"bad": settings}, task=task, ports=ports) for task in (0, 1))
    finish(case, chief, 0, code=2)
    finish(case, other, 1, code=2)
    assert "TrainingError: another worker stopped with an error" in lines(case, 0)
    assert "train.csv:2: label 'clk' is 2" in lines(case, 1)


def test_parameter_servers(case):
    """A table in two parts; weights that are those of one device up to the order of updates; a resumed run."""
    wide = "embedding_dim: 4 hash_bucket_size: 50", "embedding_dim: 4 hash_bucket_size: 40000"
    case.config(text=plain(case).replace(*wide))
    names = {"chief": 1, "worker": 1, "ps": 2}
    asynchronous = "train_config.train_distribute=PSStrategy"

    def run(steps):
        ports = iter(free_ports(4))
        cluster = {
            kind: [f"localhost:{next(ports)}" for _ in range(number)] for kind, number in names.items()
        }
        tasks = [(kind, index) for kind, number in names.items() for index in range(number)]
        started = [
            start(
                case,
                {"served": [f"train_config.num_steps={steps}", asynchronous]},
                task=task,
                cluster=cluster,
            )
            for task in tasks
        ]
        finish(case, started[0], ("chief", 0))
        for task, process in zip(tasks[1:], started[1:], strict=True):
            process.send_signal(signal.SIGTERM)
            finish(case, process, task, code=143)

    finish(case, start(case, {"one": ["train_config.num_steps=20"]}))
    run(10)
    run(20)
    assert "going on after step 10" in lines(case, ("chief", 0))
    stored = CheckpointFolder(case.folder / "served" / "ckpt").latest()
    with stored.arrays("weights") as served, np.load(case.folder / "out" / "one.npz") as one:
        assert set(served) == set(one.files) - {"step", "chief"}
        for name in served:
            assert served[name].shape == one[name].shape
    found = json.loads((case.folder / "served" / "metrics.jsonl").read_text().splitlines()[-1])
    assert found["kind"] == "eval" and found["step"] == 20
    # Any device can go on with what parameter servers have trained.
    more = ["train_config.num_steps=25"]
    case.config(text=plain(case).replace(*wide))
    finish(case, start(case, {"served": more}), code=2)
    assert "train_config.train_distribute" in lines(case)
