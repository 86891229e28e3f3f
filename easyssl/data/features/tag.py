"""TagFeature: any number of ids per row, each with a weight or without."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from easyssl.data.features.text import (
    IdMap,
    as_text,
    count_rows,
    most,
    next_power_of_two,
    pad,
    split_any,
    split_pairs,
)
from easyssl.data.features.types import FeatureSpec


class TagTransform(tf.Module):
    """Splits a cell at every character of `separator`; empty pieces are no tags.

    Weights stand behind each tag (`kv_separator`) or in a second column with as many pieces.

    Args:
        spec: The feature.
    """

    def __init__(self, spec: FeatureSpec):
        super().__init__(name="tag_feature")
        self.spec = spec
        self.ids = IdMap(spec.buckets, spec.precision)

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns int64 `[batch, n]` padded with -1, and float32 `<name>/weight` if weighted."""
        spec = self.spec
        cells = as_text(raw[spec.inputs[0]], spec.precision)
        batch = tf.shape(cells)[0]
        places, tags = split_any(cells, spec.separator)
        shape = [batch, next_power_of_two(most(count_rows(places, batch)))]
        weights = None
        if spec.kv_separator:
            text = f"feature '{spec.name}': a tag is not key{spec.kv_separator}weight"
            tags, numbers = split_pairs(tags, spec.kv_separator, text)
            weights = tf.strings.to_number(numbers, tf.float32)
        elif spec.weighted:
            weights = self._weight_column(raw[spec.inputs[1]], places)
        features = {spec.name: pad(places, self.ids(tags), shape, -1)}
        if weights is not None:
            features[f"{spec.name}/weight"] = pad(places, weights, shape, 0.0)
        return features

    def _weight_column(self, cells: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        if cells.dtype != tf.string:
            cells = tf.strings.as_string(cells)
        batch = tf.shape(cells)[0]
        weight_places, weights = split_any(cells, self.spec.separator)
        same = tf.equal(count_rows(places, batch), count_rows(weight_places, batch))
        check = tf.debugging.Assert(
            tf.reduce_all(same), [f"feature '{self.spec.name}': a row has not as many weights as tags"]
        )
        with tf.control_dependencies([check] if check is not None else []):
            return tf.strings.to_number(weights, tf.float32)
