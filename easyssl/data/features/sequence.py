"""SequenceFeature: an ordered history of ids or numbers per row."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from easyssl.data.features.raw import Scale
from easyssl.data.features.text import (
    IdMap,
    LengthBuckets,
    as_text,
    bucketize,
    count_rows,
    next_power_of_two,
    pad,
    split_any,
    split_whole,
)
from easyssl.data.features.types import FeatureSpec


class SequenceTransform(tf.Module):
    """Splits a cell into steps at the whole `separator`; empty steps count.

    An empty cell is one step, the empty string, as in the config language; with
    `empty_sequence: NO_STEP` it has no step. Rows are padded on the right to the batch's longest row,
    rounded up by `length_buckets`; results do not depend on the amount of padding.

    Args:
        spec: The feature.
        length_buckets: How the padded length is rounded up.
    """

    def __init__(self, spec: FeatureSpec, length_buckets: LengthBuckets | None = None):
        super().__init__(name="sequence_feature")
        self.spec = spec
        self.length_buckets = length_buckets or LengthBuckets()
        # A pooled sequence is pooled whole; max_seq_len concerns sequences that stay sequences.
        self.limit = 0 if spec.sequence_combiner else spec.max_seq_len
        self.ids = None
        if spec.buckets is not None and spec.buckets.kind != "boundaries":
            self.ids = IdMap(spec.buckets, spec.precision)
        self.scale = Scale(spec)

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the padded steps and `<name>/length` int32 `[batch]`.

        Ids are int64 `[batch, seq_len]` padded with -1 (`[batch, seq_len, n]` with `seq_multi_sep`), plain
        numbers float32 `[batch, sequence_length]` padded with 0.
        """
        spec = self.spec
        cells = as_text(raw[spec.inputs[0]], spec.precision)
        batch = tf.shape(cells)[0]
        if self.ids is not None and self.ids.kind != "integer" and not spec.seq_multi_sep:
            return self._text_steps(cells, batch)
        places, steps = split_whole(cells, spec.separator, self.limit)
        if spec.empty_sequence == "NO_STEP":
            full = tf.gather(tf.not_equal(cells, ""), places[:, 0])
            places, steps = tf.boolean_mask(places, full), tf.boolean_mask(steps, full)
        if spec.kind == "value_sequence":
            return self._numbers(places, steps, batch)
        if spec.seq_multi_sep:
            return self._several_per_step(places, steps, batch)
        lengths = count_rows(places, batch)
        ids = pad(places, self._to_ids(steps), [batch, self._padded(lengths)], -1)
        return {spec.name: ids, f"{spec.name}/length": lengths}

    def _text_steps(self, cells: tf.Tensor, batch: tf.Tensor) -> dict[str, tf.Tensor]:
        """The fast way for steps that any text is good for: unwanted steps are mapped, then cut away.

        Dropping them first would copy every string of the batch once more.
        """
        spec = self.spec
        pieces = tf.raw_ops.StringSplitV2(
            input=cells, sep=spec.separator, maxsplit=self.limit if self.limit else -1
        )
        columns = tf.cast(pieces.shape[1], tf.int32)
        padded = self._padded(columns)
        ids = pad(pieces.indices, self._to_ids(pieces.values), [batch, tf.maximum(columns, padded)], -1)
        ids = ids[:, :padded]
        if spec.empty_sequence == "NO_STEP":
            ids = tf.where(tf.equal(cells, "")[:, tf.newaxis], -tf.ones_like(ids), ids)
        lengths = tf.math.count_nonzero(ids >= 0, axis=1, dtype=tf.int32)
        return {spec.name: ids, f"{spec.name}/length": lengths}

    def _to_ids(self, steps: tf.Tensor) -> tf.Tensor:
        if self.ids is not None:
            return self.ids(steps)
        return bucketize(self.scale(tf.strings.to_number(steps, tf.float32)), self.spec.buckets.boundaries)

    def _padded(self, lengths: tf.Tensor) -> tf.Tensor:
        """Rounds up the longest of `lengths`, which may be one number."""
        longest = tf.reduce_max(tf.concat([tf.reshape(lengths, [-1]), [0]], 0))
        padded = self.length_buckets(longest)
        return tf.minimum(padded, self.limit) if self.limit else padded

    def _numbers(self, places: tf.Tensor, steps: tf.Tensor, batch: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = self.spec
        lengths = count_rows(places, batch)
        check = tf.debugging.Assert(
            tf.reduce_all(lengths <= spec.sequence_length),
            [f"feature '{spec.name}': a sequence is longer than sequence_length {spec.sequence_length}"],
        )
        with tf.control_dependencies([check] if check is not None else []):
            values = self.scale(tf.strings.to_number(steps, tf.float32))
        values = pad(places, values, [batch, spec.sequence_length], 0.0)
        return {spec.name: values, f"{spec.name}/length": lengths}

    def _several_per_step(
        self, places: tf.Tensor, steps: tf.Tensor, batch: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """A row ends with its last step that has a value."""
        spec = self.spec
        inner, values = split_any(steps, spec.seq_multi_sep)
        places = tf.gather(places, inner[:, 0])
        lengths = tf.math.unsorted_segment_max(tf.cast(places[:, 1], tf.int32) + 1, places[:, 0], batch)
        lengths = tf.maximum(lengths, 0)
        most = tf.reduce_max(tf.concat([tf.cast(inner[:, 1], tf.int32) + 1, [0]], 0))
        places = tf.concat([places, inner[:, 1:]], axis=1)
        shape = [batch, self._padded(lengths), next_power_of_two(most)]
        return {spec.name: pad(places, self._to_ids(values), shape, -1), f"{spec.name}/length": lengths}
