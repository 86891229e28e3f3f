"""Checks that layers with a table of positions have one for every step that their sequences may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import BlockPlan, InputPlan, LayerPlan, Plan

_LIMITS = ("max_position_embeddings", "max_seq_len")
# What does not take a longer sequence; other layers leave steps out, by definition.
_REFUSE = frozenset({"BST", "MultiInterestAttention", "ReConstruct"})
# What hands a sequence on with the length that it has.
_KEEP_LENGTH = frozenset(
    {"Activation", "BatchNormalization", "Dense", "Dropout", "Identity", "LayerNormalization", "SeqAugment"}
)


@dataclass(frozen=True)
class SequenceLimit:
    """The longest sequence that a layer is made for.

    Attributes:
        limit: Number of steps.
        layer: The layer's class.
        path: Field path of the parameter that sets it.
        cuts: Whether the layer leaves out what is longer, by definition, instead of refusing it.
    """

    limit: int
    layer: str
    path: str
    cuts: bool

    def __str__(self) -> str:
        return f"{self.layer} is made for {self.limit} steps ({self.path.rpartition('.')[2]})"


def sequence_limits(plan: Plan, features: Mapping[str, Any]) -> dict[str, SequenceLimit]:
    """Returns the lowest limit on each sequence feature that reaches a layer with a limit.

    Sequences are followed back through packages, blocks without a layer and layers that keep the length;
    behind any other layer nothing is known.

    Args:
        plan: The plan.
        features: The `FeatureSpec` of each feature by name.

    Returns:
        By name of the feature, limits of layers that refuse before those of layers that cut; features without
        a limit are left out.
    """
    found: dict[str, SequenceLimit] = {}
    for graph in plan.graphs:
        for block in graph.blocks:
            layer = block.layers[0] if block.layers else None
            parameter = next((name for name in _LIMITS if layer is not None and name in layer.kwargs), None)
            if layer is None or parameter is None:
                continue
            limit = SequenceLimit(
                layer.kwargs[parameter],
                layer.class_name,
                f"{layer.params_path}.{parameter}",
                cuts=_cuts(layer),
            )
            for name in _sequences(plan, block, graph.name, features):
                known = found.get(name)
                if known is None or (limit.cuts, limit.limit) < (known.cuts, known.limit):
                    found[name] = limit
    return found


def _cuts(layer: LayerPlan) -> bool:
    all_tokens = layer.class_name == "BST" and layer.kwargs.get("output_all_token_embeddings", True)
    return layer.class_name not in _REFUSE or all_tokens


def check_lengths(reader: Reader, plan: Plan, features: Mapping[str, Any]) -> None:
    """Warns of layers that are made for shorter sequences than the `max_seq_len` of a feature they read.

    Args:
        reader: Takes the warnings.
        plan: The plan.
        features: The `FeatureSpec` of each feature by name.
    """
    longest: dict[SequenceLimit, Any] = {}
    for name, limit in sequence_limits(plan, features).items():
        spec = features[name]
        known = longest.get(limit)
        if spec.max_seq_len > (limit.limit if known is None else known.max_seq_len):
            longest[limit] = spec
    for limit, spec in longest.items():
        then = "the rest is cut" if limit.cuts else "a longer sequence stops the run, and is cut when served"
        reader.warn(
            limit.path,
            f"{limit.layer} is made for {limit.limit} steps, but feature '{spec.name}' keeps up to "
            f"{spec.max_seq_len} (max_seq_len); {then}",
        )


def _sequences(plan: Plan, block: BlockPlan, scope: str, features: Mapping[str, Any]) -> set[str]:
    """Returns the names of the sequence features that reach the inputs of a block as sequences."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    pending = [(scope, source) for source in block.inputs]
    while pending:
        home, source = pending.pop()
        for owner, name in _blocks_of(plan, home, source):
            if (owner, name) in seen:
                continue
            seen.add((owner, name))
            read = (plan.packages[owner] if owner else plan.main).block(name)
            if read.group is not None:
                if read.input_layer is None or read.input_layer.output_format != "sequence":
                    continue
                members = plan.groups[read.group].features
                found |= {n for n in members if features[n].is_sequence and not features[n].sequence_combiner}
            elif all(layer.class_name in _KEEP_LENGTH for layer in read.layers):
                pending += [(owner, given) for given in read.inputs]
    return found


def _blocks_of(plan: Plan, scope: str, source: InputPlan) -> Iterator[tuple[str, str]]:
    """Yields the blocks, as (scope, name), whose value an input is."""
    if source.ignore:
        return
    if source.kind == "block":
        yield source.scope, source.name
    elif source.kind == "package":
        yield from _outputs(plan, source.name)
    elif source.kind == "package_input":
        for graph in plan.graphs:
            for block in graph.blocks:
                for call in block.inputs:
                    if call.kind != "package" or call.name != scope:
                        continue
                    if call.package_input_kind == "block" and call.package_input is not None:
                        yield call.package_input_scope, call.package_input
                    elif call.package_input_kind == "package" and call.package_input is not None:
                        yield from _outputs(plan, call.package_input)


def _outputs(plan: Plan, package: str) -> Iterator[tuple[str, str]]:
    for name in plan.packages[package].outputs:
        yield package, name
