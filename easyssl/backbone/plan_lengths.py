"""Checks that layers with a table of positions have one for every step that their sequences may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import BlockPlan, InputPlan, Plan

_LIMITS = ("max_position_embeddings", "max_seq_len")
# What hands a sequence on with the length that it has.
_KEEP_LENGTH = frozenset(
    {"Activation", "BatchNormalization", "Dense", "Dropout", "Identity", "LayerNormalization", "SeqAugment"}
)


def check_lengths(reader: Reader, plan: Plan, features: Mapping[str, Any]) -> None:
    """Warns of layers that are made for shorter sequences than the `max_seq_len` of a feature they read.

    Sequences are followed back through packages, blocks without a layer and layers that keep the length;
    behind any other layer nothing is known.

    Args:
        reader: Takes the warnings.
        plan: The plan.
        features: The `FeatureSpec` of each feature by name.
    """
    for graph in plan.graphs:
        for block in graph.blocks:
            layer = block.layers[0] if block.layers else None
            name = next((name for name in _LIMITS if layer is not None and name in layer.kwargs), None)
            if layer is None or name is None:
                continue
            limit = layer.kwargs[name]
            longest = max(
                (features[name] for name in _sequences(plan, block, graph.name, features)),
                key=lambda spec: spec.max_seq_len,
                default=None,
            )
            if longest is not None and longest.max_seq_len > limit:
                reader.warn(
                    f"{layer.params_path}.{name}",
                    f"{layer.class_name} is made for {limit} steps, but feature '{longest.name}' keeps up to "
                    f"{longest.max_seq_len} (max_seq_len), and longer sequences are cut or refused",
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
    else:
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
