"""What a loss term reads and how its rows are weighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from easyssl.data.loss_columns import LossColumn
from easyssl.losses import DISTILLATION_LOSSES, SUPERVISED_LOSSES, SupervisedLoss


@dataclass(frozen=True)
class TaskSpace:
    """Weights of rows by whether they belong to a task.

    Attributes:
        key: A label; rows where it is above 0 belong to the task.
        inside: Weight of rows that belong to the task.
        outside: Weight of all others.
        column: Where `key` comes from if it is no label column.
    """

    key: str
    inside: float
    outside: float
    column: LossColumn | None = None

    def weights(self, labels: Mapping[str, Any]) -> Any:
        """Returns the weights `[batch]`, of the labels' kind (tensors or NumPy)."""
        belongs = labels[self.key] > 0
        where: Any = np.where if isinstance(belongs, np.ndarray) else tf.where
        return where(belongs, np.float32(self.inside), np.float32(self.outside))


@dataclass(frozen=True)
class LossTerm:
    """One weighted loss, with all that it needs to be computed from labels and predictions.

    Attributes:
        loss_type: Its type in configs, a key of `SUPERVISED_LOSSES` or, for distillation, of
            `DISTILLATION_LOSSES`.
        weight: Its weight in the total.
        name: Its key in logs.
        label: The label column that it reads.
        prediction: The prediction that it reads.
        num_class: Number of outputs of that prediction.
        others: Predictions that it is compared with.
        parameters: Keyword arguments of the loss.
        session: The column whose equal cells make a session, if it has sessions.
        learn_weight: Whether the weight is learned.
        distills: Whether it is a distillation term.
        use_sample_weight: Whether the weights of rows act on it.
        spaces: Further weights of rows, which multiply.
    """

    loss_type: str
    weight: float
    name: str
    label: str = ""
    prediction: str = "logits"
    num_class: int = 1
    others: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    session: LossColumn | None = None
    learn_weight: bool = False
    distills: bool = False
    use_sample_weight: bool = True
    spaces: tuple[TaskSpace, ...] = ()

    @property
    def columns(self) -> tuple[LossColumn, ...]:
        """The columns that it reads beside its label."""
        found = [self.session, *(space.column for space in self.spaces)]
        return tuple(column for column in found if column is not None)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label columns that it reads."""
        keys = [self.label, *(space.key for space in self.spaces if space.column is None)]
        return tuple(dict.fromkeys(key for key in keys if key))

    def row_weights(self, labels: Mapping[str, Any], sample_weight: Any = None) -> Any:
        """Returns the weights of rows, `[batch]`, or None if all of them are 1.

        Args:
            labels: Labels and loss columns by key, tensors or NumPy arrays `[batch]`.
            sample_weight: `[batch]`. Defaults to None, which means ones.
        """
        weights = sample_weight if self.use_sample_weight else None
        for space in self.spaces:
            own = space.weights(labels)
            weights = own if weights is None else weights * own
        return weights


def label_names(terms: Sequence[LossTerm]) -> tuple[str, ...]:
    """Returns the label columns that losses read, each once."""
    return tuple(dict.fromkeys(name for term in terms for name in term.label_names))


def loss_columns(terms: Sequence[LossTerm]) -> tuple[LossColumn, ...]:
    """Returns the other columns that losses read, each once."""
    return tuple(dict.fromkeys(column for term in terms for column in term.columns))


def label_limits(terms: Sequence[LossTerm]) -> dict[str, tuple[float, float, bool]]:
    """Returns the lowest and highest label that the losses can use, and whether it is whole, by column."""
    found: dict[str, tuple[float, float, bool]] = {}
    for term in terms:
        kind = _kind(term)
        if not term.label or kind is None or kind.labels == "any":
            continue
        if term.distills and term.parameters.get("label_is_logits"):
            continue
        whole = kind.labels == "class" and term.num_class > 1
        highest = term.num_class - 1.0 if whole else np.inf if kind.labels == "amount" else 1.0
        _, high, other = found.get(term.label, (0.0, np.inf, False))
        found[term.label] = (0.0, min(high, highest), whole or other)
    return found


def divisor(term: LossTerm, rows: int, sample_weight: Any, labels: Mapping[str, Any]) -> float:
    """Returns what a loss of a batch was divided by: the number of rows that count.

    Args:
        term: The term.
        rows: Number of rows of the batch.
        sample_weight: NumPy array `[batch]`, or None for ones.
        labels: Labels and loss columns by key, NumPy arrays `[batch]`.
    """
    kind = _kind(term)
    weights = term.row_weights(labels, sample_weight) if kind is None or kind.weighted else None
    return float(rows if weights is None else np.count_nonzero(weights))


def _kind(term: LossTerm) -> SupervisedLoss | None:
    return (DISTILLATION_LOSSES if term.distills else SUPERVISED_LOSSES).get(term.loss_type)
