"""The names of precisions and of the ways in which devices share the work. Does not import TensorFlow."""

from __future__ import annotations

import os
from typing import Any

from easyssl.training.cluster import VARIABLE, Cluster, cluster_from_environment

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

STRATEGIES = {
    "none": "NoStrategy",
    "mirrored": "MirroredStrategy",
    "multi_worker": "MultiWorkerMirroredStrategy",
    "parameter_server": "PSStrategy",
}
"""Name on the command line -> value of `train_config.train_distribute`."""

_NAMES = {value: name for name, value in STRATEGIES.items()} | {"CollectiveAllReduceStrategy": "multi_worker"}


def strategy_of(config: Any) -> str:
    """Returns the name of the strategy that a config asks for; values without effect mean `none`."""
    train_config = config.message.train_config
    values = train_config.DESCRIPTOR.fields_by_name["train_distribute"].enum_type.values_by_number
    return _NAMES.get(values[train_config.train_distribute].name, "none")


def cluster_of(config: Any) -> Cluster | None:
    """Returns the processes that a config's strategy needs, None where one is enough.

    A config that was written for several processes trains in one where no TF_CONFIG names others, which a
    warning tells: with MultiWorkerMirroredStrategy on all devices of this machine, with PSStrategy on one.

    Raises:
        UsageError: If TF_CONFIG is wrong, or absent although the command line asks for such a strategy.
        ConfigError: If the batches cannot be shared evenly.
    """
    strategy = strategy_of(config)
    if strategy in ("none", "mirrored") or _alone(config):
        return None
    if strategy == "parameter_server":
        train_config = config.message.train_config
        if train_config.jit_compile:
            raise config.error("train_config.jit_compile", "XLA cannot read weights of parameter servers")
        if any(optimizer.use_moving_average for optimizer in train_config.optimizer_config):
            raise config.error(
                "train_config.optimizer_config",
                "use_moving_average needs steps one after another, unlike those of parameter servers",
            )
        return cluster_from_environment(("chief", "worker", "ps"), ("chief", "worker", "ps"))
    cluster = cluster_from_environment(("chief", "worker"), ("worker",))
    number, rows = len(cluster.tasks()), config.message.data_config.batch_size
    if rows % number:
        raise config.error(
            "data_config.batch_size",
            f"{rows} rows cannot be shared evenly by {number} workers; expected a multiple of {number}",
        )
    return cluster


def _alone(config: Any) -> bool:
    """Returns whether TF_CONFIG names no others, and the file, not the command line, asks for them."""
    field = "train_config.train_distribute"
    if os.environ.get(VARIABLE, "").strip() or config.overridden(field):
        return False
    warning = str(config.error(field, f"{VARIABLE} names no other processes, so this one trains alone"))
    if warning not in config.warnings:
        config.warnings.append(warning)
    return True
