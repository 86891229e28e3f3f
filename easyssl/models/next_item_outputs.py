"""What the blocks of a NextItemModel have to give."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.backbone.compile import Backbone
from easyssl.backbone.merge import describe
from easyssl.backbone.plan_next_item import NextItemPlan

_EXPECTED = {
    "EVERY_STEP": "a state for each step, [batch, seq_len, dim]",
    "HIDDEN_STEPS": "states [batch, seq_len, dim] and what is hidden, bool [batch, seq_len]",
}


class NextItemOutputs:
    """Takes the outputs of the user block and of the item block apart.

    Args:
        plan: Which targets there are, and which outputs of the backbone are users and items.
        backbone: The backbone, whose block is blamed for an output of another form.
    """

    def __init__(self, plan: NextItemPlan, backbone: Backbone) -> None:
        self._plan = plan
        self._backbone = backbone

    def states(self, output: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the states of the user block, and which steps are hidden."""
        targets = self._plan.targets
        hidden = None
        if targets == "HIDDEN_STEPS" and isinstance(output, (list, tuple)) and len(output) == 2:
            output, hidden = output
        ranks = (3,) if targets in _EXPECTED else (2, 3)
        wrong = isinstance(output, (list, tuple)) or output.shape.rank not in ranks
        if wrong or (targets == "HIDDEN_STEPS" and (hidden is None or hidden.dtype != tf.bool)):
            expected = _EXPECTED.get(targets, "[batch, dim] or [batch, num_interests, dim]")
            raise self._blame(self._plan.user, f"with targets {targets} it has to give {expected}", output)
        if self._plan.interest_power is not None and (targets in _EXPECTED or output.shape.rank != 3):
            text = "with interest_power it has to give several interests, [batch, num_interests, dim]"
            raise self._blame(self._plan.user, text, output)
        return output, hidden

    def vectors(self, output: Any) -> tf.Tensor:
        """Returns the vectors of the item block."""
        if isinstance(output, (list, tuple)) or output.shape.rank != 2:
            raise self._blame(self._plan.item, "it has to give one vector an item, [items, dim]", output)
        return output

    def _blame(self, place: int, text: str, output: Any) -> Exception:
        plan = self._backbone.plan.main
        name = plan.outputs[place]
        return self._backbone.blame(plan.block(name).path, f"'{name}': {text}, but gives {describe(output)}")
