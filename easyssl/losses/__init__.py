"""Losses: how layers report theirs, and the supervised ones by name."""

from easyssl.losses.collect import CollectedLosses, LossTerm, collect_losses, report_loss, report_metric
from easyssl.losses.supervised import SUPERVISED_LOSSES, UNWEIGHTED_LOSSES, supervised_loss

__all__ = [
    "SUPERVISED_LOSSES",
    "UNWEIGHTED_LOSSES",
    "CollectedLosses",
    "LossTerm",
    "collect_losses",
    "report_loss",
    "report_metric",
    "supervised_loss",
]
