"""Losses: how layers report theirs, and the supervised ones by name."""

from easyssl.losses.collect import CollectedLosses, LossTerm, collect_losses, report_loss, report_metric
from easyssl.losses.supervised import (
    DISTILLATION_LOSSES,
    RANKING,
    SUPERVISED_LOSSES,
    SupervisedLoss,
    parameter_error,
    supervised_loss,
)
from easyssl.losses.ziln import ziln_predictions

__all__ = [
    "DISTILLATION_LOSSES",
    "RANKING",
    "SUPERVISED_LOSSES",
    "CollectedLosses",
    "LossTerm",
    "SupervisedLoss",
    "collect_losses",
    "parameter_error",
    "report_loss",
    "report_metric",
    "supervised_loss",
    "ziln_predictions",
]
