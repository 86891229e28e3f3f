"""When training ends because of what evaluation says."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyssl.errors import nearest

if TYPE_CHECKING:
    from easyssl.training.state import Best

# Functions of EasyRec that `export_config.early_stop_func` may name, by the last part of their path. A config
# cannot name code; what this one does is known.
_GOAL_FUNCTION = "custom_early_stop_func"
_GOAL_PARAMETERS = ("metric_name", "thre")


@dataclass(frozen=True)
class EarlyStopping:
    """A rule that ends training after an evaluation.

    Attributes:
        path: Field of the config that asks for it.
        metric: Key of the metric.
        bigger_is_better: Its direction.
        patience_evals: Ends after so many evaluations without improvement; 0 is off.
        patience_steps: Ends at an evaluation that is so many steps after the best one; 0 is off.
        goal: Ends once the metric is past this value; None is off.
    """

    path: str
    metric: str
    bigger_is_better: bool = True
    patience_evals: int = 0
    patience_steps: int = 0
    goal: float | None = None

    def is_over(self, best: Best, evaluated: int | None) -> bool:
        """Returns whether training ends.

        Args:
            best: The best evaluation.
            evaluated: Step of the last evaluation, None before the first.
        """
        if best.value is None or best.step is None or evaluated is None:
            return False
        if self.goal is not None:
            past = best.value > self.goal if self.bigger_is_better else best.value < self.goal
            if past:
                return True
        if self.patience_evals and best.stale >= self.patience_evals:
            return True
        return bool(self.patience_steps and evaluated - best.step >= self.patience_steps)


def early_stopping_from_config(config: Any) -> EarlyStopping | None:
    """Returns the rule that a config asks for, None without one.

    It is `train_config.early_stopping`, or EasyRec's fields of `export_config`: with `enable_early_stop`,
    training ends when `best_exporter_metric` has not improved for `max_check_steps` steps, and with the
    `early_stop_func` of EasyRec's samples, `custom_early_stop_func`, when a metric exceeds a threshold.

    Raises:
        ConfigError: If fields contradict each other or are missing, the function is not known, or there is
            nothing to evaluate on.
    """
    message = config.message
    typed = message.train_config.HasField("early_stopping")
    named = [
        name for name in ("early_stop_func", "enable_early_stop") if getattr(message.export_config, name)
    ]
    if typed and named:
        raise config.error(
            f"export_config.{named[0]}", "train_config.early_stopping is set as well; expected one of them"
        )
    if typed:
        rule = _typed(config)
    elif "early_stop_func" in named:
        rule = _named(config)
    elif named:
        rule = _by_steps(config)
    else:
        return None
    if message.WhichOneof("eval_path") is None:
        raise config.error(rule.path, "there is no eval_input_path to evaluate")
    return rule


def _typed(config: Any) -> EarlyStopping:
    path, message = "train_config.early_stopping", config.message.train_config.early_stopping
    if not message.metric:
        raise config.error(path, "metric is not set")
    goal = message.goal if message.HasField("goal") else None
    if goal is not None and not math.isfinite(goal):
        raise config.error(f"{path}.goal", f"found {goal}, expected a finite number")
    if not message.patience_evals and not message.patience_steps and goal is None:
        raise config.error(path, "patience_evals is not set; expected it, patience_steps or goal")
    return EarlyStopping(
        path, message.metric, message.bigger_is_better, message.patience_evals, message.patience_steps, goal
    )


def _by_steps(config: Any) -> EarlyStopping:
    options = config.message.export_config
    if options.max_check_steps < 1:
        raise config.error(
            "export_config.max_check_steps", f"found {options.max_check_steps}, expected at least 1"
        )
    return EarlyStopping(
        "export_config.enable_early_stop",
        options.best_exporter_metric,
        options.metric_bigger,
        patience_steps=options.max_check_steps,
    )


def _named(config: Any) -> EarlyStopping:
    options = config.message.export_config
    path = "export_config.early_stop_func"
    name = options.early_stop_func.rpartition(".")[2]
    if name != _GOAL_FUNCTION:
        raise config.error(
            path,
            f"not supported: '{options.early_stop_func}': code cannot be named in a config; set "
            f"train_config.early_stopping{nearest(name, [_GOAL_FUNCTION])}",
        )
    where = "export_config.early_stop_params"
    expected = 'expected JSON such as {"metric_name": "auc", "thre": 0.7}'
    try:
        params = json.loads(options.early_stop_params)
    except ValueError as error:
        raise config.error(where, f"{error}; {expected}") from None
    if not isinstance(params, dict) or set(params) != set(_GOAL_PARAMETERS):
        raise config.error(where, f"found {options.early_stop_params}; {expected}")
    metric, goal = (params[key] for key in _GOAL_PARAMETERS)
    number = isinstance(goal, int | float) and not isinstance(goal, bool) and math.isfinite(goal)
    if not isinstance(metric, str) or not number:
        raise config.error(where, f"found {options.early_stop_params}; {expected}")
    return EarlyStopping(path, metric, goal=float(goal))
