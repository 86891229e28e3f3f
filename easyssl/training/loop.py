"""Training, to be read from top to bottom."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np
import tensorflow as tf

import easyssl
from easyssl.data.dataset import Cursor, dataset_from_config
from easyssl.errors import CheckpointError, TrainingError, nearest
from easyssl.training.checkpoint import Checkpoint, CheckpointFolder, no_hook
from easyssl.training.diagnose import first_bad_tensor
from easyssl.training.evaluate import Evaluator
from easyssl.training.files import put_aside
from easyssl.training.fingerprint import check_unchanged, fingerprint, flatten
from easyssl.training.labels import Labels, place_of_all
from easyssl.training.lock import ModelDirLock
from easyssl.training.loss_scale import LossScale
from easyssl.training.names import named_variables
from easyssl.training.optimizers.build import update_rule_from_config
from easyssl.training.pipeline import Batch, Prefetcher, Preparation
from easyssl.training.progress import Progress
from easyssl.training.records import Boards, Records
from easyssl.training.restore import restore_exactly, warm_start
from easyssl.training.setup import build_model, check_keras, deadline, make_deterministic
from easyssl.training.signals import Preempted, StopSignals
from easyssl.training.state import Best, RunState
from easyssl.training.step import StepResult, TrainStep


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: Number of steps done, earlier runs included.
        reason: `steps`, `data`, `early_stopping` or `dead_line`.
        metrics: The last evaluation.
        best: The best value of the metric that is compared, and its step; None without evaluation.
        checkpoint: The last checkpoint.
    """

    step: int
    reason: str
    metrics: dict[str, float]
    best: tuple[float, int] | None
    checkpoint: pathlib.Path


def train(
    config: Any,
    *,
    fresh: bool = False,
    allow_config_change: bool = False,
    stream: TextIO | None = None,
    on_write: Callable[[str], None] = no_hook,
) -> TrainResult:
    """Trains the model of a config, or goes on where the last run of the same config stopped.

    Everything is written below `model_dir`: checkpoints in `ckpt/`, `metrics.jsonl`, TensorBoard files in
    `logs/`. With `train_config.deterministic`, on one device, a run that was stopped any number of times, at
    any moment and in any way, gives the same weights and metrics bit for bit as one that was not, as long as
    checkpoints are asked for by steps and not by seconds.

    Args:
        config: A `Config`.
        fresh: Whether to start over; what an earlier run wrote is put aside.
        allow_config_change: Whether to go on although fields that change results have been edited.
        stream: Where progress is shown; by default stderr.
        on_write: Called before each file of a checkpoint is written; for tests.

    Returns:
        How the run ended.

    Raises:
        ConfigError: If the config is wrong.
        DataError: If the data cannot be read.
        CheckpointError: If no checkpoint can be read or written, or it was made by another config.
        TrainingError: If something is no longer finite; the last checkpoint is from before.
        Preempted: If a signal stopped the run, after a checkpoint was written.
    """
    check_keras()
    trainer = Trainer(config, stream, on_write)
    with ModelDirLock(trainer.model_dir), StopSignals() as stop:
        if fresh:
            trainer.put_aside()
        trainer.build()
        trainer.resume(allow_config_change)
        try:
            return trainer.run(stop)
        finally:
            trainer.close()


