"""The losses of `loss_type`, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from easyssl.errors import nearest
from easyssl.losses import distillation, jrc, listwise, order, pairwise, pointwise, ziln


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
        labels: `share`: from 0 to 1; `class`: the index of a class; `amount`: at least 0; `any` number.
        session: Whether rows are grouped into sessions: never (empty), `optional` or `required`.
        weighted: Whether it is a mean over the rows whose weight is not 0; otherwise over all rows.
    """

    function: Callable[..., tf.Tensor]
    name: str
    parameters: str = ""
    reads: Literal["logits", "probs", "y"] = "logits"
    num_class: tuple[int, int | None] = (1, 1)
    labels: Literal["share", "class", "amount", "any"] = "share"
    session: Literal["", "optional", "required"] = ""
    weighted: bool = True


SUPERVISED_LOSSES: dict[str, SupervisedLoss] = {
    "CLASSIFICATION": SupervisedLoss(
        pointwise.classification, "cross_entropy_loss", num_class=(1, None), labels="class"
    ),
    "L2_LOSS": SupervisedLoss(pointwise.l2, "l2_loss", reads="y", labels="any"),
    "SIGMOID_L2_LOSS": SupervisedLoss(pointwise.l2, "sigmoid_l2_loss", reads="y"),
    "SOFTMAX_CROSS_ENTROPY": SupervisedLoss(
        pointwise.classification, "cross_entropy_loss", num_class=(2, None), labels="class"
    ),
    "PAIR_WISE_LOSS": SupervisedLoss(
        pairwise.pairwise, "pair_wise_loss", "pairwise_loss", labels="any", session="optional"
    ),
    "F1_REWEIGHTED_LOSS": SupervisedLoss(pointwise.f1_reweighted, "f1_reweighted_loss", "f1_reweighted_loss"),
    "BINARY_FOCAL_LOSS": SupervisedLoss(pointwise.binary_focal, "binary_focal_loss", "binary_focal_loss"),
    "PAIRWISE_FOCAL_LOSS": SupervisedLoss(
        pairwise.pairwise_focal,
        "pairwise_focal_loss",
        "pairwise_focal_loss",
        labels="any",
        session="optional",
    ),
    "PAIRWISE_LOGISTIC_LOSS": SupervisedLoss(
        pairwise.pairwise_logistic,
        "pairwise_logistic_loss",
        "pairwise_logistic_loss",
        labels="any",
        session="optional",
    ),
    "JRC_LOSS": SupervisedLoss(
        jrc.jrc, "jrc_loss", "jrc_loss", num_class=(2, 2), labels="class", session="required"
    ),
    "ORDER_CALIBRATE_LOSS": SupervisedLoss(
        order.order_calibration, "order_calibrate_loss", reads="probs", num_class=(1, 3), labels="any"
    ),
    "BINARY_CROSS_ENTROPY_LOSS": SupervisedLoss(
        pointwise.binary_cross_entropy, "cross_entropy_loss", weighted=False
    ),
    "PAIRWISE_HINGE_LOSS": SupervisedLoss(
        pairwise.pairwise_hinge,
        "pairwise_hinge_loss",
        "pairwise_hinge_loss",
        labels="any",
        session="optional",
    ),
    "LISTWISE_RANK_LOSS": SupervisedLoss(
        listwise.listwise_rank,
        "listwise_rank_loss",
        "listwise_rank_loss",
        labels="any",
        session="required",
        weighted=False,
    ),
    "LISTWISE_DISTILL_LOSS": SupervisedLoss(
        listwise.listwise_distill,
        "listwise_distill_loss",
        "listwise_distill_loss",
        labels="any",
        session="required",
        weighted=False,
    ),
    "ZILN_LOSS": SupervisedLoss(
        ziln.ziln, "ziln_loss", "ziln_loss", num_class=(3, 3), labels="amount", weighted=False
    ),
}

RANKING = frozenset({name for name in SUPERVISED_LOSSES if name.startswith(("PAIR", "LISTWISE"))})
"""Those that compare the scores of rows with each other, and say nothing about the score of one row."""

DISTILLATION_LOSSES = {
    **{name: kind for name, kind in SUPERVISED_LOSSES.items() if name != "ORDER_CALIBRATE_LOSS"},
    "L2_LOSS": SupervisedLoss(distillation.distilled_l2, "l2_loss", labels="any"),
    "CROSS_ENTROPY_LOSS": SupervisedLoss(distillation.distilled_cross_entropy, "cross_entropy_loss"),
    "BINARY_CROSS_ENTROPY_LOSS": SupervisedLoss(
        distillation.distilled_binary_cross_entropy, "cross_entropy_loss"
    ),
    "KL_DIVERGENCE_LOSS": SupervisedLoss(distillation.distilled_kl_divergence, "kl_divergence_loss"),
}
"""Losses between a prediction and what a teacher predicted."""

_INFINITE = float("inf")
# Range of each parameter: lowest, highest, and whether the lowest is allowed.
_RANGES = {
    "alpha": (0.0, 1.0, True),
    "classification_weight": (0.0, _INFINITE, True),
    "f1_beta_square": (0.0, _INFINITE, False),
    "gamma": (0.0, _INFINITE, True),
    "label_clip_max_value": (1.0, _INFINITE, True),
    "label_smoothing": (0.0, 1.0, True),
    "max_sigma": (0.0, _INFINITE, False),
    "mu_regularization": (0.0, _INFINITE, True),
    "ohem_ratio": (0.0, 1.0, False),
    "regression_weight": (0.0, _INFINITE, True),
    "sigma_regularization": (0.0, _INFINITE, True),
    "temperature": (0.0, _INFINITE, False),
}


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
