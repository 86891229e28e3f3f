"""Feature groups: their names written out and checked against the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from easyssl.backbone.plan_attentions import read_attentions
from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import GroupPlan, InputLayerPlan, TargetAttentionPlan
from easyssl.data.features.names import expand_name
from easyssl.errors import nearest


def read_groups(reader: Reader, model: Any, features: Mapping[str, Any]) -> dict[str, GroupPlan]:
    """Reads the feature groups of a model.

    Args:
        reader: For errors.
        model: The `model_config` message.
        features: Feature specs by name.

    Returns:
        The groups by name, in the config's order.

    Raises:
        ConfigError: For a group without a name, two groups of one name, an unknown feature, a
            feature listed twice, or a target attention that cannot be planned.
    """
    groups: dict[str, GroupPlan] = {}
    for index, message in enumerate(model.feature_groups):
        path = f"model_config.feature_groups[{index}]"
        name = message.group_name
        if not name:
            raise reader.error(path, "a feature group needs a group_name")
        if name in groups:
            raise reader.error(f"{path}.group_name", f"there already is a feature group '{name}'")
        sides = message.DESCRIPTOR.fields_by_name["wide_deep"].enum_type.values_by_name
        wide = message.wide_deep == sides["WIDE"].number
        if wide and message.sequence_features:
            raise reader.error(
                f"{path}.sequence_features[0]", "target attention reads embeddings of a DEEP group"
            )
        members = _features(reader, message, path, features)
        attentions = read_attentions(reader, message, members, features, path)
        groups[name] = GroupPlan(name, wide, members, path, attentions)
    return groups


def check_format(
    reader: Reader,
    group: GroupPlan,
    settings: InputLayerPlan,
    features: Mapping[str, Any],
    path: str,
) -> None:
    """Checks that an input layer can give the features of a group in the format that it is set to.

    Args:
        reader: For errors.
        group: What the input layer reads.
        settings: Of the input layer.
        features: Feature specs by name.
        path: Place of the settings.

    Raises:
        ConfigError: For a group without features, a sequence in a format that has no time axis, a sequence
            format without a sequence, or features of different widths that would have to be stacked.
    """
    _check_not_empty(reader, group)
    specs = {name: features[name] for name in group.features}
    for name, spec in specs.items():
        if spec.kind == "none":
            raise reader.error(path, f"feature '{name}' of group '{group.name}' has no values for a model")
    sequences = [name for name, spec in specs.items() if spec.is_sequence]
    if settings.output_format == "sequence":
        if group.attentions:
            raise reader.error(
                path,
                f"the sequence_features of group '{group.name}' are no part of its sequences; read it as a "
                "2-D tensor or a list, or move them into a group of their own",
            )
        if not sequences:
            raise reader.error(path, f"feature group '{group.name}' has no sequence feature")
        return
    for name in sequences:
        if not specs[name].sequence_combiner:
            raise reader.error(
                path,
                f"feature '{name}' of group '{group.name}' is a sequence and has no sequence_combiner: "
                "give it one, or read the group with output_seq_and_normal_feature: true",
            )
    widths = {name: spec.pooled_width for name, spec in specs.items()}
    widths |= {attention.name: _attended_width(attention, features) for attention in group.attentions}
    if settings.output_format == "3d" and not group.wide and len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} {width}" for name, width in widths.items())
        text = f"features of group '{group.name}' differ in width and cannot be stacked: {listed}"
        raise reader.error(path, text)


def check_plain(reader: Reader, group: GroupPlan, kind: str, path: str) -> None:
    """Checks that a block that reads features before any lookup leaves no target attention out.

    Args:
        reader: For errors.
        group: What the block reads.
        kind: `"raw_input"` or `"embedding_layer"`.
        path: Place of the block.

    Raises:
        ConfigError: If the group has no features, or target attentions.
    """
    _check_not_empty(reader, group)
    if group.attentions:
        raise reader.error(
            path, f"{kind} does not read the sequence_features of group '{group.name}'; use an input_layer"
        )


def _attended_width(attention: TargetAttentionPlan, features: Mapping[str, Any]) -> int:
    """Returns the width of what a target attention gives."""
    history = sum(features[name].width for name in attention.histories)
    auxiliary = sum(features[name].width for name in attention.auxiliary)
    return history + auxiliary + (history if attention.need_key else 0)


def _features(reader: Reader, message: Any, path: str, features: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for index, pattern in enumerate(message.feature_names):
        place = f"{path}.feature_names[{index}]"
        try:
            names = expand_name(pattern)
        except ValueError as error:
            raise reader.error(place, str(error)) from None
        for name in names:
            if name not in features:
                raise reader.error(place, f"no feature is called '{name}'{nearest(name, features)}")
            if name in found:
                raise reader.error(place, f"feature '{name}' is listed twice in group '{message.group_name}'")
            found.append(name)
    return tuple(found)


def _check_not_empty(reader: Reader, group: GroupPlan) -> None:
    if not (group.features or group.attentions):
        raise reader.error(group.path, f"feature group '{group.name}' has no feature_names")
