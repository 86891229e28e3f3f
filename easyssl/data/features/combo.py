"""ComboFeature: ids of the combinations of several columns."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from easyssl.data.features.text import as_text, most, next_power_of_two, pad
from easyssl.data.features.types import FeatureSpec


class ComboTransform(tf.Module):
    """Combines one value of each column and hashes the combination.

    Without `combo_join_sep`, the hash is that of TensorFlow's crossed columns: the columns' 64-bit
    fingerprints, concatenated in order. An empty cell has no value there. With it, the values are joined to
    one text, an empty cell being the empty text, which is hashed as an IdFeature would be.

    A column with an entry in `combo_input_seps` holds several values: its cell is split at every character of
    that entry, empty pieces are dropped, and each choice of one value per column is a combination.

    Args:
        spec: The feature.
    """

    def __init__(self, spec: FeatureSpec):
        super().__init__(name="combo_feature")
        if spec.buckets is None:
            raise ValueError(f"feature '{spec.name}' needs a hash size")
        self.spec = spec
        self.size = spec.buckets.size
        self.separators = spec.combo_input_seps or ("",) * len(spec.inputs)

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns int64 `[batch]`, -1 where there is no combination; `[batch, n]` with `combo_input_seps`."""
        cells = [as_text(raw[name], self.spec.precision) for name in self.spec.inputs]
        ids = self._several(cells) if any(self.separators) else self._one(cells)
        return {self.spec.name: ids}

    def _one(self, cells: list[tf.Tensor]) -> tf.Tensor:
        if self.spec.combo_join_sep:
            return self._hash(tf.strings.join(cells, self.spec.combo_join_sep))
        ids = tf.sparse.cross_hashed([cell[:, tf.newaxis] for cell in cells], self.size).values
        missing = tf.reduce_any(tf.equal(tf.stack(cells), ""), axis=0)
        return tf.where(missing, -tf.ones_like(ids), ids)

    def _several(self, cells: list[tf.Tensor]) -> tf.Tensor:
        values = [self._values(*pair) for pair in zip(cells, self.separators, strict=True)]
        if self.spec.combo_join_sep:
            crossed = tf.sparse.cross(values, separator=self.spec.combo_join_sep)
            ids = self._hash(crossed.values)
        else:
            crossed = tf.sparse.cross_hashed(values, self.size)
            ids = crossed.values
        longest = most(tf.cast(crossed.indices[:, 1], tf.int32) + 1)
        return pad(crossed.indices, ids, [tf.shape(cells[0])[0], next_power_of_two(longest)], -1)

    def _values(self, cells: tf.Tensor, separators: str) -> tf.SparseTensor:
        """The values of a column, sparse for all of them: crossing would put dense ones behind the others."""
        if separators:
            pieces = tf.raw_ops.StringSplit(input=cells, delimiter=separators, skip_empty=True)
            return tf.SparseTensor(pieces.indices, pieces.values, pieces.shape)
        if not self.spec.combo_join_sep:
            return tf.sparse.from_dense(cells[:, tf.newaxis])
        rows = tf.range(tf.size(cells, tf.int64))
        return tf.SparseTensor(tf.stack([rows, tf.zeros_like(rows)], 1), cells, [tf.size(cells, tf.int64), 1])

    def _hash(self, texts: tf.Tensor) -> tf.Tensor:
        return tf.strings.to_hash_bucket_fast(texts, self.size)
