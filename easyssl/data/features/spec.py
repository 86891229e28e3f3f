"""From a config to the description of its features, checked, without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from easyssl.data.features.names import column_names, expand_name
from easyssl.data.features.read import FeatureReader
from easyssl.data.features.types import Buckets, FeatureSpec, group_features
from easyssl.data.item_corpus import corpus_columns
from easyssl.data.sequence_split import next_column
from easyssl.errors import nearest

if TYPE_CHECKING:
    from easyssl.config import Config

__all__ = ["Buckets", "FeatureSpec", "build_feature_specs", "column_types", "group_features"]


def column_types(config: Config) -> dict[str, str]:
    """Returns the type of each column of rows and of the item corpus, such as `"STRING"`, in order.

    With `auto_expand_input_fields`, `name[1-3]` stands for three columns.

    Raises:
        ConfigError: If a column is declared twice, or a range of names is empty.
    """
    data = config.message.data_config
    columns: dict[str, str] = {}
    for index, field in enumerate(data.input_fields):
        path = f"data_config.input_fields[{index}].input_name"
        kinds = field.DESCRIPTOR.fields_by_name["input_type"].enum_type.values_by_number
        for name in column_names(config, field.input_name, path):
            if name in columns:
                raise config.error(path, f"column '{name}' is declared twice")
            columns[name] = kinds[field.input_type].name
    if data.HasField("sequence_split"):
        columns[next_column(data.sequence_split.items)] = "STRING"
    return columns | {name: column.type for name, column in corpus_columns(config).items()}


def build_feature_specs(config: Config) -> dict[str, FeatureSpec]:
    """Reads and checks the features of a config.

    `feature_configs` is read if it is not empty, otherwise `feature_config.features`. A feature with
    `shared_names` stands for one feature per further column. Features that share a table must agree on it,
    and every feature of a group must have what the blocks that read the group need.

    Args:
        config: The config. Fields that have no effect are added to its warnings.

    Returns:
        Features by name, in the order of the config.

    Raises:
        ConfigError: At the field that is wrong.

    Example:
        >>> from easyssl.config import parse_config
        >>> config = parse_config('''
        ...     data_config { input_fields { input_name: "user" } }
        ...     feature_config { features { input_names: "user" hash_bucket_size: 10 embedding_dim: 4 } }
        ... ''')
        >>> build_feature_specs(config)["user"].rows
        10
    """
    config.refuse("feature_configs", "feature_config", "model_config.feature_groups")
    columns = column_types(config)
    specs: dict[str, FeatureSpec] = {}
    readers_of: dict[str, FeatureReader] = {}
    for reader, inputs, inputs_path in _declared(config, columns):
        spec = reader.read(inputs, inputs_path)
        if spec.name in specs:
            field = "feature_name" if reader.message.HasField("feature_name") else "input_names"
            raise reader.error(
                field,
                f"a feature called '{spec.name}' exists already; give each a feature_name of its own",
            )
        specs[spec.name], readers_of[spec.name] = spec, reader
    specs = _share_tables(config, specs)
    groups = list(_groups(config))
    if groups:
        used = {name for _, _, names in groups for _, name in names}
        specs = {name: dataclasses.replace(spec, used=name in used) for name, spec in specs.items()}
    for group, readers, names in groups:
        for path, name in names:
            if name not in specs:
                raise config.error(path, f"no feature is called '{name}'{nearest(name, specs)}")
            _check_member(config, group, readers, path, specs[name])
    defaults = _defaults(config)
    for name, spec in specs.items():
        if spec.used:
            readers_of[name].warn_of_empty_cells(spec, defaults.get(spec.inputs[0], ""))
    return specs


def _defaults(config: Config) -> dict[str, str]:
    """Returns the value for empty cells of each column that has one."""
    return {
        name: field.default_val
        for index, field in enumerate(config.message.data_config.input_fields)
        for name in column_names(config, field.input_name, f"data_config.input_fields[{index}].input_name")
    }


def _declared(config: Config, columns: dict[str, str]) -> Iterator[tuple[FeatureReader, list[str], str]]:
    """Yields each feature with its columns, and each clone that `shared_names` asks for."""
    old = bool(config.message.feature_configs)
    messages = config.message.feature_configs if old else config.message.feature_config.features
    base = "feature_configs" if old else "feature_config.features"
    for index, message in enumerate(messages):
        path = f"{base}[{index}]"
        reader = FeatureReader(config, message, path, columns)
        yield reader, list(message.input_names), f"{path}.input_names"
        for place, shared in enumerate(message.shared_names):
            shared_path = f"{path}.shared_names[{place}]"
            for name in column_names(config, shared, shared_path):
                yield reader, [name], shared_path


def _share_tables(config: Config, specs: dict[str, FeatureSpec]) -> dict[str, FeatureSpec]:
    """Marks the features that share a table, and checks that they agree on it."""
    members: dict[str, list[FeatureSpec]] = {}
    for spec in specs.values():
        if spec.embedding_name and spec.kind != "none":
            members.setdefault(spec.embedding_name, []).append(spec)
    shared = {name: list_ for name, list_ in members.items() if len(list_) > 1}
    for name, (first, *others) in shared.items():
        for other in others:
            if other.pretrained != first.pretrained or (first.pretrained and other.buckets != first.buckets):
                raise config.error(
                    f"{other.path}.pretrained_vectors",
                    f"'{other.name}' shares the table '{name}' with '{first.name}', so both need the same "
                    "pretrained_vectors, and the same ids",
                )
            for field in ("embedding_dim", "combiner", "initializer", "rows"):
                ours, theirs = getattr(other, field), getattr(first, field)
                if ours != theirs:
                    path = other.path if field == "rows" else f"{other.path}.{field}"
                    what = "number of ids" if field == "rows" else field
                    raise config.error(
                        path,
                        f"'{other.name}' shares the table '{name}' with '{first.name}', so its {what} must "
                        f"be {theirs}, found {ours}",
                    )
            _warn_limits(config, first, other)
    return {name: dataclasses.replace(s, shared=s.embedding_name in shared) for name, s in specs.items()}


def _warn_limits(config: Config, first: FeatureSpec, other: FeatureSpec) -> None:
    if first.is_sequence and other.is_sequence and first.max_seq_len != other.max_seq_len:
        path = f"{other.path}.max_seq_len"
        config.warnings.append(
            f"{config.where(path)}: {path}: '{other.name}' keeps its own limit {other.max_seq_len}, although "
            f"'{first.name}', which shares its table, has {first.max_seq_len}; EasyRec applies one to both"
        )


def _groups(config: Config) -> Iterator[tuple[Any, set[str], list[tuple[str, str]]]]:
    """Yields each feature group with how blocks read it and its (field path, feature name) pairs."""
    model = config.message.model_config
    for index, group in enumerate(model.feature_groups):
        names = []
        for place, written in enumerate(group.feature_names):
            path = f"model_config.feature_groups[{index}].feature_names[{place}]"
            try:
                names += [(path, name) for name in expand_name(written)]
            except ValueError as error:
                raise config.error(path, str(error)) from None
        for number, attention in enumerate(group.sequence_features):
            pairs = f"model_config.feature_groups[{index}].sequence_features[{number}].seq_att_map"
            for order, pair in enumerate(attention.seq_att_map):
                for role in ("key", "hist_seq", "aux_hist_seq"):
                    given = enumerate(getattr(pair, role))
                    names += [(f"{pairs}[{order}].{role}[{i}]", name) for i, name in given]
        yield group, _readers(model, group.group_name), names


def _readers(model: Any, group: str) -> set[str]:
    """Returns how blocks read a group: `"input_layer"`, `"raw_input"`, `"embedding_layer"`."""
    if not model.HasField("backbone"):
        return {"input_layer"}
    readers = set()
    for graph in (model.backbone, *model.backbone.packages):
        blocks = {block.name for block in graph.blocks}
        for block in graph.blocks:
            if not any(given.feature_group_name == group for given in block.inputs):
                continue
            kind = block.WhichOneof("layer")
            if kind in ("input_layer", "raw_input", "embedding_layer"):
                readers.add(kind)
            elif group not in blocks:
                readers.add("input_layer")
    return readers


def _check_member(config: Config, group: Any, readers: set[str], path: str, spec: FeatureSpec) -> None:
    """Checks that a feature has what the readers of its group need."""
    name = group.group_name
    if spec.type == "PassThroughFeature":
        raise config.error(
            path,
            f"'{spec.name}' is a PassThroughFeature, which no model reads; numbers are a RawFeature, ids an "
            "IdFeature",
        )
    if spec.kind == "none":
        raise config.error(
            spec.path,
            f"'{spec.name}' of group '{name}' needs one of hash_bucket_size, vocab_list, vocab_file and "
            "num_buckets",
        )
    of_kind = group.DESCRIPTOR.fields_by_name["wide_deep"].enum_type.values_by_number[group.wide_deep].name
    if spec.pretrained is not None and (of_kind == "WIDE" or "embedding_layer" in readers):
        what = "the WIDE group" if of_kind == "WIDE" else "an embedding_layer of group"
        raise config.error(
            f"{spec.path}.pretrained_vectors", f"{what} '{name}' has tables of its own, without '{spec.name}'"
        )
    if "embedding_layer" in readers and spec.buckets is None:
        raise config.error(path, f"an embedding_layer needs ids, '{spec.name}' is plain numbers")
    several = spec.initializer is not None and isinstance(spec.initializer["config"].get("value"), list)
    if of_kind == "WIDE" and several:
        raise config.error(
            f"{spec.path}.initializer.constant_initializer",
            f"the WIDE group '{name}' has tables of another width; give one number",
        )
    if "input_layer" not in readers or spec.embedding_dim:
        return
    numbers = spec.element == "RawFeature"
    wide = of_kind == "WIDE"
    if wide and numbers:
        reason = f"a number in the WIDE group '{name}' is multiplied by a weight: set embedding_dim: 1"
    elif not wide and spec.buckets is not None:
        reason = f"group '{name}' embeds '{spec.name}': set embedding_dim above 0"
    else:
        return
    raise config.error(f"{spec.path}.embedding_dim", reason)
