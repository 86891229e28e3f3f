"""Metrics: streaming, exact, NumPy only."""

from easyssl.metrics.accuracy import Accuracy
from easyssl.metrics.auc import AUC, ThresholdedAUC
from easyssl.metrics.from_config import metric_columns, metrics_from_config
from easyssl.metrics.grouped_auc import GroupedAUC
from easyssl.metrics.in_batch_recall import InBatchRecall
from easyssl.metrics.max_f1 import MaxF1
from easyssl.metrics.mean_absolute_error import MeanAbsoluteError
from easyssl.metrics.mean_squared_error import MeanSquaredError
from easyssl.metrics.metric import Metric
from easyssl.metrics.precision import Precision
from easyssl.metrics.recall import Recall
from easyssl.metrics.recall_at_top_k import RecallAtTopK
from easyssl.metrics.retrieval import RetrievalMetrics
from easyssl.metrics.root_mean_squared_error import RootMeanSquaredError

__all__ = [
    "AUC",
    "Accuracy",
    "GroupedAUC",
    "InBatchRecall",
    "MaxF1",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RecallAtTopK",
    "RetrievalMetrics",
    "RootMeanSquaredError",
    "ThresholdedAUC",
    "metric_columns",
    "metrics_from_config",
]
