"""The losses of `loss_type`, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from easyssl.errors import nearest
from easyssl.losses import pointwise


@dataclass(frozen=True)
class SupervisedLoss:
    """What there is to know of a loss type.

    Attributes:
        function: From `(labels, predicted, weights)` to a float32 scalar. What it takes by keyword only are
            its parameters in configs.
        name: Its key in logs.
        parameters: The field of its parameters in configs; empty if it has none.
        reads: The prediction that it compares.
        num_class: Smallest and largest number of outputs; None means any number.
        labels: `share`: from 0 to 1; `class`: the index of a class; `any` number.
        session: Whether rows are grouped into sessions: never (empty), `optional` or `required`.
        weighted: Whether it is a mean over the rows whose weight is not 0; otherwise over all rows.
    """

    function: Callable[..., tf.Tensor]
    name: str
    parameters: str = ""
    reads: Literal["logits", "y"] = "logits"
    num_class: tuple[int, int | None] = (1, 1)
    labels: Literal["share", "class", "any"] = "share"
    session: Literal["", "optional", "required"] = ""
    weighted: bool = True


SUPERVISED_LOSSES: dict[str, SupervisedLoss] = {
    "CLASSIFICATION": SupervisedLoss(
        pointwise.classification, "cross_entropy_loss", num_class=(1, None), labels="class"
    ),
    "SOFTMAX_CROSS_ENTROPY": SupervisedLoss(
        pointwise.classification, "cross_entropy_loss", num_class=(2, None), labels="class"
    ),
    "BINARY_CROSS_ENTROPY_LOSS": SupervisedLoss(
        pointwise.binary_cross_entropy, "cross_entropy_loss", weighted=False
    ),
    "L2_LOSS": SupervisedLoss(pointwise.l2, "l2_loss", reads="y", labels="any"),
    "SIGMOID_L2_LOSS": SupervisedLoss(pointwise.l2, "sigmoid_l2_loss", reads="y"),
}

RANKING: frozenset[str] = frozenset()
"""Those that compare the scores of rows with each other, and need only their order."""

DISTILLATION_LOSSES = dict(SUPERVISED_LOSSES)
"""Losses between a prediction and what a teacher predicted."""

# Range of each parameter: lowest, highest, and whether the lowest is allowed.
_RANGES: dict[str, tuple[float, float, bool]] = {}


def parameter_error(name: str, value: object) -> str:
    """Returns what is wrong with the value of a parameter; empty if nothing is.

    Args:
        name: Name of the parameter.
        value: Its value.
    """
    if name not in _RANGES or not isinstance(value, int | float):
        return ""
    low, high, included = _RANGES[name]
    if (low <= value if included else low < value) and value <= high:
        return ""
    bound = f"at least {low:g}" if included else f"more than {low:g}"
    return f"found {value:g}; expected {bound}" + (f" and at most {high:g}" if high < float("inf") else "")


def supervised_loss(name: str) -> Callable[..., tf.Tensor]:
    """Returns the function of a `loss_type`.

    Args:
        name: Its name in configs.

    Returns:
        A function of `(labels, predicted, weights=None)` and the loss's parameters.

    Raises:
        ValueError: For a name that is not here.

    Example:
        >>> supervised_loss("L2_LOSS") is pointwise.l2
        True
    """
    if name not in SUPERVISED_LOSSES:
        raise ValueError(f"no supervised loss is called '{name}'{nearest(name, SUPERVISED_LOSSES)}")
    return SUPERVISED_LOSSES[name].function
