"""A table of embeddings that is read, and trained, row by row."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.functional.xla import in_xla
from easyssl.layers.pretrained_vectors import PretrainedVectors

_AUTOCAST = "autocast" if hasattr(keras, "ops") else "experimental_autocast"

_unfilled = contextvars.ContextVar("unfilled", default=False)


@contextlib.contextmanager
def unfilled_tables() -> Iterator[None]:
    """Tables that are built inside of the `with` block have a shape and a name, and no memory and numbers.

    That is enough to check a config, however many rows its tables have. A model with such tables cannot be
    run. tf_keras only.

    Example:
        >>> with unfilled_tables():  # doctest: +SKIP
        ...     model = build_model(config)
    """
    token = _unfilled.set(True)
    try:
        yield
    finally:
        _unfilled.reset(token)


def _unfilled_variable(next_creator: Any, **kwargs: Any) -> tf.Variable:
    # TensorFlow makes these for models that it loads, and has no public name for them.
    from tensorflow.python.ops.resource_variable_ops import UninitializedVariable

    return UninitializedVariable(**kwargs)


@keras.utils.register_keras_serializable(package="easyssl")
class EmbeddingTable(keras.layers.Layer):
    """Looks ids up in a table `[rows, dim]`, which is trained unless `trainable=False`.

    A negative id is missing and yields zeros. An id that is not below `rows` reads row 0, the row of unknown
    values, so that CPU, GPU and XLA agree. The table is float32 and is read as float32 under every dtype
    policy; who uses the rows casts them. Its gradient is a `tf.IndexedSlices` of the rows that were read:
    padding a batch with missing ids changes neither the result nor the update. Where a graph reads the same
    ids in every step, such as all items of a corpus, and these are a run of at least half of the rows, the
    gradient is dense.

    Args:
        rows: Number of rows.
        dim: Width of a row.
        initializer: Keras initializer of the table; None is a truncated normal with standard deviation
            `0.01 / sqrt(dim)`. Defaults to None.

    Call arguments:
        ids: Integer tensor of any shape `[...]`.

    Returns:
        float32 tensor `[..., dim]`.

    Raises:
        ValueError: If `rows` or `dim` is not positive.

    Example:
        >>> table = EmbeddingTable(rows=10, dim=4)
        >>> table(tf.constant([[3, -1]])).shape
        TensorShape([1, 2, 4])
    """

    def __init__(self, rows: int, dim: int, initializer: Any = None, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if rows < 1 or dim < 1:
            raise ValueError(f"`rows` and `dim` must be positive. Received: rows={rows}, dim={dim}")
        self.rows = int(rows)
        self.dim = int(dim)
        if initializer is None:
            initializer = keras.initializers.TruncatedNormal(stddev=0.01 / math.sqrt(dim))
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: Any = None) -> None:
        """Creates the table; its shape does not depend on the input."""
        # A file is read whenever there is one, since only its numbers tell whether it fits.
        unfilled = _unfilled.get() and not isinstance(self.initializer, PretrainedVectors)
        with tf.variable_creator_scope(_unfilled_variable) if unfilled else contextlib.nullcontext():
            self.embeddings = self.add_weight(
                name="embeddings",
                shape=(self.rows, self.dim),
                dtype="float32",
                initializer=self.initializer,
                trainable=self.trainable,
                **{_AUTOCAST: False},  # mixed precision would otherwise cast the whole table on every read
            )
        self.built = True

    @property
    def fixed(self) -> bool:
        """Whether the rows come from a file and are not trained."""
        return isinstance(self.initializer, PretrainedVectors) and not self.trainable

    @property
    def variable(self) -> Any:
        """The table as a `tf.Variable`, which is what gradients are taken of under both Kerases."""
        return self.embeddings if isinstance(self.embeddings, tf.Variable) else self.embeddings.value

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Looks up."""
        ids = tf.cast(ids, tf.int64)
        known = None if tf.executing_eagerly() or self._in_parts else _constant(ids)
        if known is not None and _is_long_run(known, self.rows):
            return _run_of_rows(tf.convert_to_tensor(self.variable), int(known[0]), len(known))
        if ids.shape.rank == 2 and not in_xla():
            return self._valid_rows(ids)
        missing = ids < 0
        ids = tf.where(ids < self.rows, ids, tf.constant(0, tf.int64))
        # A missing id must read some row. It reads one that the batch reads anyway, so that its zero gradient
        # makes no further row look used to an optimizer that updates used rows only.
        stand_in = tf.maximum(tf.reduce_max(ids), 0)
        return _cleared(self._rows(tf.where(missing, stand_in, ids)), missing)

    def _valid_rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Looks up sequences, without reading anything for their padding."""
        places = tf.where(ids >= 0)
        valid = tf.gather_nd(ids, places)
        rows = self._rows(tf.where(valid < self.rows, valid, tf.constant(0, tf.int64)))
        shape = tf.concat([tf.shape(ids, out_type=tf.int64), [self.dim]], axis=0)
        return tf.ensure_shape(tf.scatter_nd(places, rows, shape), [*ids.shape, self.dim])

    @property
    def _in_parts(self) -> bool:
        """Whether its parts are on several parameter servers."""
        return hasattr(self.embeddings, "variables")

    def _rows(self, ids: tf.Tensor) -> tf.Tensor:
        if self._in_parts:
            return tf.nn.embedding_lookup(self.embeddings, ids)
        return tf.gather(self.variable, ids)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Appends `dim`."""
        return (*input_shape, self.dim)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        config = super().get_config()
        config.pop("dtype", None)
        initializer = keras.initializers.serialize(self.initializer)
        return {**config, "rows": self.rows, "dim": self.dim, "initializer": initializer}


