"""The description of one feature, free of TensorFlow and of protobuf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

COMBINERS = ("sum", "mean", "sqrtn")
"""How the embeddings of a multi-valued cell become one vector."""

VECTOR_COMBINERS = ("max", "min", "mean", "sum")
"""How several vectors in the cell of a `RawFeature` become one vector."""

SEQUENCE_COMBINERS = ("attention", "text_cnn")
"""How a sequence becomes one vector; the names that `FeatureGroup` can build."""


@dataclass(frozen=True)
class Buckets:
    """How values become row numbers of a table.

    Attributes:
        kind: `"hash"` (fingerprint modulo size), `"vocabulary"` (place in `entries`), `"integer"` (the value
            itself) or `"boundaries"` (number of boundaries that are at most the value).
        size: Number of different ids.
        entries: The vocabulary, in id order.
        boundaries: Increasing numbers.
    """

    kind: str
    size: int
    entries: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()


@dataclass(frozen=True)
class Pretrained:
    """A file that fills a table.

    Attributes:
        path: The file; see `easyssl.data.item_vectors`.
        trainable: Whether the table is trained all the same.
    """

    path: str
    trainable: bool = False


@dataclass(frozen=True)
class FeatureSpec:
    """One feature of a config, checked and with every default filled in.

    Attributes:
        name: Name used in feature groups and in the output of `FeatureTransform`.
        type: Name of the feature type, such as `"IdFeature"` or `"SequenceFeature"`.
        inputs: The columns it reads.
        path: Config field path, for errors.
        element: `"IdFeature"` or `"RawFeature"`: whether a value, or a step of a sequence, is an id or a
            number.
        buckets: How values become row numbers; None for plain numbers.
        embedding_dim: Width of the table; 0 means no table.
        embedding_name: Name under which tables are shared, or `""`.
        shared: Whether at least two features have this `embedding_name`.
        used: Whether some feature group has it. An unused feature is neither transformed nor embedded.
        combiner: `"sum"`, `"mean"` or `"sqrtn"` (for several vectors of numbers `"max"` or `"min"` too).
        initializer: `{"class_name": ..., "config": ...}` for `keras.initializers.get`; None for the default.
        separator: Separator inside a cell.
        kv_separator: Separator of key and weight inside a tag, or `""`.
        seq_multi_sep: Separator of the values of one step (or of the vectors of a `RawFeature`), or `""`.
        max_seq_len: Number of steps that a sequence keeps; 0 means all.
        keep_last: Whether it keeps the last ones, not the first.
        precision: Digits after the point when a FLOAT or DOUBLE column is read as text.
        min_val: See `max_val`.
        max_val: If above `min_val`, x becomes `(x - min_val) / (max_val - min_val)`.
        normalizer: Expression `lambda x: ...` applied after that, or `""`.
        raw_input_dim: Numbers in a cell of a `RawFeature`.
        sequence_length: Fixed number of steps of a sequence of plain numbers.
        sequence_combiner: One of `SEQUENCE_COMBINERS`, or `""`.
        sequence_combiner_options: Arguments of its layer, or None.
        empty_sequence: `"ONE_STEP"` (an empty cell is one step, the empty string) or `"NO_STEP"`.
        combo_join_sep: What joins the columns of a `ComboFeature`; `""` crosses them by their fingerprints.
        combo_input_seps: Separators inside the columns of a `ComboFeature`, one per column or none at all;
            `""` does not split.
        lookup_max_sel_elem_num: Number of values that a `LookupFeature` may select.
        expression: What an `ExprFeature` computes from `inputs`.
        pretrained: What fills the table instead of `initializer`, or None.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    path: str = ""
    element: str = "IdFeature"
    buckets: Buckets | None = None
    embedding_dim: int = 0
    embedding_name: str = ""
    shared: bool = False
    used: bool = True
    combiner: str = "sum"
    initializer: Mapping[str, Any] | None = None
    separator: str = "|"
    kv_separator: str = ""
    seq_multi_sep: str = ""
    max_seq_len: int = 0
    keep_last: bool = False
    precision: int = -1
    min_val: float = 0.0
    max_val: float = 0.0
    normalizer: str = ""
    raw_input_dim: int = 1
    sequence_length: int = 1
    sequence_combiner: str = ""
    sequence_combiner_options: Mapping[str, Any] | None = None
    empty_sequence: str = "ONE_STEP"
    combo_join_sep: str = ""
    combo_input_seps: tuple[str, ...] = ()
    lookup_max_sel_elem_num: int = 10
    expression: str = ""
    pretrained: Pretrained | None = None

    @property
    def is_sequence(self) -> bool:
        """Whether the feature is a sequence of steps."""
        return self.type == "SequenceFeature"

    @property
    def weighted(self) -> bool:
        """Whether every value has a weight of its own, in the output `<name>/weight`."""
        return self.type == "TagFeature" and (bool(self.kv_separator) or len(self.inputs) == 2)

    @property
    def kind(self) -> str:
        """The form of the transformed feature.

        One of `"id"` int64 `[batch]`, `"tags"` int64 `[batch, n]`, `"values"` float32 `[batch, width]`,
        `"id_sequence"` int64 `[batch, seq_len]`, `"tag_sequence"` int64 `[batch, seq_len, n]`,
        `"value_sequence"` float32 `[batch, seq_len]`, or `"none"` when nothing is handed to the model.
        """
        if self.type == "PassThroughFeature":
            return "none"
        if self.is_sequence:
            if self.buckets is None:
                return "value_sequence" if self.element == "RawFeature" else "none"
            return "tag_sequence" if self.seq_multi_sep else "id_sequence"
        if self.element == "RawFeature":
            return "values" if self.buckets is None else "tags"
        if self.buckets is None:
            return "none"
        several = self.type in ("TagFeature", "LookupFeature") or any(self.combo_input_seps)
        return "tags" if several else "id"

    @property
    def rows(self) -> int:
        """Rows of the table that embeds this feature."""
        if self.kind == "values":
            return self.raw_input_dim
        if self.kind == "value_sequence":
            return self.sequence_length
        if self.buckets is None:
            return 0
        return self.buckets.size * (self.raw_input_dim if self.type == "RawFeature" else 1)

    @property
    def width(self) -> int:
        """Width of the feature's vector (of one step, for a sequence) in a DEEP group."""
        if self.embedding_dim:
            return self.embedding_dim
        return self.raw_input_dim if self.kind == "values" else 1

    @property
    def pooled_width(self) -> int:
        """Width of the feature's vector in a DEEP group that is not read as sequences."""
        options = self.sequence_combiner_options
        if self.sequence_combiner != "text_cnn" or options is None:
            return self.width
        mlp = options.get("mlp")
        return mlp["hidden_units"][-1] if mlp else sum(options["num_filters"])


