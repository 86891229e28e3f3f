"""Whole runs: going on, starting over, ending, and what is written."""

import io
import json
import os
import signal

import numpy as np
import pytest

from easyssl.errors import CheckpointError, ConfigError, DataError, TrainingError, UsageError
from easyssl.training import Evaluator, Preempted, load_trained, train
from easyssl.training.checkpoint import CheckpointFolder
from easyssl.training.names import named_variables


def content(run, step):
    """Everything in a checkpoint that must be equal in equal runs."""
    checkpoint = CheckpointFolder(run / "ckpt").latest()
    assert checkpoint.step == step
    values = {"state": checkpoint.document("state")}
    for group in ("weights", "optimizer"):
        with checkpoint.arrays(group) as stored:
            values[group] = {name: stored[name] for name in stored}
    return values


def assert_same(one, other):
    assert one["state"] == other["state"]
    for group in ("weights", "optimizer"):
        assert one[group].keys() == other[group].keys()
        for name, value in one[group].items():
            np.testing.assert_array_equal(value, other[group][name], err_msg=name)


def records(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    for record in found:
        del record["clock"]
    return found


class SignalAt(io.StringIO):
    """Sends this process a signal when a text is shown."""

    def __init__(self, text, number=signal.SIGTERM):
        super().__init__()
        self.text, self.number = text, number

    def write(self, text):
        if self.text in text:
            os.kill(os.getpid(), self.number)
        return super().write(text)


def test_a_run_learns_and_writes_what_it_promises(whole):
    result = whole.result
    assert (result.step, result.reason) == (40, "steps")
    found = records(whole.run)
    assert [r["step"] for r in found if r["kind"] == "train"] == list(range(5, 41, 5))
    assert [r["step"] for r in found if r["kind"] == "eval"] == [10, 20, 30, 40]
    first, last = [r for r in found if r["kind"] == "train"][:: len(found) - 5]
    assert last["losses"]["cross_entropy_loss"] < first["losses"]["cross_entropy_loss"]
    assert last["loss"] == pytest.approx(sum(last["weighted"].values()), rel=1e-6)
    assert found[-1]["metrics"] == result.metrics
    assert {"auc", "cross_entropy_loss"} <= result.metrics.keys()
    steps = CheckpointFolder(whole.run / "ckpt").steps()
    assert steps[:3] == [40, 30, 20]
    assert result.best[1] in steps


def test_a_run_that_was_stopped_by_a_signal_ends_like_one_that_was_not(case, whole):
    for text in ("step 5/40", "step 30/40"):
        with pytest.raises(Preempted, match="after step"):
            train(case.config(), stream=SignalAt(text))
    stream = io.StringIO()
    result = train(case.config(), stream=stream)
    assert "going on after step" in stream.getvalue()
    assert result.metrics == whole.result.metrics
    assert_same(content(case.run, 40), content(whole.run, 40))
    assert records(case.run) == records(whole.run)


def test_a_full_disk_ends_the_run_in_one_line_and_it_goes_on_later(case, whole):
    seen = []

    def full(name):
        seen.append(name)
        if seen.count("MANIFEST.json") == 2:
            raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="step-00000020: cannot write .*No space left on device"):
        train(case.config(), on_write=full)
    assert CheckpointFolder(case.run / "ckpt").steps() == [10]
    train(case.config())
    assert_same(content(case.run, 40), content(whole.run, 40))
    assert records(case.run) == records(whole.run)


def test_a_finished_run_does_nothing_and_may_be_prolonged(case):
    train(case.config("train_config.num_steps=10"))
    before = content(case.run, 10), records(case.run)
    again = train(case.config("train_config.num_steps=10"))
    assert (again.step, again.reason) == (10, "steps")
    assert_same(content(case.run, 10), before[0])
    assert records(case.run) == before[1]
    with pytest.raises(
        CheckpointError, match=r"data_config.batch_size: default -> 16.*--allow-config-change"
    ):
        train(case.config("data_config.batch_size=16"))
    longer = train(case.config("train_config.num_steps=12", "data_config.prefetch_size=1"))
    assert longer.step == 12
    changed = case.config("train_config.num_steps=13", "train_config.gradient_clipping_by_norm=1")
    assert train(changed, allow_config_change=True).step == 13
    fresh = train(case.config("train_config.num_steps=2"), fresh=True, stream=io.StringIO())
    assert fresh.step == 2
    assert CheckpointFolder(case.run / "before-1" / "ckpt").latest().step == 13
    assert {r["step"] for r in records(case.run)} == {2}


def test_records_of_steps_after_the_checkpoint_are_written_anew(case):
    train(case.config("train_config.num_steps=10"))
    path = case.run / "metrics.jsonl"
    with open(path, "a") as file:
        file.write('{"kind": "train", "step": 11, "loss": 99.75, "clock": {}}\n{"kind": "tra')
    train(case.config("train_config.num_steps=15"))
    found = records(case.run)
    assert [(r["kind"], r["step"]) for r in found] == [
        ("train", 5),
        ("train", 10),
        ("eval", 10),
        ("train", 15),
        ("eval", 15),
    ]
    assert "99.75" not in path.read_text()