class Trainer:
    """One run of training; `train` tells in which order its methods are called."""

    def __init__(self, config: Any, stream: TextIO | None, on_write: Callable[[str], None]) -> None:
        self.config = config
        self.train_config = config.message.train_config
        if not self.train_config.num_steps and not config.message.data_config.num_epochs:
            raise config.error("train_config", "neither num_steps nor data_config.num_epochs is set")
        if not config.message.model_dir:
            raise config.error("model_dir", "it is not set, expected a folder")
        self.model_dir = pathlib.Path(config.resolve_path(config.message.model_dir, "model_dir"))
        self.stream = sys.stderr if stream is None else stream
        self.flat_config = flatten(config.message)
        self.checkpoints = CheckpointFolder(
            self.model_dir / "ckpt", self.train_config.keep_checkpoint_max, self.say, on_write
        )
        self.records = Records(self.model_dir / "metrics.jsonl")
        self.progress: Progress | None = None
        self.boards: Boards | None = None
        self.saved_step: int | None = None
        self.deadline = deadline(config)

    # Set-up ---------------------------------------------------------------------------------------------

    def put_aside(self) -> None:
        """Moves what an earlier run wrote into a folder `before-<n>`."""
        moved = put_aside(self.model_dir, ("ckpt", "metrics.jsonl", "logs", "quarantine.jsonl"))
        if moved is not None:
            self.say(f"starting over; the earlier run is in {moved}")

    def build(self) -> None:
        """Makes model, update rule, data and evaluator."""
        config, message = self.config, self.config.message
        self.checkpoints.clean()
        make_deterministic(config)
        self.model = build_model(config)
        self.variables = named_variables(self.model)
        self.rule = update_rule_from_config(config, self.model)
        scaled = self.train_config.mixed_precision == "mixed_float16"
        self.loss_scale = LossScale() if scaled else None
        labels = Labels.from_config(config, self.model.label_names)
        self.preparation = Preparation(self.model.transform, labels)
        self.dataset = dataset_from_config(config, "train", quarantine=self.model_dir / "quarantine.jsonl")
        self.step = TrainStep(
            self.model,
            self.rule,
            self.preparation.signature(),
            self.loss_scale,
            self.train_config.jit_compile,
        )
        has_eval = message.WhichOneof("eval_path") is not None
        self.evaluator = Evaluator.from_config(config, self.model) if has_eval else None
        self.state = RunState(self._best())

    def _best(self) -> Best:
        stopping, export = self.train_config.early_stopping, self.config.message.export_config
        if not self.train_config.HasField("early_stopping"):
            return Best(export.best_exporter_metric, export.metric_bigger)
        for field in ("metric", "patience_evals"):
            if not getattr(stopping, field):
                raise self.config.error("train_config.early_stopping", f"{field} is not set")
        if self.evaluator is None:
            raise self.config.error("train_config.early_stopping", "there is no eval_input_path to evaluate")
        return Best(stopping.metric, stopping.bigger_is_better)

    def resume(self, allow_config_change: bool) -> None:
        """Goes on from the newest whole checkpoint, else starts from another run's weights, else afresh."""
        checkpoint = self.checkpoints.latest()
        if checkpoint is not None:
            if not allow_config_change:
                check_unchanged(checkpoint.document("config"), self.flat_config, str(checkpoint.path))
            self._restore(checkpoint)
            self.say(f"going on after step {self.state.step} from {checkpoint.path}")
        elif self.train_config.fine_tune_checkpoint:
            taken = warm_start(self.config, self.variables, self.say)
            self.say(f"starting with {taken} weights of {self.train_config.fine_tune_checkpoint}")
        self.records.drop_after(self.state.step)
        self.boards = Boards(self.model_dir / "logs")
        self.progress = Progress(self.train_config.num_steps or None, self.state.step, self.stream)

    def _restore(self, checkpoint: Checkpoint) -> None:
        for group, variables in (("weights", self.variables), ("optimizer", self._update_variables())):
            with checkpoint.arrays(group) as stored:
                restore_exactly(variables, stored, checkpoint.path / f"{group}.npz")
        self.state.load(checkpoint.document("state")["run"])
        self.saved_step = checkpoint.step

    # The loop -------------------------------------------------------------------------------------------

    def run(self, stop: StopSignals) -> TrainResult:
        """Trains until there is a reason to end."""
        reason = self._reason_to_end()
        cursor = None if self.state.cursor is None else Cursor.from_dict(self.state.cursor)
        capacity = self.config.message.data_config.prefetch_size
        last_save = time.monotonic()
        with Prefetcher(self.dataset.batches(cursor), self.preparation, capacity) as batches:
            for batch in batches if reason is None else ():
                self.train_on(batch)
                if self._time_to_save(last_save):
                    self.evaluate()
                    self.save()
                    last_save = time.monotonic()
                if stop.requested:
                    self.save()
                    raise Preempted(f"stopped by a signal after step {self.state.step}")
                reason = self._reason_to_end()
                if reason is not None:
                    break
        if self.state.step == 0:
            raise TrainingError(f"{self.config.path}: the data has no batch to train on")
        self.evaluate()
        path = self.save()
        self.say(f"done after step {self.state.step} ({reason or 'data'}): {path}")
        best = self.state.best
        found = None if best.value is None or best.step is None else (best.value, best.step)
        return TrainResult(self.state.step, reason or "data", self.state.metrics, found, path)

    def train_on(self, batch: Batch) -> None:
        """Does one step, and logs where it is time to."""
        result = self.step(batch)
        state = self.state
        if not result.finite:
            raise self._not_finite(batch, result)
        state.step += 1
        state.cursor = batch.raw.cursor.as_dict()
        state.rows += batch.rows
        if result.overflow:
            state.overflows += 1
        else:
            values = {f"losses/{name}": value for name, value in result.unweighted.items()}
            values |= {f"weighted/{name}": value for name, value in result.weighted.items()}
            state.window.add({"loss": result.loss, "gradient_norm": result.norm, **values}, batch.rows)
        assert self.progress is not None
        self.progress.count(batch.rows)
        self.progress.live(state.step, result.loss)
        if (
            self.train_config.log_step_count_steps
            and state.step % self.train_config.log_step_count_steps == 0
        ):
            self.log()

    def _time_to_save(self, last_save: float) -> bool:
        every = self.train_config.save_checkpoints_steps
        seconds = self.train_config.save_checkpoints_secs
        by_seconds = self.train_config.HasField("save_checkpoints_secs")
        by_steps = self.train_config.HasField("save_checkpoints_steps") or not by_seconds
        due = bool(by_steps and every and self.state.step % every == 0)
        return due or bool(by_seconds and seconds and time.monotonic() - last_save >= seconds)

    def _reason_to_end(self) -> str | None:
        limit, patience = self.train_config.num_steps, self.train_config.early_stopping.patience_evals
        if limit and self.state.step >= limit:
            return "steps"
        if patience and self.state.best.stale >= patience:
            return "early_stopping"
        if self.deadline is not None and time.time() >= self.deadline:
            return "dead_line"
        return None

    def _not_finite(self, batch: Batch, result: StepResult) -> TrainingError:
        cause = first_bad_tensor(self.model, self.rule, batch, result)
        if self.saved_step is None:
            kept = "there is no checkpoint yet"
        else:
            kept = f"the last checkpoint is {self.checkpoints.path(self.saved_step)}"
        return TrainingError(
            f"step {self.state.step + 1}: the loss or its gradient is not finite; first bad tensor: {cause}; "
            f"rows: {place_of_all(batch.raw)}; {kept}"
        )

    # What is written ------------------------------------------------------------------------------------

    def log(self) -> None:
        """Writes the means since the last record, and a line."""
        assert self.progress is not None and self.boards is not None
        state = self.state
        means = state.window.take()
        losses = {name[7:]: value for name, value in means.items() if name.startswith("losses/")}
        weighted = {name[9:]: value for name, value in means.items() if name.startswith("weighted/")}
        rates = [float(rate) for rate in self.rule.learning_rates]
        clock: dict[str, Any] = {"time": time.time(), "rows_per_second": self.progress.rows_per_second()}
        if self.dataset.bad_rows.total:
            clock["malformed_rows"] = self.dataset.bad_rows.counts
        whole = {name: means[name] for name in ("loss", "gradient_norm") if name in means}
        scale = {} if self.loss_scale is None else {"loss_scale": float(self.loss_scale.factor)}
        epoch = state.cursor["epoch"] if state.cursor else 0
        self.records.add(
            "train",
            state.step,
            epoch=epoch,
            rows=state.rows,
            **whole,
            losses=losses,
            weighted=weighted,
            learning_rate=rates,
            **scale,
            clock=clock,
        )
        shown = {name: means[name] for name in ("loss",) if name in means}
        self.progress.log(state.step, {**shown, **losses}, clock["rows_per_second"])
        self.boards.add("train", state.step, {**whole, **losses, "learning_rate": rates[-1]})

    def evaluate(self) -> None:
        """Computes the metrics of the evaluation data, unless this step has them already."""
        state = self.state
        if self.evaluator is None or state.evaluated == state.step:
            return
        assert self.boards is not None
        begin = time.time()
        with self.rule.averaged():
            state.metrics = self.evaluator.run()
        state.evaluated = state.step
        metric = state.best.metric
        if metric in state.metrics:
            state.best.update(state.metrics[metric], state.step)
        elif self.train_config.HasField("early_stopping"):
            where = "train_config.early_stopping.metric"
            raise self.config.error(where, f"'{metric}' is not computed{nearest(metric, state.metrics)}")
        clock = {"time": time.time(), "seconds": time.time() - begin}
        self.records.add("eval", state.step, metrics=state.metrics, clock=clock)
        self.boards.add("eval", state.step, state.metrics)
        values = "  ".join(f"{name} {value:.4f}" for name, value in state.metrics.items())
        self.say(f"step {state.step} evaluation  {values}")

    def save(self) -> pathlib.Path:
        """Writes a checkpoint, unless this step has one already; then removes what need not be kept."""
        state = self.state
        if self.saved_step == state.step:
            return self.checkpoints.path(state.step)
        self.records.sync()
        groups = {"weights": self.variables, "optimizer": self._update_variables()}
        averages = self.rule.averages
        try:
            checkpoint = self.checkpoints.save(
                state.step,
                {
                    group: {name: np.asarray(variable) for name, variable in variables.items()}
                    for group, variables in groups.items()
                },
                {
                    "state": {
                        "run": state.as_dict(),
                        "average_decay": None if averages is None else averages.decay,
                    },
                    "config": self.flat_config,
                },
                {
                    "epoch": state.cursor["epoch"] if state.cursor else 0,
                    "config_sha256": fingerprint(self.flat_config),
                    "versions": versions(),
                },
            )
        except CheckpointError as error:
            raise TrainingError(str(error)) from None
        self.saved_step = state.step
        self.checkpoints.retain(state.best.step)
        return checkpoint.path

    def _update_variables(self) -> dict[str, tf.Variable]:
        state = self.rule.state({id(variable): name for name, variable in self.variables.items()})
        if self.loss_scale is not None:
            state |= {f"loss_scale/{name}": variable for name, variable in self.loss_scale.state().items()}
        return state

    def say(self, text: str) -> None:
        """Shows a line to the user."""
        if self.progress is not None:
            self.progress.say(text)
        else:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Ends the progress line and writes out what is buffered."""
        if self.progress is not None:
            self.progress.close()
        if self.boards is not None:
            self.boards.close()


def versions() -> dict[str, str]:
    """Returns the versions of what computed the weights."""
    return {
        "easyssl": easyssl.__version__,
        "tensorflow": tf.__version__,
        "tf_keras": importlib.metadata.version("tf_keras"),
        "numpy": np.__version__,
    }
