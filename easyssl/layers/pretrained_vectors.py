"""Tables from files of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.data.features.pretrained import rows_by_id
from easyssl.data.features.types import Buckets
from easyssl.data.item_vectors import read_vectors
from easyssl.errors import DataError


@keras.utils.register_keras_serializable(package="easyssl")
class PretrainedVectors(keras.initializers.Initializer):
    """Fills a table `[rows, dim]` with the vectors of a file; ids that it lacks get zeros.

    Of several ids with one hash the first one of the file counts.

    Args:
        path: The file; see `easyssl.data.item_vectors.read_vectors`.
        kind: How ids become rows: "hash", "vocabulary" or "integer".
        size: Number of rows.
        entries: The vocabulary, in the order of rows. Defaults to ().

    Raises:
        DataError: When called, if the file cannot be read or does not fit the table.

    Example:
        >>> PretrainedVectors("text.npz", "integer", 12102)((12102, 256)).shape  # doctest: +SKIP
        TensorShape([12102, 256])
    """

    def __init__(
        self,
        path: str,
        kind: Literal["hash", "vocabulary", "integer"],
        size: int,
        entries: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.buckets = Buckets(kind, size, entries=tuple(entries))

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        """Returns the table, or where it lies on several parameter servers, a part of it."""
        found = read_vectors(self.path)
        rows, dim = tuple(shape)
        if found.vectors.shape[1] != dim:
            raise DataError(f"{self.path}: has vectors of {found.vectors.shape[1]} numbers, expected {dim}")
        if rows != self.buckets.size:
            raise DataError(f"{self.path}: is for {self.buckets.size} ids, the table has {rows} rows")
        places = np.array(self._rows(found.ids), np.int64)
        table = np.zeros((rows, dim), np.float32)
        known = np.flatnonzero(places >= 0)[::-1]
        if not known.size:
            raise DataError(f"{self.path}: no id of it is one of the feature; the first is '{found.ids[0]}'")
        table[places[known]] = found.vectors[known]
        if kwargs.get("partition_shape") is not None:
            begin = kwargs["partition_offset"][0]
            table = table[begin : begin + kwargs["partition_shape"][0]]
        return tf.constant(table, tf.as_dtype(dtype or "float32"))

    def _rows(self, ids: list[str]) -> Any:
        if self.buckets.kind != "hash":
            return rows_by_id(self.buckets, ids)
        with tf.init_scope(), tf.device("/CPU:0"):
            return tf.strings.to_hash_bucket_fast(tf.constant(ids), self.buckets.size).numpy()

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        buckets = self.buckets
        return {
            "path": self.path,
            "kind": buckets.kind,
            "size": buckets.size,
            "entries": list(buckets.entries),
        }
