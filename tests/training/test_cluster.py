"""What TF_CONFIG may say."""

import json

import pytest

from easyssl.config import parse_config
from easyssl.errors import UsageError
from easyssl.training.cluster import cluster_from_environment
from easyssl.training.devices import Devices, devices_from_config
from easyssl.training.strategies import cluster_of

GOOD = {"cluster": {"worker": ["a:1", "b:2"], "chief": ["c:3"]}, "task": {"type": "worker", "index": 1}}


def read(monkeypatch, value):
    monkeypatch.setenv("TF_CONFIG", value if isinstance(value, str) else json.dumps(value))
    return cluster_from_environment(("chief", "worker"), ("worker",))


def test_a_good_one_is_read(monkeypatch):
    cluster = read(monkeypatch, GOOD)
    assert cluster.name == "worker 1"
    assert cluster.tasks() == ["chief 0", "worker 0", "worker 1"]
    assert read(monkeypatch, {**GOOD, "task": {"type": "worker", "index": "1"}}) == cluster


def changed(**changes):
    return {**GOOD, **changes}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "TF_CONFIG is not set"),
        ("{", "not JSON"),
        ("[]", "TF_CONFIG is not an object"),
        (changed(cluster=[]), "cluster is not an object"),
        (changed(cluster={}), "cluster has no 'worker'"),
        (changed(cluster={"worker": []}), "cluster has no 'worker'"),
        (changed(cluster={"worker": "a:1"}), "cluster.worker is not a list"),
        (changed(cluster={"worker": ["a"]}), "'a' is not a host:port"),
        (changed(cluster={"worker": ["a:0"]}), "'a:0' is not a host:port"),
        (changed(cluster={"worker": ["a:66000"]}), "'a:66000' is not a host:port"),
        (changed(cluster={"worker": ["http://a:1"]}), "is not a host:port"),
        (changed(cluster={"worker": [1]}), "1 is not a host:port"),
        (changed(cluster={"worker": ["a:1", "a:1"]}), "'a:1' is there twice"),
        (changed(cluster={"workers": ["a:1"]}), "did you mean 'worker'"),
        (changed(cluster={"worker": ["a:1"], "chief": ["b:1", "c:1"]}), "cluster.chief has 2 addresses"),
        (changed(task=None), "task is not an object"),
        (changed(task={"type": "wroker", "index": 0}), "did you mean 'worker'"),
        (changed(task={"type": ["worker"], "index": 0}), "task.type is"),
        (changed(task={"type": "worker", "index": 2}), "task.index is 2, expected a number from 0 to 1"),
        (changed(task={"type": "worker", "index": -1}), "task.index is -1"),
        (changed(task={"type": "worker", "index": True}), "task.index is True"),
        (changed(task={"type": "worker"}), "task.index is None"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(monkeypatch, value, message):
    with pytest.raises(UsageError) as caught:
        read(monkeypatch, value)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "strategy", ["MultiWorkerMirroredStrategy", "CollectiveAllReduceStrategy", "PSStrategy"]
)
def test_a_config_for_several_processes_trains_in_one_if_there_are_no_others(monkeypatch, strategy):
    text = f"train_config {{ train_distribute: {strategy} num_gpus_per_worker: 2 }}"
    monkeypatch.delenv("TF_CONFIG", raising=False)
    config = parse_config(text, "a.config")
    assert cluster_of(config) is None and cluster_of(config) is None
    assert config.warnings == [
        "a.config:1:16: train_config.train_distribute: TF_CONFIG names no other processes, so this one trains "
        "alone"
    ]
    devices = devices_from_config(config, None, lambda line: None)
    assert devices.workers == 1 and devices.chief
    assert (type(devices) is Devices) == (strategy == "PSStrategy")
    asked = parse_config("", overrides=[f"train_config.train_distribute={strategy}"])
    with pytest.raises(UsageError, match="TF_CONFIG is not set"):
        cluster_of(asked)
    monkeypatch.setenv("TF_CONFIG", json.dumps({**GOOD, "cluster": {**GOOD["cluster"], "ps": ["d:4"]}}))
    if strategy == "PSStrategy":
        assert cluster_of(config).name == "worker 1"
    else:
        with pytest.raises(UsageError):  # it has no parameter servers
            cluster_of(config)
