"""The feature groups of a backbone and who shares which table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.backbone.instantiate import ErrorAt, first_line
from easyssl.backbone.names import UniqueNames
from easyssl.backbone.plan import EmbeddingLayerPlan, Plan
from easyssl.data.features.types import FeatureSpec, group_features
from easyssl.layers.embedding_table import create_tables
from easyssl.layers.feature_group import FeatureGroup, GroupOutput
from easyssl.layers.variational_dropout import VariationalDropout


class GroupLookups(keras.layers.Layer):
    """Looks up the feature groups that a plan's input blocks read.

    A table belongs to the features that share its `embedding_name`, wherever they stand. A feature without
    one has a table for each group that it is in, and another one where a package reads that group.

    Args:
        plan: The plan; only groups that some block reads get tables.
        specs: The features by name.
        kernel_regularizer: For the kernels of pooling and target attention, or None.
        variational_dropout: Arguments of a `VariationalDropout` for each group, or None for none.
        error: Makes a `ConfigError` from a field path and a text; None lets errors of layers be.
        **kwargs: `name` and `dtype` of the layer.

    Raises:
        ConfigError: If a pooling or an attention of a group refuses its parameters.
    """

    def __init__(
        self,
        plan: Plan,
        specs: Mapping[str, FeatureSpec],
        kernel_regularizer: Any = None,
        variational_dropout: Mapping[str, Any] | None = None,
        error: ErrorAt | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        described: dict[str, list[dict[str, Any]]] = {}
        attentions: dict[str, dict[str, Any]] = {}
        paths: dict[str, str] = {}
        for graph in plan.graphs:
            for block in graph.blocks:
                if block.kind == "input_layer" and block.group is not None:
                    group = plan.groups[block.group]
                    key = f"{graph.name}/{group.name}" if graph.name else group.name
                    described[key] = group_features(
                        specs, group.features, key, plan.wide_output_dim or 0 if group.wide else 0
                    )
                    paths[key] = group.path
                    attentions[key] = {
                        "attentions": [dataclasses.asdict(attention) for attention in group.attentions],
                        "attention_features": group_features(specs, group.attention_features, key),
                    }
        read = [*described.values(), *(each["attention_features"] for each in attentions.values())]
        self.tables = create_tables(feature for features in read for feature in features)
        names = UniqueNames()
        self.groups = {}
        for key, features in described.items():
            try:
                self.groups[key] = FeatureGroup(
                    features,
                    tables=self.tables,
                    kernel_regularizer=kernel_regularizer,
                    name=names.take(key),
                    dtype=kwargs.get("dtype"),
                    **attentions[key],
                )
            except ValueError as e:
                if error is None:
                    raise
                raise error(paths[key], first_line(e)) from e
        self.dropouts: dict[str, VariationalDropout] = {}
        if variational_dropout is not None:
            self.dropouts = {
                key: VariationalDropout(
                    **variational_dropout,
                    name=names.take(f"{key}_variational_dropout"),
                    dtype=kwargs.get("dtype"),
                )
                for key in described
            }
        self._specs = specs
        self._members = {name: group.features for name, group in plan.groups.items()}

    def look_up(
        self,
        scope: str,
        group: str,
        features: Mapping[str, tf.Tensor],
        training: bool = False,
        only_shapes: bool = False,
    ) -> GroupOutput:
        """Returns the looked-up features of a group, as the graph `scope` reads it; see `FeatureGroup`."""
        features = features.get(own_rows(group), features)
        key = f"{scope}/{group}" if scope else group
        output = self.groups[key](features, training=training, only_shapes=only_shapes)
        if key not in self.dropouts:
            return output
        parts = (output.plain, output.pooled, output.attended)
        kept = iter(self.dropouts[key]([x for part in parts for x in part], training=training))
        plain, pooled, attended = ([next(kept) for _ in part] for part in parts)
        return output._replace(plain=plain, pooled=pooled, attended=attended)

    def raw(self, group: str, features: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """Returns the transformed features of a group before any embedding, in `feature_names` order."""
        features = features.get(own_rows(group), features)
        return [features[name] for name in self._members[group] if self._specs[name].kind != "none"]

    def fused_table(self, group: str, plan: EmbeddingLayerPlan, name: str, dtype: Any) -> keras.layers.Layer:
        """Makes the layer of an `embedding_layer` block: one table for all features of a group."""
        from easyssl.layers.embedding_layer import EmbeddingLayer

        return EmbeddingLayer(
            features=group_features(self._specs, self._members[group], group),
            embedding_dim=plan.embedding_dim,
            combiner=plan.combiner,
            concat=plan.concat,
            name=name,
            dtype=dtype,
        )


def own_rows(group: str) -> str:
    """Returns the key of the features by name that a group reads instead of those of the batch."""
    return f"@{group}"
