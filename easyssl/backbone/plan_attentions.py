"""Target attentions of feature groups: `sequence_features`, checked against the features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from easyssl.backbone.plan_dnn import read_dnn
from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import TargetAttentionPlan
from easyssl.errors import nearest

_DEFAULT_UNITS = (128, 64, 32, 1)


def read_attentions(
    reader: Reader, group: Any, members: Sequence[str], features: Mapping[str, Any], path: str
) -> tuple[TargetAttentionPlan, ...]:
    """Reads the target attentions of a feature group.

    Args:
        reader: For errors.
        group: The `FeatureGroupConfig`.
        members: Names of the group's own features.
        features: Feature specs by name.
        path: Place of the group.

    Returns:
        One plan per entry of `sequence_features`.

    Raises:
        ConfigError: For an attention without key or history, features that are unknown or of the wrong kind,
            widths that do not fit, and a scoring network that does not end with one unit.
    """
    found: dict[str, TargetAttentionPlan] = {}
    for index, message in enumerate(group.sequence_features):
        place = f"{path}.sequence_features[{index}]"
        name = message.group_name or f"{group.group_name}_{index}"
        if name in found:
            raise reader.error(f"{place}.group_name", f"there already is an attention '{name}' in the group")
        found[name] = _attention(reader, message, name, members, features, place)
    return tuple(found.values())


def _attention(
    reader: Reader, message: Any, name: str, members: Sequence[str], features: Mapping[str, Any], path: str
) -> TargetAttentionPlan:
    roles: dict[str, dict[str, str]] = {"key": {}, "hist_seq": {}, "aux_hist_seq": {}}
    for role, place, feature in _named(message, path):
        if feature not in features:
            raise reader.error(place, f"no feature is called '{feature}'{nearest(feature, features)}")
        spec = features[feature]
        if spec.is_sequence == (role == "key"):
            expected = "a plain feature, not a sequence" if role == "key" else "a SequenceFeature"
            raise reader.error(place, f"expected {expected}, found {spec.type} '{feature}'")
        if feature in roles[role]:
            raise reader.error(place, f"'{feature}' is listed twice")
        if role == "key" and feature not in members and not message.allow_key_search:
            raise reader.error(
                place,
                f"'{feature}' is not among the feature_names of the group; list it, or set allow_key_search",
            )
        roles[role][feature] = place
    for role in ("key", "hist_seq"):
        if not roles[role]:
            raise reader.error(path, f"the target attention '{name}' has no {role} in seq_att_map")
    key, history = (sum(features[f].width for f in roles[role]) for role in ("key", "hist_seq"))
    if key != history and not message.allow_key_transform:
        first = next(iter(roles["key"].values()))
        raise reader.error(
            first,
            f"the key of '{name}' is {key} wide and its history {history}; make them equal, or set "
            "allow_key_transform",
        )
    return TargetAttentionPlan(
        name,
        keys=tuple(roles["key"]),
        histories=tuple(roles["hist_seq"]),
        auxiliary=tuple(roles["aux_hist_seq"]),
        attention_dnn=_network(reader, message, path),
        transform=key > history or (key < history and message.transform_dnn),
        need_key=message.need_key_feature,
    )


def _named(message: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """Yields the field, place and name of each feature of an attention."""
    for index, pair in enumerate(message.seq_att_map):
        for role in ("key", "hist_seq", "aux_hist_seq"):
            for place, feature in enumerate(getattr(pair, role)):
                yield role, f"{path}.seq_att_map[{index}].{role}[{place}]", feature


def _network(reader: Reader, message: Any, path: str) -> dict[str, Any]:
    """Returns the parameters of the MLP that scores a step."""
    given = message.seq_dnn if message.HasField("seq_dnn") else type(message.seq_dnn)()
    if not message.HasField("seq_dnn"):
        given.hidden_units.extend(_DEFAULT_UNITS)
    path = f"{path}.seq_dnn"
    network = read_dnn(reader, given, path)
    if network is None or network["hidden_units"][-1] != 1:
        raise reader.error(f"{path}.hidden_units", "the last layer gives the score of a step; it has 1 unit")
    return {**network, "use_final_bn": False, "final_activation": "linear"}
