"""How much the features of a group tell about each other, measured on the rows that a config names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from easyssl.data import from_config
from easyssl.data.dataset import Dataset
from easyssl.data.features.names import expand_name
from easyssl.data.features.spec import FeatureSpec, build_feature_specs, column_types
from easyssl.data.item_corpus import PLACE, corpus_columns, read_corpus
from easyssl.errors import nearest
from easyssl.functional.mutual_information import MutualInformation

if TYPE_CHECKING:
    from easyssl.config import Config
    from easyssl.data.transform import FeatureTransform

# A row does not depend on its batch, so batches are as large as is good for counting.
_BATCH_SIZE = 8192


@dataclasses.dataclass(frozen=True)
class GroupInformation:
    """What was measured.

    Attributes:
        group: The feature group.
        features: Its features, in the order in which `only_output_feature_list` lists them.
        num_values: How many different values each feature has.
        rows: How many rows were counted.
        normalized: Whether the matrix is normalized.
        matrix: Mutual information in nats, float64 `[features, features]`, see `MutualInformation.matrix`.
    """

    group: str
    features: tuple[str, ...]
    num_values: tuple[int, ...]
    rows: int
    normalized: bool
    matrix: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {
            "group": self.group,
            "features": list(self.features),
            "num_values": list(self.num_values),
            "rows": self.rows,
            "normalized": self.normalized,
            "mutual_information": self.matrix.tolist(),
        }

    def lines(self) -> list[str]:
        """Returns a table for people."""
        unit = "normalized" if self.normalized else "nats"
        names = max(len("feature"), *map(len, self.features))
        widths = [max(7, len(name)) for name in self.features]
        header = [f"{name:>{width}}" for name, width in zip(self.features, widths, strict=True)]
        lines = [
            f"group '{self.group}': {self.rows:,} rows, mutual information ({unit})",
            "  ".join([f"{'feature':<{names}}", f"{'values':>9}", *header]),
        ]
        for name, count, row in zip(self.features, self.num_values, self.matrix, strict=True):
            cells = [f"{value:{width}.4f}" for value, width in zip(row, widths, strict=True)]
            lines.append("  ".join([f"{name:<{names}}", f"{count:>9,}", *cells]))
        return lines


def group_information(
    config: Config,
    group: str | None = None,
    *,
    files: str | Sequence[str] | None = None,
    rows: int | None = None,
    distinct: str | None = None,
    normalized: bool = False,
) -> GroupInformation:
    """Measures the mutual information between the features of a group, in one pass over the rows.

    Features are what the model gets: ids after hashing or a vocabulary. Tags, and the steps of a sequence,
    are several values of a row; weights of tags do not count. The rows of a group whose features read
    columns of `data_config.item_corpus` are the items of the corpus.

    Args:
        config: The config.
        group: Name of the feature group. Defaults to None, which is the only one of the config.
        files: Files to read. Defaults to None, which is the training data of the config.
        rows: How many rows to read at most. Defaults to None, which is all.
        distinct: An id feature, such as the item: of rows with the same id only the first counts, so that
            every item weighs the same. Defaults to None, which counts all rows.
        normalized: Whether to normalize, see `MutualInformation.matrix`. Defaults to False.

    Raises:
        ConfigError: If there is no such group or feature, or one that has no ids.
        DataError: If rows cannot be read, or there is none.

    Example:
        >>> group_information(config, "item").matrix  # doctest: +SKIP
    """
    specs = build_feature_specs(config)
    group, names = _members(config, group, specs)
    transform = _transform(config, specs, [*names, *([distinct] if distinct is not None else [])])
    if distinct is not None and specs[distinct].kind != "id":
        reason = f"'{distinct}' is not one id a row, so it tells no rows apart"
        raise config.error(specs[distinct].path, reason)
    if set(transform.columns) <= corpus_columns(config).keys():
        if files is not None:
            raise config.error(PLACE, f"group '{group}' reads this file; no other one can be given")
        batches = iter([_items(config, transform, rows)])
    else:
        batches = _batches(config, transform, files, rows)
    counts = MutualInformation(len(names))
    seen = np.empty(0, np.int64)
    for features in batches:
        fields = [_values(features[name].numpy()) for name in names]
        if distinct is not None:
            ids, first = np.unique(features[distinct].numpy(), return_index=True)
            new = ~np.isin(ids, seen)
            seen = np.union1d(seen, ids[new])
            fields = [field[np.sort(first[new])] for field in fields]
        counts.add(fields)
    matrix = counts.matrix(normalized)
    return GroupInformation(group, tuple(names), tuple(counts.num_values()), counts.rows, normalized, matrix)


def _members(config: Config, group: str | None, specs: Mapping[str, FeatureSpec]) -> tuple[str, list[str]]:
    """Returns a group and its features: the plain ones first and then the sequences, as in an input layer."""
    groups = list(config.message.model_config.feature_groups)
    names = [message.group_name for message in groups]
    if group is None and len(names) == 1:
        group = names[0]
    if group is None or group not in names:
        said = "say which group" if group is None else f"there is no group '{group}'"
        raise config.error("model_config.feature_groups", f"{said}{nearest(group or '', names)}")
    index = names.index(group)
    members = [name for written in groups[index].feature_names for name in expand_name(written)]
    for name in members:
        if specs[name].kind not in ("id", "tags", "id_sequence", "tag_sequence"):
            raise config.error(
                specs[name].path,
                f"'{name}' of group '{group}' is plain numbers, which are not counted; give it boundaries "
                "and an embedding_dim, or name another group",
            )
    return group, sorted(members, key=lambda name: specs[name].is_sequence)


def _transform(config: Config, specs: Mapping[str, FeatureSpec], names: Sequence[str]) -> FeatureTransform:
    from easyssl.data.transform import FeatureTransform

    for name in names:
        if name not in specs:
            raise config.error("feature_config", f"no feature is called '{name}'{nearest(name, specs)}")
    wanted = {name: dataclasses.replace(specs[name], used=True) for name in dict.fromkeys(names)}
    return FeatureTransform(wanted, column_types(config))


def _batches(
    config: Config, transform: FeatureTransform, files: str | Sequence[str] | None, rows: int | None
) -> Iterator[Mapping[str, Any]]:
    """Yields the features of the rows of files."""
    from easyssl.training.pipeline import Preparation

    from_config.check_supported(config)
    columns = from_config.columns_from_config(config, "predict", transform.columns)
    dataset = Dataset(
        from_config.make_reader(config, columns, select=list(transform.columns)),
        from_config.input_files(config, "train", files),
        _BATCH_SIZE,
        bad_rows=from_config.bad_rows_from_config(config),
    )
    prepare = Preparation(transform, None, dataset.bad_rows)
    for raw in _first_rows(dataset, rows):
        batch = prepare(raw)
        if batch.rows:
            yield batch.features


def _items(config: Config, transform: FeatureTransform, rows: int | None) -> Mapping[str, Any]:
    """Returns the features of the items of the corpus."""
    columns = read_corpus(config).columns
    return transform({name: columns[name][:rows] for name in transform.columns})


def _first_rows(dataset: Dataset, rows: int | None) -> Iterator[Any]:
    """Yields batches with that many rows together."""
    left = rows
    for raw in dataset.batches():
        if left is not None and len(raw) >= left:
            columns = {name: values[:left] for name, values in raw.columns.items()}
            yield dataclasses.replace(raw, columns=columns, lines=raw.lines[:left], paths=raw.paths[:left])
            return
        left = None if left is None else left - len(raw)
        yield raw


def _values(feature: np.ndarray) -> np.ndarray:
    """Returns ids `[rows]`, or all values of a row in one axis, `[rows, n]`."""
    return feature if feature.ndim == 1 else feature.reshape(len(feature), -1)