def _cleared(rows: tf.Tensor, missing: tf.Tensor) -> tf.Tensor:
    """Returns `rows` `[..., dim]` with zeros where `missing` `[...]`.

    TensorFlow's own gradient of `where` looks for broadcasting in three times as many operations, which a
    model with hundreds of tables would build for each of them.
    """
    missing = tf.expand_dims(missing, -1)

    @tf.custom_gradient
    def clear(x: tf.Tensor) -> Any:
        zero = tf.constant(0.0, x.dtype)
        return tf.where(missing, zero, x), lambda upstream: tf.where(missing, zero, upstream)

    return clear(rows)


def _constant(ids: tf.Tensor) -> np.ndarray | None:
    """Returns ids that are the same whenever the graph runs, None for others."""
    while (found := tf.get_static_value(ids)) is None:
        # Or it is a tensor from outside of the function.
        outside = [outer for outer, inner in getattr(ids.graph, "captures", ()) if inner is ids]
        if not outside:
            return None
        ids = outside[0]
    return found


def _is_long_run(ids: np.ndarray, rows: int) -> bool:
    """Returns whether ids count up by one from an existing row, and are at least half of all."""
    if ids.ndim != 1 or 2 * len(ids) < rows or ids[0] < 0 or ids[-1] >= rows:
        return False
    return bool((np.diff(ids) == 1).all())


def _run_of_rows(matrix: tf.Tensor, first: int, count: int) -> tf.Tensor:
    """Returns rows that follow each other; unlike a slice's own gradient, this one is a single copy."""
    behind = matrix.shape[0] - first - count

    @tf.custom_gradient
    def run(x: tf.Tensor) -> Any:
        return x[first : first + count], lambda upstream: tf.pad(upstream, [[first, behind], [0, 0]])

    return run(matrix)


def create_tables(features: Iterable[Mapping[str, Any]]) -> dict[str, EmbeddingTable]:
    """Creates each table that the features name, once.

    Args:
        features: Descriptions as `group_features` returns them, of one group or of a whole model.

    Returns:
        Tables by the `table` of the features.

    Raises:
        ValueError: If two features name one table and differ in its shape.

    Example:
        >>> query = {"name": "query", "table": "word", "rows": 100, "dim": 8, "initializer": None}
        >>> sorted(create_tables([query, {**query, "name": "title"}]))
        ['word']
    """
    tables: dict[str, EmbeddingTable] = {}
    for feature in features:
        key = feature["table"]
        if key is None:
            continue
        shape = (feature["rows"], feature["dim"])
        if key not in tables:
            name = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in key)
            tables[key] = EmbeddingTable(*shape, **_content(feature), name=f"table_{name}")
        elif (tables[key].rows, tables[key].dim) != shape:
            table = tables[key]
            raise ValueError(
                f"feature '{feature['name']}' needs a table of {shape[0]} x {shape[1]}, but the table "
                f"'{key}' that it shares is {table.rows} x {table.dim}"
            )
    return tables


def _content(feature: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a table that tell what is in it and whether it is trained."""
    pretrained = feature.get("pretrained")
    if pretrained is None:
        return {"initializer": feature["initializer"]}
    given = dict(pretrained)
    return {"trainable": given.pop("trainable"), "initializer": PretrainedVectors(**given)}
