"""From a config to a plan (see `plan_types`), without TensorFlow."""

from easyssl.backbone.plan_types import (
    MAIN,
    BlockPlan,
    EmbeddingLayerPlan,
    GraphPlan,
    GroupPlan,
    InputLayerPlan,
    InputPlan,
    LayerPlan,
    Plan,
)

__all__ = [
    "MAIN",
    "BlockPlan",
    "EmbeddingLayerPlan",
    "GraphPlan",
    "GroupPlan",
    "InputLayerPlan",
    "InputPlan",
    "LayerPlan",
    "Plan",
]
