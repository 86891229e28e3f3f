"""Training: the loop, optimizers, schedules, checkpoints, evaluation.

Importing this package does not import TensorFlow; its names do when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easyssl.training.evaluate import Evaluator, predict
    from easyssl.training.loop import TrainResult, train
    from easyssl.training.signals import Preempted
    from easyssl.training.trained import TrainedModel, load_trained

_HOME = {
    "Evaluator": "easyssl.training.evaluate",
    "Preempted": "easyssl.training.signals",
    "TrainResult": "easyssl.training.loop",
    "TrainedModel": "easyssl.training.trained",
    "load_trained": "easyssl.training.trained",
    "predict": "easyssl.training.evaluate",
    "train": "easyssl.training.loop",
}

__all__ = [
    "Evaluator",
    "Preempted",
    "TrainResult",
    "TrainedModel",
    "load_trained",
    "predict",
    "train",
]


def __getattr__(name: str) -> Any:
    """Imports a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)
