"""One embedding table for a whole feature group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.embedding_table import EmbeddingTable
from easyssl.layers.pooling import combine

COMBINERS = ("weight", "mean", "sum", "max", "min")


@keras.utils.register_keras_serializable(package="easyssl")
class EmbeddingLayer(keras.layers.Layer):
    """Embeds all features of a group in one table, each in rows of its own.

    The table has as many rows as the features have ids together; the ids of a feature are shifted by the
    counts of the features before it. Several values of a cell (tags, the steps of a sequence) are pooled.
    Missing values and padding are not pooled; a cell without any value yields zeros.

    Args:
        features: One dict per feature, as `easyssl.data.features.types.group_features` makes them.
        embedding_dim: Width of the table.
        combiner: How several values become one vector: `"weight"` (mean weighted by the tags' weights, plain
            mean without), `"mean"`, `"sum"`, `"max"` or `"min"`.
        concat: Whether the output is one tensor instead of a list.

    Call arguments:
        inputs: The dict of tensors that `FeatureTransform` returns.

    Returns:
        `[batch, num_features * embedding_dim]`, or a list of `[batch, embedding_dim]`.

    Raises:
        ValueError: If a feature has no ids or the combiner is unknown.

    Example:
        >>> age = {"name": "age", "kind": "id", "rows": 100, "weighted": False}
        >>> layer = EmbeddingLayer([age, {**age, "name": "city"}], embedding_dim=4)
        >>> layer({"age": tf.constant([3, -1]), "city": tf.constant([5, 7])}).shape
        TensorShape([2, 8])
    """

    def __init__(
        self,
        features: Sequence[Mapping[str, Any]],
        embedding_dim: int,
        combiner: str = "weight",
        concat: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**{"autocast": False, **kwargs})
        # Keras would wrap a dict in a tracking container, which is no JSON.
        self._features = tuple(MappingProxyType(dict(feature)) for feature in features)
        for feature in self._features:
            if feature["kind"] not in ("id", "tags", "id_sequence", "tag_sequence"):
                raise ValueError(f"feature '{feature['name']}' has no ids to embed")
        if combiner not in COMBINERS:
            raise ValueError(f"`combiner` must be one of {COMBINERS}. Received: combiner='{combiner}'")
        self.embedding_dim = int(embedding_dim)
        self.combiner = combiner
        self.concat = bool(concat)
        self.table = EmbeddingTable(
            rows=sum(feature["rows"] for feature in self._features),
            dim=self.embedding_dim,
            initializer=keras.initializers.RandomUniform(-0.05, 0.05),
            name="table",
        )

    def build(self, input_shape: Any = None) -> None:
        """Creates the table; no shape is needed."""
        if not self.table.built:
            self.table.build(None)
        self.built = True

    def call(self, inputs: Mapping[str, tf.Tensor]) -> Any:
        """Embeds."""
        outputs, offset = [], 0
        for feature in self._features:
            ids = tf.cast(inputs[feature["name"]], tf.int64)
            # An id beyond the feature's own rows is unknown, and must not reach the next feature's.
            ids = tf.where(ids < feature["rows"], ids, tf.zeros_like(ids))
            present = ids >= 0
            rows = self.table(tf.where(present, ids + offset, -tf.ones_like(ids)))
            offset += feature["rows"]
            if feature["kind"] != "id":
                weights = inputs.get(f"{feature['name']}/weight") if feature["weighted"] else None
                rows = self._pool(rows, present, weights)
            outputs.append(tf.cast(rows, self.compute_dtype))
        return tf.concat(outputs, axis=-1) if self.concat else outputs

    def _pool(self, rows: tf.Tensor, present: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
        """Pools `[batch, ..., dim]` over everything between the first and the last axis."""
        batch = tf.shape(rows)[0]
        present = tf.reshape(present, [batch, -1])
        rows = tf.reshape(rows, [batch, tf.shape(present)[1], self.embedding_dim])
        if self.combiner in ("sum", "mean"):
            return combine(rows, present, self.combiner)
        if self.combiner == "weight":
            return combine(rows, present, "mean", weights)
        largest = self.combiner == "max"
        absent = tf.constant(rows.dtype.min if largest else rows.dtype.max, rows.dtype)
        masked = tf.where(present[..., tf.newaxis], rows, absent)
        pooled = tf.reduce_max(masked, axis=1) if largest else tf.reduce_min(masked, axis=1)
        return tf.where(tf.reduce_any(present, axis=1, keepdims=True), pooled, tf.zeros_like(pooled))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "features": [dict(feature) for feature in self._features],
            "embedding_dim": self.embedding_dim,
            "combiner": self.combiner,
            "concat": self.concat,
        }
