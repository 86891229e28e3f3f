"""Training with parameter servers: workers update shared weights without waiting for each other.

The chief reads the rows and hands out batches; a worker that is free computes the gradients of one with the
weights as they are at that moment and updates them at once. So gradients may be of weights from a few steps
before, and two runs never end with the same weights.
"""

from __future__ import annotations

import collections
import contextlib
import sys
import time
from contextlib import AbstractContextManager
from typing import Any, NoReturn, TextIO

import tensorflow as tf

from easyssl.data.cursor import Cursor
from easyssl.training.cluster import Cluster
from easyssl.training.devices import Devices
from easyssl.training.due import first_reason
from easyssl.training.optimizers.rule import UpdateRule
from easyssl.training.pipeline import Batch, Prefetcher, filled
from easyssl.training.row_errors import naming_rows
from easyssl.training.signals import Preempted, StopSignals
from easyssl.training.step import StepResult, TrainStep, inputs_of
from easyssl.training.trainer import Trainer

# A table is divided among the servers if its parts have this many bytes at least.
_MIN_PART = 256 << 10
_NAP_SECONDS = 0.2


class ParameterServers(Devices):
    """Weights on parameter servers, steps on workers.

    Args:
        cluster: The processes; this one is the chief.
    """

    def __init__(self, cluster: Cluster) -> None:
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({kind: list(found) for kind, found in cluster.addresses.items()}),
            task_type=cluster.kind,
            task_id=cluster.index,
            rpc_layer="grpc",
        )
        partitioner = tf.distribute.experimental.partitioners.MinSizePartitioner(
            _MIN_PART, max_shards=len(cluster.addresses["ps"])
        )
        self.strategy = tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=partitioner)
        self.coordinator = tf.distribute.coordinator.ClusterCoordinator(self.strategy)
        self.number = len(cluster.addresses["worker"])
        super().__init__()
        self.names = ("/CPU:0",)  # batches stay here until a worker is free

    def scope(self) -> AbstractContextManager[Any]:
        """Returns the strategy's scope."""
        return self.strategy.scope()

    def shared(self) -> AbstractContextManager[Any]:
        """Returns the strategy's scope: all variables are on the servers."""
        return self.strategy.scope()


class ServedStep(TrainStep):
    """A step that the next free worker does."""

    coordinator: Any = None

    def schedule(self, batch: Batch) -> Any:
        """Hands out a batch and returns what its worker will answer."""
        if self._compiled is None:
            self._compiled = self.compiled(batch)
        return self.coordinator.schedule(self._compiled, args=(inputs_of(batch),))

    def fetch(self, batch: Batch, answer: Any) -> StepResult:
        """Waits for the step of a batch."""
        with naming_rows(batch.raw):
            return self._result(answer.fetch().tolist())


class ServedTrainer(Trainer):
    """A run whose steps workers do, several at a time."""

    def find_devices(self) -> Devices:
        """Connects with the servers and the workers."""
        assert self.cluster is not None
        self.say(f"{self.cluster}; waiting for all of them")
        self.servers = ParameterServers(self.cluster)
        return self.servers

    def make_step(self, rules: list[UpdateRule], signature: dict[str, tf.TensorSpec]) -> TrainStep:
        """Returns the training step."""
        self.served = ServedStep(self.model, rules[0], signature, self.loss_scale)
        self.served.coordinator = self.servers.coordinator
        return self.served

    def _train(self, stop: StopSignals) -> str:
        saved = None if self.state.cursor is None else Cursor.from_dict(self.state.cursor)
        capacity = self.config.message.data_config.prefetch_size
        last_save = time.monotonic()
        under_way: collections.deque[tuple[Batch, Any]] = collections.deque()

        def wait_until(left: int) -> None:
            while len(under_way) > left:
                batch, answer = under_way.popleft()
                self.take(batch, self.served.fetch(batch, answer))

        with Prefetcher(self.dataset.batches(saved), self.placement, capacity) as prefetched:
            for batch in filled(prefetched):
                under_way.append((batch, self.served.schedule(batch)))
                # What is decided after a step, and saved, must not have later steps in it.
                facts = self.due.after(self.state, self.state.step + len(under_way), last_save, stop)
                pending = any(facts.values())
                wait_until(0 if pending else 2 * self.servers.number)
                if not pending:
                    continue
                if facts["save"]:
                    self.evaluate()
                    self.save()
                    self.journal.leave_out()
                    last_save = time.monotonic()
                facts = self.due.after(self.state, self.state.step, last_save, stop)
                reason = first_reason(facts)
                if reason is not None:
                    return reason
                if facts["stop"]:
                    path = self.save()
                    raise Preempted(f"stopped by a signal after step {self.state.step}, saved in {path}")
            wait_until(0)
        return "data"


def serve(cluster: Cluster, stream: TextIO | None = None) -> NoReturn:
    """Serves as a worker or a parameter server until a signal says stop.

    Raises:
        Preempted: When it does.
    """
    stream = sys.stderr if stream is None else stream
    server = tf.distribute.Server(
        tf.train.ClusterSpec({kind: list(found) for kind, found in cluster.addresses.items()}),
        job_name=cluster.kind,
        task_index=cluster.index,
        protocol="grpc",
    )
    stream.write(f"{cluster} serves at {server.target}; stop it with SIGTERM when the chief is done\n")
    stream.flush()
    with StopSignals() as stop, contextlib.suppress(KeyboardInterrupt):
        while not stop.requested:
            time.sleep(_NAP_SECONDS)
    raise Preempted(f"{cluster.name} was stopped by a signal")
