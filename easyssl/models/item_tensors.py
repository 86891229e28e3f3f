"""The item corpus as a NextItemModel reads it: features of items, and where each id is in the corpus."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from easyssl.config import Config
from easyssl.data.features.types import FeatureSpec
from easyssl.data.item_corpus import ItemCorpus
from easyssl.data.transform import FeatureTransform
from easyssl.errors import DataError

ITEM = "item/bucket"
"""Name of the feature with the row number that the history's table has for an item."""


@dataclasses.dataclass(frozen=True)
class ItemTensors:
    """What a model reads of its items; items are numbered as they come in the corpus.

    Attributes:
        features: Transformed features by name, `[items, ...]`.
        buckets: int64 `[items]`, the id of each item in histories.
        places: int32 `[ids]`, the number of the item of each id, -1 for ids of none.
    """

    features: Mapping[str, tf.Tensor]
    buckets: tf.Tensor
    places: tf.Tensor

    def places_of(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the numbers of items, int32, -1 for those that are not in the corpus or below 0."""
        found = tf.gather(self.places, tf.maximum(ids, 0))
        return tf.where(ids >= 0, found, -1)

    def rows(self, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the features of some items."""
        return {name: tf.gather(values, numbers) for name, values in self.features.items()}


def item_spec(history: FeatureSpec, column: str) -> FeatureSpec:
    """Returns the feature that gives items the ids that histories give them."""
    return FeatureSpec(ITEM, "IdFeature", (column,), buckets=history.buckets, precision=history.precision)


def symbolic_items(transform: FeatureTransform, ids: int) -> ItemTensors:
    """Makes placeholders in the current graph, to check shapes without reading the corpus.

    Args:
        transform: The transform of the corpus' columns.
        ids: How many ids there are.
    """
    features = transform.symbolic_output()
    buckets = features.pop(ITEM)
    return ItemTensors(features, buckets, tf.compat.v1.placeholder(tf.int32, [ids], "places"))


def item_tensors(config: Config, corpus: ItemCorpus, transform: FeatureTransform, ids: int) -> ItemTensors:
    """Transforms a corpus.

    Args:
        config: Takes a warning if two items have the same id.
        corpus: The items.
        transform: The transform of its columns, `item_spec` among them.
        ids: How many ids there are.

    Raises:
        DataError: If a cell is not what its feature needs.
    """
    with tf.device("/CPU:0"):
        try:
            features = transform(corpus.columns)
        except tf.errors.InvalidArgumentError:
            bad = transform.find_bad_cell(corpus.columns)
            if bad is None:
                raise
            raise DataError(f"{corpus.paths[bad.row]}:{corpus.lines[bad.row]}: {bad}") from None
        buckets = features.pop(ITEM)
    known = buckets.numpy()
    wrong = np.flatnonzero((known < 0) | (known >= ids))
    if wrong.size:
        where = f"{corpus.paths[wrong[0]]}:{corpus.lines[wrong[0]]}"
        raise DataError(f"{where}: the item has no id below {ids}, as its feature in histories needs")
    places = np.full(ids, -1, np.int32)
    places[known[::-1]] = np.arange(len(known) - 1, -1, -1, dtype=np.int32)
    doubled = len(known) - np.count_nonzero(places >= 0)
    if doubled:
        warning = f"{doubled} of {len(known)} items share an id with another; raise hash_bucket_size"
        if warning not in config.warnings:
            config.warnings.append(warning)
    return ItemTensors(features, buckets, tf.constant(places))
