"""From a config to a plan (see `plan_types`), without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from easyssl.backbone.plan_blocks import BlockReader, read_names
from easyssl.backbone.plan_checks import (
    check_calls,
    check_prototypes,
    check_target_item,
    check_tuples,
    check_used,
    check_variational_dropout,
    wide_output_dim,
)
from easyssl.backbone.plan_groups import read_groups
from easyssl.backbone.plan_inputs import Names
from easyssl.backbone.plan_layers import LayerReader, known_layers
from easyssl.backbone.plan_lengths import check_lengths
from easyssl.backbone.plan_order import Dependencies
from easyssl.backbone.plan_outputs import read_outputs
from easyssl.backbone.plan_reader import Reader
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
    "build_plan",
]

_BACKBONE = "model_config.backbone"


def build_plan(config: Any, features: Mapping[str, Any]) -> Plan:
    """Plans the backbone of a config.

    Args:
        config: A `Config`.
        features: The `FeatureSpec` of each feature by name.

    Returns:
        The plan. Settings that have no effect are in its `warnings`.

    Raises:
        ConfigError: At the first field that cannot be planned; one line with its place.
    """
    model = config.message.model_config
    if not model.HasField("backbone"):
        raise config.error("model_config", "there is no backbone; models without one are not supported")
    config.refuse("model_config.feature_groups", _BACKBONE)
    backbone = model.backbone
    reader = Reader(config)
    layers = LayerReader(reader, known_layers())
    groups = read_groups(reader, model, features)

    # 1. Names, because inputs may refer to what is declared later.
    packages = read_names(reader, backbone.packages, f"{_BACKBONE}.packages", "package")
    places = {MAIN: _BACKBONE, **packages}
    messages = {MAIN: backbone, **{message.name: message for message in backbone.packages}}
    declared = {
        scope: frozenset(read_names(reader, message.blocks, f"{places[scope]}.blocks", "block"))
        for scope, message in messages.items()
    }
    names = Names(groups, declared, frozenset(packages))

    # 2. Blocks, with every name resolved and every expression parsed.
    block_reader = BlockReader(reader, layers, names, features)
    blocks: dict[str, Sequence[BlockPlan]] = {
        scope: block_reader.graph(message.blocks, scope, f"{places[scope]}.blocks")
        for scope, message in messages.items()
    }
    check_calls(reader, block_reader, blocks)
    check_tuples(reader, blocks)

    # 3. Graphs: an order, and what comes out.
    dependencies = Dependencies(reader, blocks)
    graphs = {
        scope: read_outputs(reader, message, scope, places[scope], dependencies, names)
        for scope, message in messages.items()
    }
    plan = Plan(
        main=graphs[MAIN],
        packages={name: graphs[name] for name in dependencies.package_order},
        groups=groups,
        top_mlp=(
            layers.mlp(backbone.top_mlp, "backbone_top_mlp", f"{_BACKBONE}.top_mlp")
            if backbone.HasField("top_mlp")
            else None
        ),
        wide_output_dim=wide_output_dim(reader, blocks, groups),
    )
    if model.HasField("variational_dropout"):
        check_variational_dropout(reader, plan)
    check_target_item(reader, plan, dependencies, model)
    check_used(reader, plan, dependencies, places)
    check_lengths(reader, plan, features)
    check_prototypes(reader, plan, config.message.data_config.batch_size)
    return dataclasses.replace(plan, warnings=tuple(reader.warnings))
