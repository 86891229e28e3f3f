"""A run of training, to be read from top to bottom."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Any, TextIO

import tensorflow as tf

from easyssl.data.build import dataset_from_config
from easyssl.data.dataset import Cursor
from easyssl.errors import TrainingError, nearest
from easyssl.metrics import metric_columns, metrics_from_config
from easyssl.training.checkpoint import CheckpointFolder
from easyssl.training.cluster import Cluster
from easyssl.training.devices import Devices, check_same_step, devices_from_config
from easyssl.training.diagnose import first_bad_tensor
from easyssl.training.due import Due, first_reason
from easyssl.training.evaluate import Evaluator
from easyssl.training.files import put_aside, write_json
from easyssl.training.fingerprint import check_unchanged, flatten
from easyssl.training.journal import Journal
from easyssl.training.labels import Labels, place_of_all
from easyssl.training.loss_scale import LossScale
from easyssl.training.names import fixed_tables, named_variables
from easyssl.training.optimizers.build import frozen_variables
from easyssl.training.optimizers.rule import UpdateRule
from easyssl.training.parts import joined
from easyssl.training.pipeline import Batch, Prefetcher, Preparation
from easyssl.training.placement import Placement
from easyssl.training.replicated_step import rules_on, step_on
from easyssl.training.saving import RunSaver
from easyssl.training.setup import build_model, leave_graphs_alone, make_deterministic
from easyssl.training.signals import Preempted, StopSignals
from easyssl.training.state import Best, RunState, TrainResult
from easyssl.training.step import StepResult, TrainStep
from easyssl.training.together import Order
from easyssl.training.warm_start import warm_start
from easyssl.training.worker_journal import WorkerJournal

# What was taken over from fine_tune_checkpoint, name by name.
WARM_START = "fine_tune.json"


class Trainer:
    """One run of training; `train` tells in which order its methods are called.

    Args:
        config: A `Config`.
        stream: Where progress is shown; by default stderr.
        on_write: Called before each file of a checkpoint is written.
        cluster: The processes that train together; None if there is only this one.
    """

    def __init__(
        self,
        config: Any,
        stream: TextIO | None,
        on_write: Callable[[str], None],
        cluster: Cluster | None = None,
    ) -> None:
        self.config = config
        self.train_config = config.message.train_config
        if not self.train_config.num_steps and not config.message.data_config.num_epochs:
            raise config.error("train_config", "neither num_steps nor data_config.num_epochs is set")
        self.due = Due(config)
        self._settled: int | None = None
        self.model_dir = pathlib.Path(config.resolve_path(config.message.model_dir, "model_dir"))
        self.cluster = cluster
        self.chief = cluster is None or cluster.name == cluster.tasks()[0]
        if cluster is None or self.chief:
            self.journal = Journal(self.model_dir, self.train_config.num_steps or None, stream)
        else:
            self.journal = WorkerJournal(cluster.name, stream)
        self.say = self.journal.say
        self.checkpoints = CheckpointFolder(
            self.model_dir / "ckpt", self.train_config.keep_checkpoint_max, self.say, on_write
        )

    # Before the first step ------------------------------------------------------------------------------

    def put_aside(self) -> None:
        """Moves what an earlier run wrote into a folder `before-<n>`."""
        if not self.chief:
            return
        workers = 1 if self.cluster is None else len(self.cluster.tasks())
        quarantines = [self._quarantine(worker).name for worker in range(workers)]
        moved = put_aside(self.model_dir, ("ckpt", "metrics.jsonl", "logs", WARM_START, *quarantines))
        if moved is not None:
            self.say(f"starting over; the earlier run is in {moved}")

    def build(self) -> None:
        """Makes the model, the data, the step, the evaluator and the state."""
        config = self.config
        self.devices = self.find_devices()
        make_deterministic(config, self.say)
        leave_graphs_alone()
        with self.devices.scope():
            self.model = build_model(config)
        self.variables = named_variables(self.model)
        rules = rules_on(self.devices, config, self.model)
        self.rule = rules[0]
        half = self.train_config.mixed_precision == "mixed_float16"
        with self.devices.shared():
            self.loss_scale = LossScale() if half else None

        labels = Labels.from_config(
            config, self.model.label_names, self.model.label_limits, self.model.loss_columns
        )
        self.dataset = dataset_from_config(
            config,
            "train",
            columns=self._columns(labels),
            quarantine=self._quarantine(self.devices.worker),
            worker_index=self.devices.worker,
            num_workers=self.devices.workers,
        )
        preparation = Preparation.for_model(self.model, labels, self.dataset.bad_rows)
        self.placement = Placement(preparation, self.devices)
        self.step = self.make_step(rules, preparation.signature())

        has_eval = config.message.WhichOneof("eval_path") is not None
        self.evaluator = Evaluator.from_config(config, self.model, devices=self.devices) if has_eval else None
        self.online = None
        if self.chief and config.message.eval_config.eval_online:
            metrics = metrics_from_config(config)
            self.online = Evaluator(self.model, self.dataset, metrics, labels, devices=self.devices)
        self.state = RunState(self._best())
        flat = flatten(config.message)
        self.saver = RunSaver(
            self.checkpoints, self.variables, rules, self.loss_scale, flat, self.devices.copies
        )

    def _columns(self, labels: Labels) -> list[str]:
        """Returns the columns of the training data that are read."""
        online = metric_columns(self.config) if self.config.message.eval_config.eval_online else []
        return list(dict.fromkeys([*self.model.training_transform.columns, *labels.columns, *online]))

    def _quarantine(self, worker: int) -> pathlib.Path:
        """Returns the file for the malformed rows that a worker meets."""
        return self.model_dir / (f"quarantine-{worker}.jsonl" if worker else "quarantine.jsonl")

    def find_devices(self) -> Devices:
        """Returns the devices to train on."""
        return devices_from_config(self.config, self.cluster, self.say)

    def make_step(self, rules: list[UpdateRule], signature: dict[str, tf.TensorSpec]) -> TrainStep:
        """Returns the training step."""
        jit_compile = self.train_config.jit_compile
        return step_on(self.devices, self.model, rules, signature, self.loss_scale, jit_compile)

    def _best(self) -> Best:
        rule, export = self.due.early_stopping, self.config.message.export_config
        if rule is None:
            return Best(export.best_exporter_metric, export.metric_bigger)
        return Best(rule.metric, rule.bigger_is_better)

    def resume(self, allow_config_change: bool) -> None:
        """Goes on from the newest whole checkpoint, else starts from another run's weights, else afresh."""
        if self.chief:
            self.checkpoints.clean()
        checkpoint = self.checkpoints.latest()
        if checkpoint is not None:
            if not allow_config_change:
                check_unchanged(checkpoint.document("config"), self.saver.flat_config, str(checkpoint.path))
            self.saver.restore(checkpoint, self.state)
            self.say(f"going on after step {self.state.step} from {checkpoint.path}")
        elif self.train_config.fine_tune_checkpoint:
            with self.devices.scope():
                fixed = fixed_tables(self.model, self.variables)
                start = warm_start(self.config, joined(self.variables), self.say, fixed)
            for line in start.lines():
                self.say(line)
            if self.chief:
                self.model_dir.mkdir(parents=True, exist_ok=True)
                write_json(self.model_dir / WARM_START, start.as_dict())
        check_same_step(self.devices, self.state.step)
        self.journal.start(self.state.step)
        weights = sum(variable.shape.num_elements() for variable in self.rule.variables)
        frozen = frozen_variables(self.config, self.model)
        if frozen:
            still = sum(variable.shape.num_elements() for variable in frozen)
            self.say(f"freeze_gradient: {len(frozen)} variables with {still:,} weights stay as they are")
        self.say(f"{self.model.name} with {weights:,} weights to train; the first step builds the graph")

    # The loop -------------------------------------------------------------------------------------------

    def run(self, stop: StopSignals) -> TrainResult:
        """Trains until there is a reason to end, then evaluates and saves."""
        reason = first_reason(self.devices.total(self.due.reasons_to_end(self.state, self.state.step)))
        if reason is None:
            reason = self._train(stop)
        if self.state.step == 0:
            raise TrainingError(f"{self.config.path}: no step was done; the reason to end was {reason}")
        self.evaluate()
        path = self.save()
        self.devices.total({"done": True})  # no worker leaves before the chief has written
        self.say(f"done after step {self.state.step} ({reason}): {path}")
        best = self.state.best
        found = None if best.value is None or best.step is None else (best.value, best.step)
        return TrainResult(self.state.step, reason, self.state.metrics, found, path, self.chief)

    def _train(self, stop: StopSignals) -> str:
        saved = None if self.state.cursor is None else Cursor.from_dict(self.state.cursor)
        order = Order(self.config, self.devices, self.dataset, saved)
        capacity = self.config.message.data_config.prefetch_size
        last_save = time.monotonic()
        with Prefetcher(self.dataset.batches(order.start), self.placement, capacity) as prefetched:
            batches = order.batches(prefetched, self.placement)
            for batch in batches:
                self.train_on(batch)
                said = batches.agree(self.due.after(self.state, self.state.step, last_save, stop))
                if said["save"]:
                    self.evaluate()
                    self.save()
                    self.journal.leave_out()
                    last_save = time.monotonic()
                    said = batches.agree(self.due.after(self.state, self.state.step, last_save, stop))
                reason = first_reason(said)
                if reason is not None:
                    return reason
                if said["stop"]:
                    path = self.save()
                    raise Preempted(f"stopped by a signal after step {self.state.step}, saved in {path}")
        return "data"

    def train_on(self, batch: Batch) -> None:
        """Does one step, and logs where it is time to."""
        self.take(batch, self.step(batch))

    def take(self, batch: Batch, result: StepResult) -> None:
        """Takes note of a step that is done."""
        state = self.state
        if not result.finite:
            raise self._not_finite(batch, result)
        state.step += 1
        state.rows += batch.step_rows
        state.overflows += result.overflow
        state.cursor = batch.cursor.as_dict()
        if state.epoch and state.cursor["batch"] == 0:
            self._expect(state.step // state.epoch)
        self.journal.step(state, result, batch.step_rows)
        every = self.train_config.log_step_count_steps
        if every and state.step % every == 0:
            rates = [float(rate) for rate in self.rule.learning_rates]
            scale = None if self.loss_scale is None else float(self.loss_scale.factor)
            online = {} if self.online is None else self.online.of_batch(batch)
            self.journal.log(state, rates, scale, self.dataset.bad_rows.counts, online)

    def evaluate(self) -> None:
        """Computes the metrics of the evaluation data, unless this step has them already."""
        state = self.state
        self._settle()
        if not self.chief or self.evaluator is None or state.evaluated == state.step:
            return
        begin = time.monotonic()
        with self.rule.averaged():
            state.metrics = self.evaluator.run()
        state.evaluated = state.step
        metric, rule = state.best.metric, self.due.early_stopping
        if metric in state.metrics:
            state.best.update(state.metrics[metric], state.step)
        elif rule is not None or self.config.message.export_config.exporter_type == "best":
            where = "export_config.best_exporter_metric" if rule is None else rule.path
            raise self.config.error(where, f"'{metric}' is not computed{nearest(metric, state.metrics)}")
        self.journal.evaluation(state, time.monotonic() - begin)

    def save(self) -> pathlib.Path:
        """Writes a checkpoint of this step, after the records that a resumed run will not write again."""
        self._settle()
        if not self.chief:
            return self.checkpoints.path(self.state.step)
        self.journal.sync()
        return self.saver.save(self.state)

    def _settle(self) -> None:
        """Lets all devices go on with the same statistics, which are what is evaluated and saved."""
        if self._settled != self.state.step:
            self.devices.settle(self.model.weights)
            self._settled = self.state.step

    def _expect(self, steps_per_epoch: int) -> None:
        """Tells the progress line where the run will end, once the length of an epoch is known."""
        epochs, limit = self.config.message.data_config.num_epochs, self.train_config.num_steps
        if epochs:
            total = steps_per_epoch * epochs
            self.journal.expect(min(total, limit) if limit else total)

    def _not_finite(self, batch: Batch, result: StepResult) -> TrainingError:
        with self.devices.reading():
            cause = first_bad_tensor(self.model, self.rule, batch, result)
        last = self.saver.last
        kept = "there is no checkpoint yet" if last is None else f"the last checkpoint is {last.path}"
        return TrainingError(
            f"step {self.state.step + 1}: the loss or its gradient is not finite; first bad tensor: {cause}; "
            f"rows: {place_of_all(batch.raw)}; {kept}"
        )
