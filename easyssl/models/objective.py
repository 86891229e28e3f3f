"""The supervised loss of a model: its terms, and how they are weighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.random import add_random_state, advance
from easyssl.losses.weighting import normal_shares, share_of, uncertain
from easyssl.models import heads
from easyssl.models.terms import LossTerm

SQUARED = ("L2_LOSS", "SIGMOID_L2_LOSS")


class Objective(keras.layers.Layer):
    """Computes and weights the supervised losses of a model, and owns what they learn and draw.

    A layer only so that its variables belong to the model; it is not called.

    With the strategy Fixed, a loss L counts `weight * L`. With Uncertainty, a term with `learn_weight`
    counts `exp(-s) L + s / 2`, or `exp(-s) L / 2 + s / 2` for a squared error, with a learned s that starts
    from 0, and the others count as with Fixed. With Random, the n terms count with shares
    `softmax(e_1, ..., e_n)` of standard normal numbers that each step draws anew, and in evaluation with
    `1 / n` each. Distillation terms always count `weight * L`.

    Args:
        terms: The losses; their names differ.
        strategy: Fixed, Uncertainty or Random. Defaults to "Fixed".
        **kwargs: Keras layer arguments such as `name`.

    References:
        Kendall et al., "Multi-task learning using uncertainty to weigh losses for scene geometry and
        semantics", CVPR 2018; Lin et al., "Reasonable effectiveness of random weighting", TMLR 2022.
    """

    def __init__(self, terms: Sequence[LossTerm], strategy: str = "Fixed", **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.terms = tuple(terms)
        self.strategy = strategy

    def build(self, input_shape: Any = None) -> None:
        """Creates what the losses learn, and the state of random numbers if any are drawn."""
        self._learned: dict[str, Any] = {}
        draws = self.strategy == "Random"
        for term in self.terms:
            mixing = term.parameters.get("loss_weight_strategy", "fixed")
            draws |= mixing.startswith("random")
            if term.parameters.get("scale_logits"):
                self._add(term, "scale", "ones")
                self._add(term, "offset", "zeros")
            if mixing == "uncertainty":
                self._add(term, "log_variances", "zeros", (2,))
            if self._learns_weight(term):
                self._add(term, "log_variance", "zeros")
        self._random = add_random_state(self) if draws else None
        super().build(input_shape)

    def losses_of(
        self,
        labels: Mapping[str, tf.Tensor],
        predicted: Mapping[str, tf.Tensor],
        sample_weight: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns the unweighted losses by name, float32 scalars.

        Args:
            labels: Labels and loss columns by key.
            predicted: Predictions by name.
            sample_weight: `[batch]`. Defaults to None, which means ones.
            training: Whether random weights are drawn. Defaults to False.
        """
        return {
            term.name: heads.loss(term, labels, predicted, sample_weight, **self._state(term, training))
            for term in self.terms
        }

    def weighted(self, losses: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        """Returns what each loss adds to the total, by name.

        Args:
            losses: The unweighted losses by name.
            training: Whether random weights are drawn. Defaults to False.
        """
        shares: dict[str, tf.Tensor] = {}
        if self.strategy == "Random":
            names = [term.name for term in self.terms if not term.distills]
            key = advance(self._random) if training else None
            shares = dict(zip(names, normal_shares(key, len(names)), strict=True))
        return {
            term.name: shares[term.name] * losses[term.name]
            if term.name in shares
            else self._weighted(term, losses[term.name])
            for term in self.terms
        }

    def _weighted(self, term: LossTerm, value: tf.Tensor) -> tf.Tensor:
        if self._learns_weight(term):
            return uncertain(value, self._learned[f"{term.name}/log_variance"], term.loss_type in SQUARED)
        return value if term.weight == 1 else term.weight * value

    def _learns_weight(self, term: LossTerm) -> bool:
        return self.strategy == "Uncertainty" and term.learn_weight

    def _add(self, term: LossTerm, name: str, initial: str, shape: tuple[int, ...] = ()) -> None:
        weight = self.add_weight(name=f"{term.name}_{name}", shape=shape, initializer=initial)
        self._learned[f"{term.name}/{name}"] = weight

    def _state(self, term: LossTerm, training: bool) -> dict[str, Any]:
        """Returns the learned and drawn arguments of a loss."""
        prefix = f"{term.name}/"
        learned = {
            name.removeprefix(prefix): tf.convert_to_tensor(weight)
            for name, weight in self._learned.items()
            if name.startswith(prefix) and name != f"{prefix}log_variance"
        }
        mixing = term.parameters.get("loss_weight_strategy", "fixed")
        if mixing.startswith("random"):
            learned["alpha"] = share_of(mixing, advance(self._random) if training else None)
        return learned
