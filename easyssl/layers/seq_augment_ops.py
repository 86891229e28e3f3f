"""The second name of SeqAugment."""

from __future__ import annotations

from easyssl.layers.seq_augment import SeqAugment
from easyssl.registry import register


@register("SeqAugmentOps")
class SeqAugmentOps(SeqAugment):
    """`SeqAugment` under the name that EasyRec gives to its compiled operator.

    Here both are one implementation, which is vectorised and runs under XLA, so the name makes no difference.

    Example:
        >>> SeqAugmentOps(crop_rate=0.5).crop_rate
        0.5
    """
