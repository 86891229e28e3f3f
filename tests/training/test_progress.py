"""The progress line, the records' file and the state."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyssl.training.progress import Progress, duration, number
from easyssl.training.records import Records
from easyssl.training.state import Best, RunState, Window


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_tells_step_loss_speed_and_time():
    line = Progress(1000, io.StringIO()).line(200, {"loss": 0.612, "auc": 0.5}, 9120.4)
    assert line.startswith("step 200/1000  loss 0.6120  auc 0.5000  9,120 rows/s  ")
    assert line.endswith(" left")


def test_without_a_known_end_there_is_no_time_left():
    assert Progress(None, io.StringIO()).line(20, {}, 1.0) == "step 20  1 rows/s"


def test_a_terminal_gets_one_live_line_and_a_file_gets_lines():
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = Progress(10, stream)
        progress.start(0)
        progress.live(1, {"loss": 0.5})
        progress.log(1, {"loss": 0.5}, 10.0)
        progress.say("hello")
        progress.close()
    assert terminal.getvalue().endswith("\r\x1b[Khello\n")
    assert file.getvalue().splitlines()[1:] == ["hello"]
    assert file.getvalue().startswith("step 1/10  loss 0.5000")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (3e-6, "3.000e-06"),
        (0.00012, "0.0001200"),
        (-0.5, "-0.5000"),
        (12.345, "12.35"),
        (999.96, "1000.0"),
        (-123456.7, "-123456.7"),
        (float("nan"), "nan"),
    ],
)
def test_small_numbers_are_not_shown_as_zero(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (65, "1:05"), (3700, "1:01:40")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_records_after_a_step_and_torn_lines_are_dropped(tmp_path):
    records = Records(tmp_path / "metrics.jsonl")
    records.drop_after(5)
    for step in (5, 10, 15):
        records.add("train", step, loss=0.1 * step)
    with open(records.path, "a") as file:
        file.write('{"kind": "tr')
    records.drop_after(10)
    assert [json.loads(line)["step"] for line in records.path.read_text().splitlines()] == [5, 10]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    with pytest.raises(ValueError, match="JSON"):
        records.add("train", 15, loss=float("nan"))


values = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(values, st.integers(1, 50)), min_size=1), st.integers(0, 20))
def test_means_are_the_same_when_the_state_went_through_json(steps, cut):
    plain, stored = Window(), Window()
    for index, (value, rows) in enumerate(steps):
        plain.add({"loss": value}, rows)
        stored.add({"loss": value}, rows)
        if index == cut:
            state = RunState(Best("auc"), window=stored)
            other = RunState(Best("auc"))
            other.load(json.loads(json.dumps(state.as_dict())))
            stored = other.window
    mean = sum(value * rows for value, rows in steps) / sum(rows for _, rows in steps)
    assert stored == plain
    assert stored.take()["loss"] == pytest.approx(mean, rel=1e-9, abs=1e-6)
    assert stored.take() == {}


@given(st.lists(values, min_size=1), st.booleans())
def test_the_best_value_is_the_first_extreme_one(history, bigger):
    best = Best("auc", bigger)
    for step, value in enumerate(history):
        best.update(value, step)
    expected = max(history) if bigger else min(history)
    assert best.value == expected
    assert best.step == history.index(expected)
    assert best.stale == len(history) - 1 - best.step


def test_the_best_value_of_another_metric_is_forgotten():
    saved = RunState(Best("auc", value=0.7, step=3), step=5)
    state = RunState(Best("loss", bigger_is_better=False))
    state.load(saved.as_dict())
    assert state.step == 5 and state.best.value is None
