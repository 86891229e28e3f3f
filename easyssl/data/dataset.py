"""Batches of raw rows: epochs, shuffling, sharding, and going on from any batch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from easyssl.data.cursor import Cursor, WindowStart
from easyssl.data.empty_targets import EmptyTargets
from easyssl.data.mixed_batches import MixedBatches
from easyssl.data.negatives import NegativeSampler, SampledRows
from easyssl.data.quarantine import BadRows
from easyssl.data.readers import Reader
from easyssl.data.sequence_split import SplitReader
from easyssl.data.windows import Rows, Window, concatenate, permutation, read_windows
from easyssl.errors import DataError

# Keys of what is drawn from the seed.
_ORDER_OF_FILES, _ORDER_OF_ROWS, _NEGATIVES = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """A batch as it was read.

    Attributes:
        columns: Name to array `[batch]`, see `rows.DTYPES`.
        lines: Line or record number of each row, `[batch]` int64.
        paths: File of each row, `[batch]` object array of str.
        cursor: The position after this batch.
        empty: Name to bool `[batch]`: cells that were empty and hold another value instead, see `rows.Chunk`.
        sampled: Items drawn as negatives, which are no rows of the batch; None without a sampler.
    """

    columns: Mapping[str, np.ndarray]
    lines: np.ndarray
    paths: np.ndarray
    cursor: Cursor
    empty: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    sampled: SampledRows | None = None

    def __len__(self) -> int:
        return len(self.lines)


class Dataset:
    """Rows of files in batches.

    The order is a function of the seed, the epoch and the files. With `shuffle`, each epoch has an order of
    the files and permutes rows within windows of whole chunks that hold at least `shuffle_buffer_size`
    rows. Workers that share files take turns row by row after shuffling, so the rows of n workers' batches
    number k together are those of batch k of one worker with n times the batch size.

    Args:
        reader: Reads one file.
        files: File names.
        batch_size: Rows per batch.
        shuffle: Whether to shuffle files and rows.
        shuffle_buffer_size: Rows in a window at least.
        seed: Start of the random streams.
        num_epochs: Passes over the files; 0 means endless.
        drop_remainder: Whether to leave out the last batch of an epoch if it is not full.
        worker_index: Which of the workers this is, from 0.
        num_workers: How many workers share the rows.
        file_shard: Whether workers split the files instead; each then reads only its own.
        bad_rows: Takes malformed rows; by default the first one raises.
        targets: Columns in which an empty cell is worth a warning: labels and weights.
        warn: Called with the warning, once for each of them; by default it goes to stderr.
        negatives: Draws further items for each batch; by default there are none.
        mixed: Column of which a batch of one value is worth a warning; by default there is none.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> dataset = Dataset(reader, ["a.csv"], 2, num_epochs=1)  # doctest: +SKIP
        >>> for batch in dataset.batches():  # doctest: +SKIP
        ...     print(batch.columns["user_id"], batch.cursor.rows)
    """

    def __init__(
        self,
        reader: Reader,
        files: Sequence[str],
        batch_size: int,
        *,
        shuffle: bool = False,
        shuffle_buffer_size: int = 0,
        seed: int = 2020,
        num_epochs: int = 1,
        drop_remainder: bool = False,
        worker_index: int = 0,
        num_workers: int = 1,
        file_shard: bool = False,
        bad_rows: BadRows | None = None,
        targets: Collection[str] = (),
        warn: Callable[[str], None] | None = None,
        negatives: NegativeSampler | None = None,
        mixed: str = "",
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size should be at least 1. Received: batch_size={batch_size}")
        if not 0 <= worker_index < num_workers:
            raise ValueError(
                f"worker_index should be from 0 to num_workers - 1. Received: worker_index={worker_index}, "
                f"num_workers={num_workers}"
            )
        if num_epochs < 0 or seed < 0:
            raise ValueError(
                f"num_epochs and seed should not be negative. Received: num_epochs={num_epochs}, seed={seed}"
            )
        self.reader = reader
        self.files = tuple(files)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.num_epochs = num_epochs
        self.drop_remainder = drop_remainder
        self.worker_index = worker_index
        self.num_workers = num_workers
        self.file_shard = file_shard
        self.bad_rows = BadRows() if bad_rows is None else bad_rows
        self.negatives = negatives
        self._empty_targets = EmptyTargets(targets, warn)
        self._mixed = MixedBatches(mixed, warn) if mixed else None
        self._min_rows = max(1, shuffle_buffer_size) if shuffle else 1

    def batches(self, cursor: Cursor | None = None) -> Iterator[RawBatch]:
        """Yields batches from a position on, exactly as they came after it before.

        Going on costs no more than reading the window that the position is in.

        Args:
            cursor: The cursor of the last batch that is not to come again. Default: the beginning.

        Raises:
            DataError: If a file cannot be read, a row is malformed and may not be skipped, there are no
                rows, or the cursor belongs to other files or settings.
        """
        cursor = cursor or Cursor()
        fingerprint = self.fingerprint()
        if cursor.data and cursor.data != fingerprint:
            raise DataError(
                "the saved position in the data does not fit: the files, their sizes, the seed, the settings "
                "for shuffling or the number of workers have changed; restore them or use --fresh"
            )
        cursor = dataclasses.replace(cursor, data=fingerprint)
        while not self.num_epochs or cursor.epoch < self.num_epochs:
            any_batch = cursor.rows > 0
            for batch in self._epoch(cursor):
                any_batch = True
                if self._mixed is not None:
                    values = batch.columns[self._mixed.column]
                    self._mixed.look(values, batch.paths[0], batch.lines[0])
                yield batch if self.negatives is None else self._with_negatives(batch, self.negatives)
            if not any_batch and (not self.num_epochs or self.drop_remainder):
                raise DataError(
                    f"worker {self.worker_index} of {self.num_workers} gets no batch from "
                    f"{_listed(self.files)}: too few rows or files for batches of {self.batch_size}"
                )
            cursor = Cursor(cursor.epoch + 1, data=fingerprint)

    def fingerprint(self) -> str:
        """Returns a short text that is the same as long as positions in the data mean the same."""
        size = getattr(self.reader, "size", _size)
        described = [
            [(os.path.basename(name), size(name)) for name in self.files],
            [type(self.reader).__name__, self.reader.block_size],
            [self.shuffle, self._min_rows, self.seed if self.shuffle else 0],
            [self.worker_index, self.num_workers, self.file_shard],
        ]
        if isinstance(self.reader, SplitReader):
            described.append(self.reader.describe())
        if self.negatives is not None:
            described.append(self.negatives.fingerprint())
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]

    def epoch_files(self, epoch: int) -> list[str]:
        """Returns the files that this worker reads in an epoch, in order."""
        files = list(self.files)
        if self.shuffle:
            files = [files[place] for place in permutation(len(files), self.seed, epoch, _ORDER_OF_FILES)]
        return files[self.worker_index :: self.num_workers] if self.file_shard else files

    def _epoch(self, cursor: Cursor) -> Iterator[RawBatch]:
        """Yields the rest of an epoch."""
        start = cursor.start or WindowStart()
        skip = cursor.to_skip()
        files = self.epoch_files(cursor.epoch)
        pending: list[Rows] = []
        waiting = 0
        any_rows = start.rows > 0
        for window in read_windows(self.reader, files, start, self._min_rows, self.bad_rows):
            any_rows = True
            self._empty_targets.look(window.rows)
            order = self._order(window, cursor.epoch)
            taken = min(skip, len(order))
            skip -= taken
            while waiting + len(order) - taken >= self.batch_size:
                count = self.batch_size - waiting
                pending.append(window.rows.take(order[taken : taken + count]))
                taken += count
                cursor = _advance(cursor, self.batch_size, window, taken, len(order))
                yield _batch(pending, cursor)
                pending, waiting = [], 0
            if taken < len(order):
                pending.append(window.rows.take(order[taken:]))
                waiting += len(order) - taken
        if pending and not self.drop_remainder:
            yield _batch(pending, Cursor(cursor.epoch + 1, data=cursor.data))
        if not any_rows and files:
            self._raise_empty()

    def _order(self, window: Window, epoch: int) -> np.ndarray:
        """Returns which rows of a window are this worker's, in the order in which they are drawn."""
        if self.shuffle:
            order = permutation(len(window.rows), self.seed, epoch, _ORDER_OF_ROWS, window.start.window)
        else:
            order = np.arange(len(window.rows))
        if self.num_workers > 1 and not self.file_shard:
            order = order[(self.worker_index - window.start.rows) % self.num_workers :: self.num_workers]
        return order

    def _with_negatives(self, batch: RawBatch, negatives: NegativeSampler) -> RawBatch:
        at = (batch.cursor.epoch, batch.cursor.batch, self.worker_index)
        return dataclasses.replace(batch, sampled=negatives.draw_for(batch.columns, _NEGATIVES, *at))

    def _raise_empty(self) -> None:
        found = f"{'has' if len(self.files) == 1 else 'have'} no"
        found += f" good rows ({self.bad_rows.total} malformed)" if self.bad_rows.total else " rows"
        raise DataError(f"{_listed(self.files)} {found}, expected at least one")


def _advance(cursor: Cursor, rows: int, window: Window, taken: int, count: int) -> Cursor:
    """Returns the cursor after a batch that ends with `taken` of a window's `count` rows."""
    start, skip = (window.start, taken) if taken < count else (window.end, 0)
    return Cursor(cursor.epoch, cursor.batch + 1, cursor.rows + rows, start, skip, cursor.data)


def _batch(pieces: Sequence[Rows], cursor: Cursor) -> RawBatch:
    rows = concatenate(pieces)
    return RawBatch(rows.columns, rows.lines, rows.paths, cursor, rows.empty)


def _listed(files: Sequence[str]) -> str:
    if not files:
        return "no files"
    more = len(files) - 1
    return f"{files[0]} and {more} more file{'s' if more > 1 else ''}" if more else files[0]


def _size(name: str) -> int:
    try:
        return os.path.getsize(name)
    except OSError as error:
        raise DataError(f"{name}: cannot be opened: {error.strerror}") from None
