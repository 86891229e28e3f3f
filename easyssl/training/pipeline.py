"""Batches made ready by a thread while the model works on the ones before."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
import tensorflow as tf

from easyssl.backbone.plan_lengths import sequence_limits
from easyssl.data.cursor import Cursor
from easyssl.data.negatives import with_sampled
from easyssl.data.quarantine import BadRows
from easyssl.errors import DataError, InputError
from easyssl.training.labels import Labels, place

In = TypeVar("In")
Out = TypeVar("Out")


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of a batch that one of several devices works on.

    Attributes:
        inputs: Its tensors, see `step.inputs_of`.
        rows: Number of rows that count; 0 for rows that only keep the device busy.
        weighted_rows: Those of them whose weight is not 0.
    """

    inputs: dict[str, Any]
    rows: int
    weighted_rows: int


@dataclasses.dataclass(frozen=True)
class Whole:
    """What the batches of all workers for one step are together.

    Attributes:
        rows: Number of rows.
        weighted_rows: Those of them whose weight is not 0.
        cursor: The position in the data after them.
    """

    rows: int
    weighted_rows: int
    cursor: Cursor


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch that is ready for the model.

    Attributes:
        raw: The rows as they were read, with the position after them in `raw.cursor`.
        features: Transformed features by name; those of items have further rows if there are negatives.
        labels: `[batch]` by label column; empty when predicting.
        weights: `[batch]` float32; None without a weight column.
        shares: What each device works on, if there are several.
        whole: What the step is made of if there are several workers.
    """

    raw: Any
    features: dict[str, tf.Tensor]
    labels: dict[str, tf.Tensor]
    weights: tf.Tensor | None
    shares: tuple[Share, ...] = ()
    whole: Whole | None = None

    @property
    def rows(self) -> int:
        """Number of rows; 0, and then no features either, if none of those that were read could stay."""
        return len(self.raw.lines)

    @property
    def step_rows(self) -> int:
        """Number of rows of the step, those of other workers included."""
        return self.rows if self.whole is None else self.whole.rows

    @property
    def cursor(self) -> Cursor:
        """The position in the data after the step."""
        return self.raw.cursor if self.whole is None else self.whole.cursor


@dataclasses.dataclass(frozen=True)
class TooLong:
    """A sequence that is longer than a layer takes.

    Attributes:
        row: Place in the batch, from 0.
        feature: Name of the feature.
        cells: Its number of steps.
        limit: What sets the limit.
    """

    row: int
    feature: str
    cells: int
    limit: str

    def __str__(self) -> str:
        found = f"feature '{self.feature}': a sequence of {self.cells} steps"
        return f"{found}, but {self.limit}; set max_seq_len"


class Preparation:
    """Turns raw batches into batches: the feature transform, the labels and the weights.

    Args:
        transform: A `FeatureTransform`.
        labels: Which columns are labels and weights, or None when predicting.
        bad_rows: Says whether rows with a cell that a feature or a layer cannot read may be left out, and
            counts them. None raises at the first one.
        limits: The longest sequence that the model takes, by feature; see
            `easyssl.backbone.plan_lengths.sequence_limits`.
    """

    def __init__(
        self,
        transform: Any,
        labels: Labels | None,
        bad_rows: BadRows | None = None,
        limits: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.bad_rows = bad_rows
        self.limits = {name: limit for name, limit in limits.items() if not limit.cuts}
        self.transform = transform
        self.labels = labels
        self._compiled = transform.compiled()

    @classmethod
    def for_model(cls, model: Any, labels: Labels | None, bad_rows: BadRows | None = None) -> Preparation:
        """Makes the preparation of a model's batches.

        Args:
            model: A model with `transform`, `plan` and `specs`.
            labels: Which columns are labels and weights, or None when predicting.
            bad_rows: See the class.
        """
        transform = model.transform if labels is None else model.training_transform
        return cls(transform, labels, bad_rows, sequence_limits(model.plan, model.specs))

    def signature(self) -> dict[str, tf.TensorSpec]:
        """Returns the type and shape of each feature; the batch and the length of sequences are open."""
        return self.transform.output_signature()

    def __call__(self, raw: Any) -> Batch:
        """Prepares one batch; one of which no row stays has nothing but its position.

        Raises:
            DataError: If a cell is not what its feature or label needs; the message names file and line.
        """
        with tf.device("/CPU:0"):
            features = None
            while features is None:
                if not len(raw.lines):
                    return Batch(raw, {}, {}, None)
                try:
                    features = self._features(raw)
                    bad = self._too_long(features)
                    if bad is not None:
                        features, raw = None, self._without(raw, bad)
                except tf.errors.InvalidArgumentError:
                    bad = self.transform.find_bad_cell(_columns(raw))
                    if bad is None:
                        raise
                    raw = self._without(raw, bad)
            if self.labels is None:
                return Batch(raw, features, {}, None)
            labels = {name: tf.constant(value) for name, value in self.labels.labels(raw).items()}
            weights = self.labels.weights(raw)
            return Batch(raw, features, labels, None if weights is None else tf.constant(weights))

    def _features(self, raw: Any) -> dict[str, tf.Tensor]:
        columns = _columns(raw)
        signature = self.transform.signature()
        return self._compiled(
            {name: tf.convert_to_tensor(columns[name], spec.dtype) for name, spec in signature.items()}
        )

    def _too_long(self, features: Mapping[str, tf.Tensor]) -> TooLong | None:
        """Returns the first sequence that is longer than a layer takes."""
        for name, limit in self.limits.items():
            lengths = features[f"{name}/length"].numpy()
            row = int(np.argmax(lengths > limit.limit)) if len(lengths) else 0
            if len(lengths) and lengths[row] > limit.limit:
                return TooLong(row, name, int(lengths[row]), str(limit))
        return None

    def _without(self, raw: Any, bad: Any) -> Any:
        """Returns the batch without a row that may be left out."""
        sampled = bad.row >= len(raw.lines)
        if sampled or self.bad_rows is None or self.bad_rows.policy == "raise":
            raise DataError(f"{place(raw, bad.row)}: {bad}")
        path, line = str(raw.paths[bad.row]), int(raw.lines[bad.row])
        self.bad_rows.add(path, line, "bad_cell", repr(bad.cells), str(bad))
        kept = np.arange(len(raw.lines)) != bad.row
        columns = {name: np.asarray(column)[kept] for name, column in raw.columns.items()}
        lines, paths = np.asarray(raw.lines)[kept], np.asarray(raw.paths)[kept]
        left = dataclasses.replace(raw, columns=columns, lines=lines, paths=paths)
        if getattr(raw, "sampled", None) is None:
            return left
        return dataclasses.replace(left, sampled=raw.sampled.without(bad.row))


def filled(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yields the batches that have rows; the next one's position is behind those that are passed over.

    Args:
        batches: Prepared batches, in the order of the data.

    Raises:
        DataError: If a full pass over the data has no row to train on.
    """
    first: int | None = None
    for batch in batches:
        if batch.rows:
            first = None
            yield batch
        elif first is None:
            first = batch.cursor.epoch
        elif batch.cursor.epoch > first + 1:
            raise DataError("all rows of the data are malformed, and data_config.malformed_rows is SKIP")