def group_features(
    specs: Mapping[str, FeatureSpec],
    names: Iterable[str],
    prefix: str,
    wide_output_dim: int = 0,
) -> list[dict[str, Any]]:
    """Describes the features of one group for `FeatureGroup(features=...)`, in plain JSON values.

    Args:
        specs: All features.
        names: The group's features, in `feature_names` order.
        prefix: What makes the names of this group's own tables unique, such as `"<scope>/<group>"`.
        wide_output_dim: Width of every feature in a WIDE group; 0 for a DEEP group.

    Returns:
        One dict per feature. Its `table` is `embedding_name` if at least two features share it,
        otherwise `<prefix>/<feature>`; None for plain numbers. Tables of WIDE groups are never shared, and
        sequences in them are summed up, whatever their `sequence_combiner` is.

    Example:
        >>> spec = FeatureSpec("age", "RawFeature", ("age",), element="RawFeature")
        >>> group_features({"age": spec}, ["age"], "deep")[0]["table"] is None
        True
    """
    features = []
    for name in names:
        spec = specs[name]
        dim = wide_output_dim if wide_output_dim else spec.embedding_dim
        table = None
        pooler, options = spec.sequence_combiner, dict(spec.sequence_combiner_options or {})
        if wide_output_dim and spec.is_sequence:
            pooler, options = "sum", {}
        if dim:
            shared = spec.shared and not wide_output_dim
            table = spec.embedding_name if shared else f"{prefix}/{name}"
        features.append(
            {
                "name": name,
                "kind": spec.kind,
                "table": table,
                "rows": spec.rows,
                "dim": dim,
                "width": dim or spec.width,
                "combiner": "sum" if wide_output_dim else spec.combiner,
                "weighted": spec.weighted,
                "initializer": None if spec.initializer is None else dict(spec.initializer),
                "max_seq_len": spec.max_seq_len,
                "sequence_combiner": pooler,
                "sequence_combiner_options": options,
                "pretrained": _pretrained(spec),
            }
        )
    return features


def _pretrained(spec: FeatureSpec) -> dict[str, Any] | None:
    """Returns what fills a table, and how ids become its rows."""
    if spec.pretrained is None or spec.buckets is None:
        return None
    return {
        "path": spec.pretrained.path,
        "kind": spec.buckets.kind,
        "size": spec.buckets.size,
        "entries": list(spec.buckets.entries),
        "trainable": spec.pretrained.trainable,
    }
