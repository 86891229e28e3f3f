"""RawFeature: a number, or a vector of numbers."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from easyssl.data.features.text import bucketize, count_rows, pad, split_any
from easyssl.data.features.types import FeatureSpec


class Scale:
    """Scales numbers: min and max first, then the normalizer, as float32.

    Args:
        spec: The feature.
    """

    def __init__(self, spec: FeatureSpec):
        self.low = spec.min_val
        self.range = spec.max_val - spec.min_val
        self.normalizer = None
        if spec.normalizer:
            from easyssl.config.expressions import parse_expression

            self.normalizer = parse_expression(spec.normalizer)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the scaled values, of the same shape."""
        if self.range > 0:
            values = (values - self.low) / self.range
        if self.normalizer is not None:
            values = tf.cast(self.normalizer(values), tf.float32)
        return values


class RawTransform(tf.Module):
    """Reads the numbers of a cell, scales them and, where asked, turns them into bucket ids.

    Vector cells are split at every character of `separator`. Missing trailing numbers are 0; more than
    `raw_input_dim` are an error. With `seq_multi_sep` a cell holds several vectors, which `combiner`
    merges element by element.

    Args:
        spec: The feature.
    """

    def __init__(self, spec: FeatureSpec):
        super().__init__(name="raw_feature")
        self.spec = spec
        self.scale = Scale(spec)

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns `{name: float32 [batch, raw_input_dim]}`, or int64 row numbers when there are buckets."""
        spec = self.spec
        cells = raw[spec.inputs[0]]
        if cells.dtype != tf.string:
            values = tf.cast(cells, tf.float32)[:, tf.newaxis]
        elif spec.seq_multi_sep:
            values = self._merge_vectors(cells)
        else:
            values = self._vectors(cells)
        values = self.scale(values)
        if spec.buckets is None:
            return {spec.name: values}
        ids = bucketize(values, spec.buckets.boundaries)
        offsets = tf.range(spec.raw_input_dim, dtype=tf.int64) * spec.buckets.size
        return {spec.name: ids + offsets}

    def _vectors(self, cells: tf.Tensor) -> tf.Tensor:
        """Strings `[n]` to float32 `[n, raw_input_dim]`."""
        places, pieces = split_any(cells, self.spec.separator)
        rows = tf.shape(cells)[0]
        longest = tf.reduce_max(count_rows(places, rows))
        check = tf.debugging.Assert(
            longest <= self.spec.raw_input_dim,
            [f"feature '{self.spec.name}': more than raw_input_dim {self.spec.raw_input_dim} numbers"],
        )
        with tf.control_dependencies([check] if check is not None else []):
            values = tf.strings.to_number(pieces, tf.float32)
        return pad(places, values, [rows, self.spec.raw_input_dim], 0.0)

    def _merge_vectors(self, cells: tf.Tensor) -> tf.Tensor:
        """Strings `[batch]` of several vectors each to float32 `[batch, raw_input_dim]`; no vector is 0."""
        places, texts = split_any(cells, self.spec.seq_multi_sep)
        vectors, owner, batch = self._vectors(texts), places[:, 0], tf.shape(cells)[0]
        if self.spec.combiner in ("max", "min"):
            merge = getattr(tf.math, f"unsorted_segment_{self.spec.combiner}")
            empty = tf.equal(count_rows(places, batch), 0)[:, tf.newaxis]
            merged = merge(vectors, owner, batch)
            return tf.where(empty, tf.zeros_like(merged), merged)
        total = tf.math.unsorted_segment_sum(vectors, owner, batch)
        if self.spec.combiner == "sum":
            return total
        count = tf.cast(count_rows(places, batch), tf.float32)[:, tf.newaxis]
        return tf.math.divide_no_nan(total, count)