def _columns(raw: Any) -> dict[str, np.ndarray]:
    return with_sampled(raw.columns, getattr(raw, "sampled", None))


class Prefetcher(Generic[In, Out]):
    """Iterates over prepared items that a thread makes ahead of time.

    An error in the thread is raised by the iteration, at the place of the item that failed. Leaving the
    `with` block ends the thread, also in the middle of the data.

    Args:
        source: What to prepare, in order.
        prepare: Makes an item ready; runs in the thread.
        capacity: How many items may wait.

    Example:
        >>> with Prefetcher(range(3), lambda x: x * x, capacity=2) as items:
        ...     list(items)
        [0, 1, 4]
    """

    def __init__(self, source: Iterable[In], prepare: Callable[[In], Out], capacity: int) -> None:
        self._source = source
        self._prepare = prepare
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(max(1, capacity))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)

    def __enter__(self) -> Prefetcher[In, Out]:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the thread and waits for it."""
        self._closed.set()
        while self._thread.is_alive():
            try:  # a thread that waits for room in the queue
                self._queue.get_nowait()
            except queue.Empty:
                pass
            self._thread.join(timeout=0.01)

    def __iter__(self) -> Iterator[Out]:
        """Yields the prepared items."""
        while True:
            kind, value = self._queue.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value

    def _run(self) -> None:
        try:
            for item in self._source:
                if self._closed.is_set():
                    return
                self._put("item", self._prepare(item))
            self._put("end", None)
        except InputError as error:
            self._put("error", error.with_traceback(None))
        except BaseException as error:
            self._put("error", error)

    def _put(self, kind: str, value: Any) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put((kind, value), timeout=0.1)
                return
            except queue.Full:
                continue
