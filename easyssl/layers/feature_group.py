"""The features of one group, looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.building import Shape, build_sublayer
from easyssl.layers.embedding_table import EmbeddingTable, create_tables
from easyssl.layers.looked_up import LookedUp, kind_of, same_length
from easyssl.layers.nested import nested_layer
from easyssl.layers.pooling import AttentionPooling, SumPooling, combine, project
from easyssl.layers.target_attention import AttentionInputs, TargetAttention
from easyssl.layers.text_cnn import TextCNN

SEQUENCE_POOLERS: dict[str, Any] = {"attention": AttentionPooling, "sum": SumPooling, "text_cnn": TextCNN}
"""What pools a sequence: the `sequence_combiner` of its feature, or in a WIDE group the sum."""


class GroupOutput(NamedTuple):
    """The tensors of a feature group, in `feature_names` order within each list.

    Attributes:
        plain: `[batch, width]` per plain feature.
        pooled: `[batch, width]` per sequence feature that has a `sequence_combiner`.
        sequences: `[batch, seq_len, width]` per sequence feature, with one `seq_len` for the group; padding
            steps are zero.
        lengths: int32 `[batch]` per sequence feature.
        embeddings: All trained embeddings that were looked up, float32, for embedding regularization.
        attended: `[batch, width]` per target attention.
    """

    plain: list[tf.Tensor]
    pooled: list[tf.Tensor]
    sequences: list[tf.Tensor]
    lengths: list[tf.Tensor]
    embeddings: list[tf.Tensor]
    attended: Sequence[tf.Tensor] = ()


@keras.utils.register_keras_serializable(package="easyssl")
class FeatureGroup(keras.layers.Layer):
    """Looks up the features of a group, once per step; `InputLayer` turns the result into a block's input.

    Multi-valued cells are pooled by the feature's combiner. A number with an embedding is the number times
    its row. Rows are looked up and pooled in float32 and then cast to the layer's compute dtype.

    Args:
        features: One dict per feature, as `easyssl.data.features.types.group_features` makes them.
        tables: Tables by the features' `table`, when other groups share them; more than needed is fine.
            None creates own tables.
        kernel_regularizer: Keras regularizer for the kernels of pooling and attention, or None.
        attentions: One dict per target attention: its `name`, the names of its `keys`, `histories` and
            `auxiliary` histories, and `attention_dnn`, `transform` and `need_key` of `TargetAttention`. Keys
            are plain features, several of them concatenated, as are histories.
        attention_features: What only the attentions read, described like `features`.

    Call arguments:
        inputs: The dict of tensors that `FeatureTransform` returns; only the group's features are read.
        training: Handed to poolings and target attentions.
        only_shapes: In a graph that is not run: of features that are alike look up the first, and give its
            result for the others. Everything is built.

    Returns:
        A `GroupOutput`.

    Raises:
        ValueError: If a feature has no vector form, or tables are handed in and one is missing.

    Example:
        >>> age = {"name": "age", "kind": "id", "table": "age", "rows": 100, "dim": 8, "width": 8,
        ...        "combiner": "sum", "weighted": False, "initializer": None, "max_seq_len": 0,
        ...        "sequence_combiner": ""}
        >>> group = FeatureGroup([age])
        >>> group({"age": tf.constant([3, -1])}).plain[0].shape
        TensorShape([2, 8])
    """

    def __init__(
        self,
        features: Sequence[Mapping[str, Any]],
        tables: Mapping[str, EmbeddingTable] | None = None,
        kernel_regularizer: Any = None,
        attentions: Sequence[Mapping[str, Any]] = (),
        attention_features: Sequence[Mapping[str, Any]] = (),
        **kwargs: Any,
    ):
        # Numbers stay float32 until they are embedded; the group casts its own output.
        super().__init__(**{"autocast": False, **kwargs})
        # Keras would wrap a dict in a tracking container, which is no JSON.
        self._features = tuple(MappingProxyType(dict(feature)) for feature in features)
        self._hidden = tuple(MappingProxyType(dict(feature)) for feature in attention_features)
        self._attentions = tuple(MappingProxyType(dict(attention)) for attention in attentions)
        read = (*self._features, *self._hidden)
        for feature in read:
            _check(feature)
        names = dict.fromkeys(f["table"] for f in read if f["table"] is not None)
        if tables is None:
            tables = create_tables(read)
        missing = [name for name in names if name not in tables]
        if missing:
            raise ValueError(f"`tables` lacks {missing}. Received: {sorted(tables)}")
        self.tables = {name: tables[name] for name in names}
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.poolers = {}
        for feature in self._features:
            if feature["sequence_combiner"]:
                self.poolers[feature["name"]] = nested_layer(
                    self,
                    SEQUENCE_POOLERS[feature["sequence_combiner"]],
                    feature.get("sequence_combiner_options") or {},
                    f"pool_{feature['name']}",
                    f"sequence_combiner of feature '{feature['name']}'",
                    kernel_regularizer=kernel_regularizer,
                )
        self.attention_layers = [
            TargetAttention(
                attention["attention_dnn"],
                transform=attention["transform"],
                need_key=attention["need_key"],
                kernel_regularizer=kernel_regularizer,
                name=f"attend_{attention['name']}",
                dtype=self._policy(),
            )
            for attention in self._attentions
        ]

    @property
    def features(self) -> list[dict[str, Any]]:
        """The descriptions of the features."""
        return [dict(feature) for feature in self._features]

    def build(self, input_shape: Any = None) -> None:
        """Creates the tables and the kernels; no shape is needed."""
        for table in self.tables.values():
            if not table.built:
                with tf.name_scope(table.name):  # tells the tables of a group apart by their variables' names
                    table.build(None)
        for feature in self._features:
            if feature["sequence_combiner"]:
                build_sublayer(self.poolers[feature["name"]], _pooled_shapes(feature))
        widths = {f["name"]: f["width"] for f in (*self._features, *self._hidden)}
        for attention, layer in zip(self._attentions, self.attention_layers, strict=True):
            key, history = (sum(widths[n] for n in attention[part]) for part in ("keys", "histories"))
            build_sublayer(layer, [(None, key), (None, None, history), (None,)])
        self.built = True

    def call(
        self, inputs: Mapping[str, tf.Tensor], training: bool | None = None, only_shapes: bool = False
    ) -> GroupOutput:
        """Looks up."""
        found: dict[str, LookedUp] = {}
        known: dict[Any, LookedUp] = {}
        for feature in (*self._features, *self._hidden):
            kind = kind_of(feature, inputs, self._trained(feature)) if only_shapes else None
            each = known.get(kind) or self._look_up(feature, inputs, training)
            if kind is not None:
                known[kind] = each
            found[feature["name"]] = each
        own = [found[feature["name"]] for feature in self._features]
        sequences = [each for each in own if each.lengths is not None]
        return GroupOutput(
            plain=[each.value for each in own if each.lengths is None],
            pooled=[each.pooled for each in own if each.pooled is not None],
            sequences=same_length([each.value for each in sequences], only_shapes),
            lengths=[each.lengths for each in sequences],
            embeddings=[each.embedding for each in found.values() if each.embedding is not None],
            attended=self._attend(found, training),
        )

    def _look_up(
        self, feature: Mapping[str, Any], inputs: Mapping[str, tf.Tensor], training: bool | None
    ) -> LookedUp:
        """Looks one feature up."""
        name = feature["name"]
        lengths = pooled = None
        if not _is_sequence(feature):
            embedding = self._vector(feature, inputs)
            value = tf.cast(embedding, self.compute_dtype)
        else:
            steps, lengths = inputs[name], tf.cast(inputs[f"{name}/length"], tf.int32)
            limit = feature["max_seq_len"] or None
            if limit and name not in self.poolers:
                steps, lengths = steps[:, :limit], tf.minimum(lengths, limit)
            embedding = self._steps(feature, steps, lengths)
            value = tf.cast(embedding, self.compute_dtype)
            if name in self.poolers:
                pooled = self.poolers[name]((value, lengths), training=training)
                if limit:
                    value, lengths = value[:, :limit], tf.minimum(lengths, limit)
        return LookedUp(value, lengths, pooled, embedding if self._trained(feature) else None)

    def _attend(self, found: Mapping[str, LookedUp], training: bool | None) -> list[tf.Tensor]:
        """The outputs of the target attentions, `[batch, width]` each."""
        attended = []
        for attention, layer in zip(self._attentions, self.attention_layers, strict=True):
            key = tf.concat([found[name].value for name in attention["keys"]], axis=-1)
            names = [*attention["histories"], *attention["auxiliary"]]
            steps = same_length([found[name].value for name in names])
            count = len(attention["histories"])
            lengths = found[names[0]].lengths
            inputs = AttentionInputs(key, tf.concat(steps[:count], axis=-1), lengths, steps[count:])
            attended.append(layer(inputs, training=training))
        return attended

    def _vector(self, feature: Mapping[str, Any], inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """One plain feature, float32 `[batch, width]`."""
        values = inputs[feature["name"]]
        if feature["table"] is None:
            return tf.cast(values, tf.float32)
        table = self.tables[feature["table"]]
        if feature["kind"] == "id":
            return table(values)
        weights = tf.cast(inputs[f"{feature['name']}/weight"], tf.float32) if feature["weighted"] else None
        if feature["kind"] == "tags":
            return combine(table(values), values >= 0, feature["combiner"], weights)
        return project(tf.cast(values, tf.float32), table.variable, feature["combiner"])

    def _steps(self, feature: Mapping[str, Any], values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """One sequence feature, float32 `[batch, seq_len, width]`."""
        if feature["kind"] == "value_sequence":
            valid = tf.sequence_mask(lengths, tf.shape(values)[1])
            steps = tf.where(valid, tf.cast(values, tf.float32), 0.0)[..., tf.newaxis]
            return steps if feature["table"] is None else steps * self.tables[feature["table"]].variable
        rows = self.tables[feature["table"]](values)
        if feature["kind"] == "tag_sequence":
            return combine(rows, values >= 0, feature["combiner"])
        return rows

    def _trained(self, feature: Mapping[str, Any]) -> bool:
        return feature["table"] is not None and self.tables[feature["table"]].trainable

    def _policy(self) -> Any:
        return getattr(self, "dtype_policy", self.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments; a loaded group has tables of its own."""
        regularizer = keras.regularizers.serialize(self.kernel_regularizer)
        return {
            **super().get_config(),
            "features": self.features,
            "kernel_regularizer": regularizer,
            "attentions": [dict(attention) for attention in self._attentions],
            "attention_features": [dict(feature) for feature in self._hidden],
        }


def _is_sequence(feature: Mapping[str, Any]) -> bool:
    return feature["kind"].endswith("sequence")


def _pooled_shapes(feature: Mapping[str, Any]) -> list[Shape]:
    """Shapes of what a feature's pooling reads."""
    return [(None, None, feature["width"]), (None,)]


def _check(feature: Mapping[str, Any]) -> None:
    name, kind = feature["name"], feature["kind"]
    if kind == "none":
        raise ValueError(f"feature '{name}' has no numbers: it passes its column through")
    if feature["table"] is None and kind not in ("values", "value_sequence"):
        raise ValueError(f"feature '{name}' consists of ids, so it needs `dim` and a `table`")
    pooler = feature["sequence_combiner"]
    if pooler and pooler not in SEQUENCE_POOLERS:
        raise ValueError(
            f"`sequence_combiner` must be one of {sorted(SEQUENCE_POOLERS)}. Received: '{pooler}'"
        )
