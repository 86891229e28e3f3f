"""When early stopping ends a run, and how a config asks for it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.config import parse_config
from easyssl.errors import ConfigError
from easyssl.training.early_stopping import EarlyStopping, early_stopping_from_config
from easyssl.training.state import Best

EVAL = "eval_input_path: 'eval.csv' "


def ended_at(rule, values, every=10):
    """Step of the evaluation after which the rule ends the run; None if it never does."""
    best = Best(rule.metric, rule.bigger_is_better)
    for number, value in enumerate(values, 1):
        best.update(value, number * every)
        if rule.is_over(best, number * every):
            return number * every
    return None


@pytest.mark.parametrize(
    ("rule", "end"),
    [
        ({"patience_evals": 2}, 50),
        ({"patience_evals": 1}, 20),
        ({"patience_steps": 20}, 50),
        ({"patience_steps": 11}, 50),
        ({"patience_steps": 10}, 20),
        ({"patience_steps": 21}, None),
        ({"goal": 0.7}, None),
        ({"goal": 0.69}, 30),
        ({"goal": 0.65, "bigger_is_better": False}, 20),
        ({"patience_evals": 2, "goal": 0.69}, 30),
    ],
)
def test_the_end_of_a_curve(rule, end):
    assert ended_at(EarlyStopping("", "auc", **rule), [0.66, 0.64, 0.7, 0.7, 0.69]) == end


def test_nothing_ends_before_the_first_evaluation():
    assert not EarlyStopping("", "auc", patience_steps=1).is_over(Best("auc"), None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12), st.integers(1, 5), st.integers(1, 20))
def test_patience_in_steps_is_patience_in_evaluations(values, evals, every):
    by_evals = EarlyStopping("", "auc", patience_evals=evals)
    by_steps = EarlyStopping("", "auc", patience_steps=evals * every)
    assert ended_at(by_evals, values, every) == ended_at(by_steps, values, every)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("export_config { exporter_type: 'best' max_check_steps: 5 }", None),
        (
            "train_config { early_stopping { metric: 'gauc' patience_evals: 3 goal: 0.9 } }",
            EarlyStopping("train_config.early_stopping", "gauc", patience_evals=3, goal=0.9),
        ),
        (
            "export_config { enable_early_stop: true best_exporter_metric: 'loss' metric_bigger: false }",
            EarlyStopping("export_config.enable_early_stop", "loss", False, patience_steps=10000),
        ),
        (
            "export_config { enable_early_stop: true max_check_steps: 70 }",
            EarlyStopping("export_config.enable_early_stop", "auc", patience_steps=70),
        ),
        (
            "export_config { early_stop_func: 'easy_rec.python.test.custom_early_stop_func.custom_early_stop_func'"
            """ early_stop_params: '{"metric_name":"auc", "thre":0.503}' }""",
            EarlyStopping("export_config.early_stop_func", "auc", goal=0.503),
        ),
    ],
)
def test_what_a_config_asks_for(text, expected):
    assert early_stopping_from_config(parse_config(EVAL + text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train_config { early_stopping { patience_evals: 3 } }", "metric is not set"),
        ("train_config { early_stopping { metric: 'auc' } }", "patience_evals is not set"),
        ("train_config { early_stopping { metric: 'auc' goal: inf } }", "expected a finite number"),
        ("export_config { enable_early_stop: true max_check_steps: 0 }", "max_check_steps: found 0"),
        ("export_config { early_stop_func: 'mine.f' }", "code cannot be named"),
        ("export_config { early_stop_func: 'custom_early_stop_func' }", "early_stop_params.*expected JSON"),
        (
            "export_config { early_stop_func: 'custom_early_stop_func' early_stop_params: '{\"thre\": 1}' }",
            "expected JSON",
        ),
        (
            "train_config { early_stopping { metric: 'auc' goal: 1 } } export_config { enable_early_stop: true }",
            "expected one of them",
        ),
    ],
)
def test_what_cannot_be_is_told_at_its_field(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        early_stopping_from_config(parse_config(EVAL + text, "a.config"))
    assert str(caught.value).startswith("a.config:1:") and "\n" not in str(caught.value)


def test_there_must_be_rows_to_evaluate_on():
    with pytest.raises(ConfigError, match="there is no eval_input_path"):
        early_stopping_from_config(parse_config("export_config { enable_early_stop: true }"))
