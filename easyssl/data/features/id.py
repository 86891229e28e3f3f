"""IdFeature: one id per row."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from easyssl.data.features.text import IdMap
from easyssl.data.features.types import FeatureSpec


class IdTransform(tf.Module):
    """Maps a cell to one id, or to -1 when it is missing.

    Missing is the empty string, and with `num_buckets` the number -1. (In a STRING column with
    `num_buckets` an empty cell is not a number, hence an error.)

    Args:
        spec: The feature.
    """

    def __init__(self, spec: FeatureSpec):
        super().__init__(name="id_feature")
        self.spec = spec
        self.ids = IdMap(spec.buckets, spec.precision)

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns `{name: int64 [batch]}`."""
        cells = raw[self.spec.inputs[0]]
        if self.ids.kind == "integer":
            if cells.dtype == tf.string:
                cells = tf.strings.to_number(cells, tf.int64)
            cells = tf.cast(cells, tf.int64)
            missing = tf.equal(cells, -1)
        elif cells.dtype == tf.string:
            missing = tf.equal(cells, "")
        else:
            return {self.spec.name: self.ids(cells)}
        ids = self.ids(cells)
        return {self.spec.name: tf.where(missing, -tf.ones_like(ids), ids)}
