"""TensorFlow ops on cells: numbers as text, text as ids, pieces as padded rows."""

from __future__ import annotations

import tensorflow as tf

from easyssl.data.features.types import Buckets


def as_text(values: tf.Tensor, precision: int = -1) -> tf.Tensor:
    """Returns strings unchanged and numbers in decimal, floats with `precision` digits after the point."""
    if values.dtype == tf.string:
        return values
    if values.dtype.is_floating:
        return tf.strings.as_string(values, precision=precision)
    return tf.strings.as_string(values)


class IdMap(tf.Module):
    """Maps values to ids as `Buckets` say; an unknown value gets id 0, as in the config language.

    The vocabulary lives in the graph, so that an exported model needs no file.

    Args:
        buckets: Of kind `"hash"`, `"vocabulary"` or `"integer"`.
        precision: Digits after the point when floats are read as text.

    Raises:
        ValueError: If there are no buckets.

    Example:
        >>> IdMap(Buckets("hash", 1000))(tf.constant(["a", "1", ""])).numpy().tolist()
        [939, 849, 263]
    """

    def __init__(self, buckets: Buckets | None, precision: int = -1):
        super().__init__(name="id_map")
        if buckets is None:
            raise ValueError("ids need buckets, such as a hash size or a vocabulary")
        self.kind = buckets.kind
        self.size = buckets.size
        self.precision = precision
        if self.kind == "vocabulary":
            keys = tf.constant(buckets.entries, tf.string)
            ids = tf.range(self.size, dtype=tf.int64)
            self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, ids), 0)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Returns int64 ids of the shape of `values`, all in `[0, size)`."""
        if self.kind == "integer":
            if values.dtype == tf.string:
                values = tf.strings.to_number(values, tf.int64)
            values = tf.cast(values, tf.int64)
            return tf.where((values >= 0) & (values < self.size), values, tf.zeros_like(values))
        text = as_text(values, self.precision)
        if self.kind == "vocabulary":
            return self.table.lookup(text)
        return tf.strings.to_hash_bucket_fast(text, self.size)


def bucketize(values: tf.Tensor, boundaries: tuple[float, ...]) -> tf.Tensor:
    """Returns the number of boundaries that are at most each value, int64."""
    return tf.cast(tf.raw_ops.Bucketize(input=values, boundaries=list(boundaries)), tf.int64)


def split_any(cells: tf.Tensor, separators: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits at every single character of `separators`; empty pieces are dropped.

    Returns:
        The place `[pieces, 2]` (row, position in the row) and the text `[pieces]` of each piece.
    """
    pieces = tf.raw_ops.StringSplit(input=cells, delimiter=separators, skip_empty=True)
    return pieces.indices, pieces.values


def split_whole(cells: tf.Tensor, separator: str, limit: int = 0) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Splits at every occurrence of `separator`; empty pieces are kept, so `""` is one piece.

    Args:
        cells: Strings `[batch]`.
        separator: One or more characters.
        limit: Split off the first `limit` pieces of each cell and leave the rest, if any, in one further
            piece; 0 splits all.

    Returns:
        Places and pieces as for `split_any`, and the largest number of pieces, an int32 scalar.
    """
    pieces = tf.raw_ops.StringSplitV2(input=cells, sep=separator, maxsplit=limit if limit else -1)
    return pieces.indices, pieces.values, tf.cast(pieces.shape[1], tf.int32)


def split_pairs(pieces: tf.Tensor, separator: str, text: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits pieces into two at `separator`.

    Args:
        pieces: Strings `[pieces]`.
        separator: One or more characters; each piece has exactly one.
        text: What the error says about a piece that has not.

    Returns:
        What stands before and behind it, both `[pieces]`.
    """
    parts = tf.strings.split(pieces, separator)
    check = tf.debugging.Assert(tf.reduce_all(tf.equal(parts.row_lengths(), 2)), [text])
    with tf.control_dependencies([check] if check is not None else []):
        pairs = tf.reshape(parts.flat_values, [-1, 2])
    return pairs[:, 0], pairs[:, 1]


def count_rows(places: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """Returns how many pieces each row has, int32 `[batch]`."""
    ones = tf.ones_like(places[:, 0], tf.int32)
    return tf.math.unsorted_segment_sum(ones, places[:, 0], batch)


def most(counts: tf.Tensor) -> tf.Tensor:
    """Returns the largest of int32 `counts`, 0 if there is none."""
    return tf.maximum(tf.reduce_max(counts), 0)


def pad(places: tf.Tensor, values: tf.Tensor, shape: list, fill: float | int) -> tf.Tensor:
    """Puts each value at its place in a tensor of `shape` that is `fill` elsewhere."""
    return tf.raw_ops.SparseToDense(
        sparse_indices=places,
        output_shape=tf.cast(tf.stack(shape), tf.int64),
        sparse_values=values,
        default_value=tf.constant(fill, values.dtype),
        validate_indices=False,
    )


def next_power_of_two(size: tf.Tensor) -> tf.Tensor:
    """Rounds an int32 scalar up to 1, 2, 4, 8, ..., so that few different shapes occur."""
    powers = tf.constant([1 << step for step in range(31)], tf.int32)
    return tf.reduce_min(tf.where(powers >= size, powers, tf.constant(1 << 30)))


class LengthBuckets:
    """Rounds the length of a batch's longest row up, so that few different shapes occur.

    Args:
        boundaries: Increasing lengths. Beyond the last one, and without any, multiples of 8.

    Example:
        >>> int(LengthBuckets()(tf.constant(9))), int(LengthBuckets((10, 50))(tf.constant(11)))
        (16, 50)
    """

    def __init__(self, boundaries: tuple[int, ...] = ()):
        self.boundaries = tuple(boundaries)
        if any(b <= 0 for b in self.boundaries) or list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError(f"length buckets must be positive and increasing; got {self.boundaries}")

    def __call__(self, longest: tf.Tensor) -> tf.Tensor:
        """Returns the padded length, int32 and at least 1, for the length of the longest row."""
        longest = tf.maximum(tf.cast(longest, tf.int32), 1)
        rounded = (longest + 7) // 8 * 8
        if not self.boundaries:
            return rounded
        boundaries = tf.constant(self.boundaries, tf.int32)
        place = tf.searchsorted(boundaries, longest[tf.newaxis])[0]
        within = tf.minimum(place, len(self.boundaries) - 1)
        return tf.where(place < len(self.boundaries), boundaries[within], rounded)