def test_a_number_that_is_not_finite_stops_the_run_before_it_does_harm(case):
    rows = (case.folder / "train.csv").read_text().splitlines()
    click, user, item, _, history = rows[416].split(",")
    rows[416] = ",".join([click, user, item, "1e300", history])
    (case.folder / "train.csv").write_text("\n".join(rows) + "\n")
    config = case.config("data_config.shuffle=false", "train_config.save_checkpoints_steps=6")
    with pytest.raises(TrainingError) as caught:
        train(config)
    message = str(caught.value)
    assert message.startswith("step 14: ")
    assert "feature 'price'" in message
    assert f"{case.folder / 'train.csv'}:417" in message
    assert f"{case.folder / 'train.csv'}:417-448" in message
    assert message.endswith(f"the last checkpoint is {case.run / 'ckpt' / 'step-00000012'}")
    assert "\n" not in message
    for group in ("weights", "optimizer"):
        for name, value in content(case.run, 12)[group].items():
            assert np.isfinite(value).all(), name


def test_averages_and_two_optimizers_survive_a_stop(case):
    optimizers = case.small.replace(
        "  num_steps: 40",
        """
  optimizer_config {
    rms_prop_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.01 } } }
  }
  gradient_clipping_by_norm: 0.5
  num_steps: 8""",
    )
    average = "train_config.optimizer_config[0].use_moving_average=true"
    decay = "train_config.optimizer_config[0].moving_average_decay=0.8"
    more = ["train_config.log_step_count_steps=1", "data_config.batch_size=16"]
    train(case.config(average, decay, *more, text=optimizers, run="whole"))
    with pytest.raises(Preempted):
        train(case.config(average, decay, *more, text=optimizers), stream=SignalAt("step 3/8"))
    result = train(case.config(average, decay, *more, text=optimizers))
    one, other = content(case.folder / "whole", 8), content(case.run, 8)
    assert_same(one, other)
    tables = [name for name in one["weights"] if "embeddings" in name]
    for name in tables:
        assert f"0/m/{name}" in one["optimizer"] and f"average_step/{name}" in one["optimizer"]
    assert any(name.startswith("1/mean_square/") for name in one["optimizer"])
    assert not any(name.startswith("1/") and name.endswith(tuple(tables)) for name in one["optimizer"])
    config = case.config(average, decay, *more, text=optimizers)
    trained = load_trained(config)
    assert Evaluator.from_config(config, trained.model).run() == pytest.approx(result.metrics, rel=1e-6)
    kernel = "RankModel/output/kernel"
    found = named_variables(trained.model)[kernel].numpy()
    np.testing.assert_array_equal(found, one["optimizer"][f"average/{kernel}"])
    assert not np.array_equal(found, one["weights"][kernel])


def test_a_learning_rate_that_blows_up_is_told_with_the_place(case):
    rate = "train_config.optimizer_config[0].adam_optimizer.learning_rate.exponential_decay_learning_rate"
    with pytest.raises(TrainingError, match=r"step \d+: .*first bad tensor: \w+.*'.*no checkpoint yet"):
        train(case.config(f"{rate}.initial_learning_rate=1e30"))
    assert CheckpointFolder(case.run / "ckpt").latest() is None


def test_data_ends_the_run_and_epochs_are_counted(case):
    stream = io.StringIO()
    result = train(case.config("train_config.num_steps=0", "data_config.num_epochs=2"), stream=stream)
    assert "step 15  loss" in stream.getvalue() and "step 20/32  loss" in stream.getvalue()
    assert (result.step, result.reason) == (32, "data")
    assert content(case.run, 32)["state"]["run"]["rows"] == 1000
    again = train(case.config("train_config.num_steps=0", "data_config.num_epochs=2"))
    assert (again.step, again.reason, again.metrics) == (32, "data", result.metrics)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["train_config.jit_compile=true"],
        ["train_config.mixed_precision=mixed_bfloat16"],
        ["train_config.mixed_precision=mixed_float16"],
        ["train_config.mixed_precision=mixed_float16", "train_config.jit_compile=true"],
    ],
)
def test_attention_and_augmentation_go_on_exactly_in_every_precision(case, settings):
    more = [*settings, "train_config.num_steps=8", "train_config.log_step_count_steps=1"]
    train(case.config(*more, text=case.tiny, run="whole"))
    with pytest.raises(Preempted):
        train(case.config(*more, text=case.tiny), stream=SignalAt("step 3/8"))
    train(case.config(*more, text=case.tiny))
    assert_same(content(case.folder / "whole", 8), content(case.run, 8))
    assert records(case.folder / "whole") == records(case.run)


