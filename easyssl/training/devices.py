"""The devices that share the work of a step."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from easyssl.errors import TrainingError
from easyssl.training.cluster import Cluster
from easyssl.training.strategies import strategy_of


class Devices:
    """One device, TensorFlow's default one; also the interface of several.

    Attributes:
        names: The devices of this process, one for each replica of the model.
        worker: Number of this process.
        workers: Number of processes.
        chief: Whether this process evaluates and writes; one of them does.
    """

    def __init__(self) -> None:
        gpus = tf.config.list_logical_devices("GPU")
        self.names: tuple[str, ...] = (gpus[0].name if gpus else "/CPU:0",)
        self.worker, self.workers = 0, 1
        self.chief = True

    def scope(self) -> AbstractContextManager[Any]:
        """Returns the context in which variables are made and changed as a whole."""
        return contextlib.nullcontext()

    def shared(self) -> AbstractContextManager[Any]:
        """Returns the context in which variables are made that exist once, for all devices."""
        return contextlib.nullcontext()

    def reading(self) -> AbstractContextManager[Any]:
        """Returns the context in which a model is called on the first device alone."""
        return contextlib.nullcontext()

    def copies(self, variable: tf.Variable) -> tuple[tf.Variable, ...]:
        """Returns the variable on each device of this process."""
        return (variable,)

    def settle(self, variables: Sequence[tf.Variable]) -> None:
        """Makes statistics that each device keeps for itself the same everywhere: their mean."""

    def total(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Returns the sum over the workers of each number; all workers call it at the same point."""
        return dict(numbers)


class Replicas(Devices):
    """Several devices that each hold the model and work on a part of every batch.

    Args:
        strategy: A MirroredStrategy or a MultiWorkerMirroredStrategy.
        cluster: The processes of the latter.
    """

    def __init__(self, strategy: Any, cluster: Cluster | None = None) -> None:
        self.strategy = strategy
        self.names = tuple(strategy.extended.worker_devices)
        tasks = [] if cluster is None else cluster.tasks()
        self.worker = tasks.index(cluster.name) if cluster is not None else 0
        self.workers = max(1, len(tasks))
        self.chief = self.worker == 0
        self._total: Any = None

    @property
    def first(self) -> int:
        """Number of this process' first replica among all."""
        return self.worker * len(self.names)

    def scope(self) -> AbstractContextManager[Any]:
        """Returns the strategy's scope."""
        return self.strategy.scope()

    @contextlib.contextmanager
    def reading(self) -> Any:
        """Enters the context of the first replica."""
        replica = tf.distribute.ReplicaContext(self.strategy, self.first)
        with self.strategy.scope(), replica, tf.device(self.names[0]):
            yield

    def copies(self, variable: tf.Variable) -> tuple[tf.Variable, ...]:
        """Returns the variable of each replica."""
        return tuple(self.strategy.experimental_local_results(variable))

    def settle(self, variables: Sequence[tf.Variable]) -> None:
        """Averages moving statistics over the replicas."""
        own = [
            variable
            for variable in variables
            if variable.synchronization == tf.VariableSynchronization.ON_READ
            and variable.aggregation == tf.VariableAggregation.MEAN
        ]
        with self.strategy.scope():
            for variable in own:
                variable.assign(variable.read_value())

    def total(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Returns the sum over the workers of each number."""
        if self.workers == 1:
            return dict(numbers)
        if self._total is None:
            self._total = tf.function(self._sum, autograph=False)
        found = self._total(tf.constant([float(number) for number in numbers.values()], tf.float64))
        return dict(zip(numbers, found.numpy().tolist(), strict=True))

    def _sum(self, numbers: tf.Tensor) -> tf.Tensor:
        # The first device speaks for the process, the others add nothing.
        def own() -> tf.Tensor:
            return numbers if self.local_replica() == 0 else tf.zeros_like(numbers)

        return self.strategy.reduce("SUM", self.strategy.run(own), axis=None)

    def local_replica(self) -> int:
        """Returns the number, within this process, of the replica that is being traced."""
        context = tf.distribute.get_replica_context()
        return int(tf.get_static_value(context.replica_id_in_sync_group)) - self.first


def devices_from_config(config: Any, cluster: Cluster | None, report: Callable[[str], None]) -> Devices:
    """Returns the devices that `train_config.train_distribute` asks for.

    With several processes, call it before anything else uses TensorFlow; it waits for all of them.

    Args:
        config: A `Config`.
        cluster: The processes that train together, see `strategies.cluster_of`.
        report: Called with a line for the user.
    """
    strategy = strategy_of(config)
    if strategy == "none" or (strategy == "parameter_server" and cluster is None):
        return Devices()
    if cluster is not None:
        report(f"{cluster}; waiting for all of them")
    train_config = config.message.train_config
    limit = max(1, train_config.num_gpus_per_worker) if train_config.HasField("num_gpus_per_worker") else None
    if cluster is None:
        devices = tf.config.list_logical_devices("GPU")[:limit] or tf.config.list_logical_devices("CPU")
        replicas = Replicas(_mirrored(tuple(device.name for device in devices)))
    else:
        gpus = tf.config.list_physical_devices("GPU")
        if gpus and limit is not None:
            tf.config.set_visible_devices(gpus[:limit], "GPU")
        replicas = Replicas(tf.distribute.MultiWorkerMirroredStrategy(), cluster)
    report(f"{config.message.data_config.batch_size} rows a step on {_listed(replicas)}")
    return replicas


def check_same_step(devices: Devices, step: int) -> None:
    """Makes sure that all workers go on from the same checkpoint.

    Raises:
        TrainingError: If they do not.
    """
    if devices.total({"step": step})["step"] != step * devices.workers:
        raise TrainingError(
            f"worker {devices.worker} would go on after step {step} and another one after another step; all "
            "workers need to see the same model_dir"
        )


@functools.cache
def _mirrored(names: tuple[str, ...]) -> Any:
    """Returns the strategy for some devices; two of them in a process would mix up their messages."""
    return tf.distribute.MirroredStrategy(names)


def _listed(replicas: Replicas) -> str:
    kind = "GPU" if "GPU" in replicas.names[0].upper() else "CPU"
    each = f"{len(replicas.names)} {kind}{'s' * (len(replicas.names) > 1)}"
    return each if replicas.workers == 1 else f"{each} of each of {replicas.workers} workers"
