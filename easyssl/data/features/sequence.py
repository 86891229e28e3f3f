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
    most,
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
    rounded up by `length_buckets`; results do not depend on the amount of padding. Of a row with more than
    `max_seq_len` steps the first ones are kept, with `keep_last` the last ones.

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
        self.id_map = None
        self.boundaries: tuple[float, ...] = ()
        if spec.buckets is not None and spec.buckets.kind == "boundaries":
            self.boundaries = spec.buckets.boundaries
        elif spec.buckets is not None:
            self.id_map = IdMap(spec.buckets, spec.precision)
        self.any_text = spec.buckets is not None and spec.buckets.kind in ("hash", "vocabulary")
        self.scale = Scale(spec)

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the padded steps and `<name>/length` int32 `[batch]`.

        Ids are int64 `[batch, seq_len]` padded with -1 (`[batch, seq_len, n]` with `seq_multi_sep`), plain
        numbers float32 `[batch, sequence_length]` padded with 0.
        """
        spec = self.spec
        cells = as_text(raw[spec.inputs[0]], spec.precision)
        if spec.seq_multi_sep:
            return self._several_per_step(cells)
        empty = None
        if spec.empty_sequence == "NO_STEP":
            empty = tf.equal(cells, "")
            cells = tf.where(empty, tf.constant("0"), cells)  # anything that can be read, and is then cleared
        steps, lengths = self._numbers(cells) if spec.kind == "value_sequence" else self._ids(cells)
        if empty is not None:
            padding = tf.constant(-1 if steps.dtype == tf.int64 else 0, steps.dtype)
            steps = tf.where(empty[:, tf.newaxis], padding, steps)
            lengths = tf.where(empty, 0, lengths)
        return {spec.name: steps, f"{spec.name}/length": lengths}

    def _ids(self, cells: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        places, steps, columns = self._split(cells)
        if self.limit and not self.any_text and not self.spec.keep_last:
            # The unread rest of a long cell is no number. Dropping it copies all strings, so only if need be.
            places, steps = tf.cond(
                columns > self.limit, lambda: self._kept(places, steps), lambda: (places, steps)
            )
        padded = self._padded(columns)
        batch = tf.shape(cells)[0]
        ids = pad(places, self._to_ids(steps), [batch, tf.maximum(columns, padded)], -1)[:, :padded]
        return ids, tf.math.count_nonzero(ids >= 0, axis=1, dtype=tf.int32)

    def _split(self, cells: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Splits into steps; what lies behind the first `limit` steps may still be there, in one piece."""
        if not (self.limit and self.spec.keep_last):
            return split_whole(cells, self.spec.separator, self.limit)
        places, steps, columns = split_whole(cells, self.spec.separator)
        surplus = tf.maximum(count_rows(places, tf.shape(cells)[0]) - self.limit, 0)
        moved = places[:, 1] - tf.cast(tf.gather(surplus, places[:, 0]), tf.int64)
        keep = moved >= 0
        places = tf.stack([places[:, 0], moved], axis=1)
        return tf.boolean_mask(places, keep), tf.boolean_mask(steps, keep), tf.minimum(columns, self.limit)

    def _kept(self, places: tf.Tensor, steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        keep = places[:, 1] < self.limit
        return tf.boolean_mask(places, keep), tf.boolean_mask(steps, keep)

    def _to_ids(self, steps: tf.Tensor) -> tf.Tensor:
        if self.id_map is not None:
            return self.id_map(steps)
        return bucketize(self.scale(tf.strings.to_number(steps, tf.float32)), self.boundaries)

    def _padded(self, longest: tf.Tensor) -> tf.Tensor:
        padded = self.length_buckets(longest)
        return tf.minimum(padded, self.limit) if self.limit else padded

    def _numbers(self, cells: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spec = self.spec
        places, steps, columns = split_whole(cells, spec.separator)
        check = tf.debugging.Assert(
            columns <= spec.sequence_length,
            [f"feature '{spec.name}': a sequence is longer than sequence_length {spec.sequence_length}"],
        )
        with tf.control_dependencies([check] if check is not None else []):
            values = self.scale(tf.strings.to_number(steps, tf.float32))
        batch = tf.shape(cells)[0]
        return pad(places, values, [batch, spec.sequence_length], 0.0), count_rows(places, batch)

    def _several_per_step(self, cells: tf.Tensor) -> dict[str, tf.Tensor]:
        """A row ends with its last step that has a value, so an empty cell has length 0 anyway."""
        spec = self.spec
        batch = tf.shape(cells)[0]
        places, steps, _ = self._split(cells)
        if self.limit and not spec.keep_last:
            places, steps = self._kept(places, steps)
        inner, values = split_any(steps, spec.seq_multi_sep)
        places = tf.gather(places, inner[:, 0])
        lengths = tf.math.unsorted_segment_max(tf.cast(places[:, 1], tf.int32) + 1, places[:, 0], batch)
        lengths = tf.maximum(lengths, 0)
        values_per_step = next_power_of_two(most(tf.cast(inner[:, 1], tf.int32) + 1))
        places = tf.concat([places, inner[:, 1:]], axis=1)
        shape = [batch, self._padded(most(lengths)), values_per_step]
        return {spec.name: pad(places, self._to_ids(values), shape, -1), f"{spec.name}/length": lengths}