def test_early_stopping_waits_for_its_patience(case):
    stopping = "train_config.early_stopping"
    rate = "train_config.optimizer_config[0].adam_optimizer.learning_rate.exponential_decay_learning_rate"
    settings = [
        f"{stopping}.metric=cross_entropy_loss",
        f"{stopping}.patience_evals=2",
        "train_config.save_checkpoints_steps=5",
        # Nothing is learned, so that the first evaluation stays the best.
        f"{rate}.initial_learning_rate=0",
        f"{rate}.min_learning_rate=0",
        "model_config.backbone.blocks[name=tower].keras_layer.mlp.use_bn=false",
        "model_config.backbone.blocks[name=tower].keras_layer.mlp.use_final_bn=false",
    ]
    result = train(case.config(*settings))
    assert result.reason == "early_stopping"
    best = result.best[1]
    evaluations = [r for r in records(case.run) if r["kind"] == "eval"]
    later = [r["metrics"]["cross_entropy_loss"] for r in evaluations if r["step"] > best]
    assert len(later) == 2 and max(later) <= result.best[0]
    assert best in CheckpointFolder(case.run / "ckpt").steps()
    again = train(case.config(*settings))
    assert (again.step, again.reason) == (result.step, "early_stopping")


def test_metrics_of_a_training_batch_are_those_of_its_rows(case):
    """One batch has all rows, which evaluation reads as well, after the same step."""
    train(
        case.config(
            "eval_config.eval_online=true",
            "eval_config.metrics_set[+]={gauc {uid_field: 'user'}}",
            f"eval_input_path={case.folder / 'train.csv'}",
            "data_config.batch_size=500",
            "train_config.num_steps=1",
            "train_config.log_step_count_steps=1",
        )
    )
    online, evaluated = (record["metrics"] for record in records(case.run))
    assert online.keys() == {"auc", "gauc"}
    assert online == {name: pytest.approx(evaluated[name], abs=1e-9) for name in online}


def test_a_dead_line_that_has_passed_ends_after_nothing_was_done(case):
    with pytest.raises(TrainingError, match="no step"):
        train(case.config("train_config.dead_line='20200101 00:00:00'"))


def test_weights_of_another_run_are_a_start(case, whole):
    tuned = case.config(
        f"train_config.fine_tune_checkpoint={whole.run}",
        "train_config.num_steps=1",
        "train_config.log_step_count_steps=1",
        "train_config.optimizer_config[0].adam_optimizer.learning_rate"
        ".exponential_decay_learning_rate.initial_learning_rate=0",
        "train_config.optimizer_config[0].adam_optimizer.learning_rate"
        ".exponential_decay_learning_rate.min_learning_rate=0",
    )
    assert train(tuned).step == 1
    ours, theirs = content(case.run, 1)["weights"], content(whole.run, 40)["weights"]
    same = [name for name in ours if "moving" not in name and "random_state" not in name]
    assert len(same) > 5
    for name in same:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.parametrize(
    ("override", "error", "text"),
    [
        ("train_config.num_steps=0", ConfigError, "neither num_steps nor data_config.num_epochs"),
        ("train_config.dead_line=tomorrow", ConfigError, "20261231 23:59:59"),
        ("train_config.mixed_precision=mixed_float17", ConfigError, "did you mean 'mixed_float16'"),
        ("train_config.freeze_gradient=['(']", ConfigError, "not a regular expression"),
        ("train_config.freeze_gradient=[nothing]", ConfigError, "matches no variable"),
        ("train_config.early_stopping.metric=auc", ConfigError, "patience_evals is not set"),
        ("train_config.fine_tune_checkpoint=/nowhere", CheckpointError, "there is no checkpoint"),
        ("train_input_path=nothing.csv", DataError, "no file matches"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(case, override, error, text):
    with pytest.raises(error) as caught:
        train(case.config(override))
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_a_cell_that_its_feature_cannot_read_is_told_with_its_line(case):
    text = case.small.replace("hash_bucket_size: 60 embedding_name: 'item'\n  }", "num_buckets: 60\n  }", 1)
    with pytest.raises(DataError, match=r"train.csv:\d+: feature 'item': column 'item' has 'i\d+': expected"):
        train(case.config("data_config.shuffle=false", text=text))


def test_an_optimizer_that_is_not_set_is_told(case):
    config = case.config()
    config.message.train_config.optimizer_config[0].Clear()
    with pytest.raises(ConfigError, match="no optimizer is set"):
        train(config)
    del config.message.train_config.optimizer_config[:]
    with pytest.raises(ConfigError, match="found 0 times optimizer_config"):
        train(config)


def test_a_trained_model_is_loaded_with_its_weights(whole):
    trained = load_trained(whole.config())
    assert trained.step == 40 and trained.metrics == whole.result.metrics
    with pytest.raises(CheckpointError, match="there is no checkpoint; train first"):
        load_trained(whole.config(run="elsewhere"))
    with pytest.raises(CheckpointError, match="has changed"):
        load_trained(whole.config("model_config.num_class=2"))


def test_a_second_run_in_the_same_folder_is_refused(whole):
    from easyssl.training.lock import ModelDirLock

    with ModelDirLock(whole.run), pytest.raises(UsageError, match="is training into this folder"):
        train(whole.config())
