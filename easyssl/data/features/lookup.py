"""LookupFeature: what a map cell holds under the key of another cell."""

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


class LookupTransform(tf.Module):
    """Selects the values of a map cell whose key is the key cell.

    The map is split at every character of `separator` into pieces `key <kv_separator> value`; a key may occur
    several times. An empty key cell selects nothing; more than `lookup_max_sel_elem_num` values are an error.

    Args:
        spec: The feature; its columns are the key and the map.
    """

    def __init__(self, spec: FeatureSpec):
        super().__init__(name="lookup_feature")
        self.spec = spec
        self.ids = IdMap(spec.buckets, spec.precision)

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the ids of the selected values, int64 `[batch, n]` padded with -1."""
        spec = self.spec
        wanted, maps = (as_text(raw[name], spec.precision) for name in spec.inputs)
        batch = tf.shape(maps)[0]
        places, pieces = split_any(maps, spec.separator)
        text = f"feature '{spec.name}': an entry of the map is not key{spec.kv_separator}value"
        keys, values = split_pairs(pieces, spec.kv_separator, text)
        selected = tf.equal(keys, tf.gather(wanted, places[:, 0])) & tf.not_equal(keys, "")
        places, values = tf.boolean_mask(places, selected), tf.boolean_mask(values, selected)
        counts = count_rows(places, batch)
        longest = most(counts)
        limit = spec.lookup_max_sel_elem_num
        check = tf.debugging.Assert(
            longest <= limit,
            [f"feature '{spec.name}': more than lookup_max_sel_elem_num {limit} values of one key"],
        )
        with tf.control_dependencies([check] if check is not None else []):
            ids = self.ids(values)
        rows = places[:, 0]
        first = tf.gather(tf.cumsum(counts, exclusive=True), rows)
        within = tf.range(tf.size(rows)) - first
        places = tf.stack([rows, tf.cast(within, tf.int64)], axis=1)
        return {spec.name: pad(places, ids, [batch, next_power_of_two(longest)], -1)}
