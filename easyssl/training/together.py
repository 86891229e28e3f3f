"""Workers that train together: the same number of steps, the same decisions, one position in the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from easyssl.data.build import dataset_from_config
from easyssl.data.cursor import Cursor
from easyssl.errors import InputError, TrainingError
from easyssl.training.devices import Devices
from easyssl.training.pipeline import Batch, Share, Whole, filled


class Alone:
    """The batches of the only worker.

    Args:
        batches: Its batches.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches that have rows."""
        return filled(self._batches)

    def agree(self, facts: Mapping[str, bool]) -> dict[str, bool]:
        """Returns what holds for any worker; call it after each step."""
        return dict(facts)


class Together:
    """The batches of one of several workers, in step with the others.

    Before each step the workers tell each other whether they still have rows. A worker whose rows of an epoch
    are used up goes on with a dummy that does not count until the others' are, too; with `drop_remainder` the
    epoch ends for all when it ends for one. So the rows of a step are those that one worker would have in
    it. A worker whose batch has no row left takes part with a dummy as well, and a step without any row is
    passed over. An error in one worker ends all of them.

    Args:
        batches: This worker's batches.
        spare: Returns any batch of this worker that has rows, or None; asked when a dummy is needed before
            the first one.
        devices: Knows the others.
        start: The position before the first step, of all workers together.
        batch_rows: Rows of a full step, all workers together.
        drop_remainder: Whether steps that are not full are left out.
        file_shard: Whether each worker reads files of its own.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        spare: Callable[[], Batch | None],
        devices: Devices,
        start: Cursor,
        batch_rows: int,
        drop_remainder: bool = False,
        file_shard: bool = False,
    ) -> None:
        self.devices = devices
        self._source = iter(batches)
        self._spare = spare
        self._position = start
        self._batch_rows = batch_rows
        self._drop_remainder = drop_remainder
        self._file_shard = file_shard
        self._next: Batch | None = None
        self._last: Batch | None = None
        self._error: InputError | None = None
        self._keys: tuple[str, ...] = ()
        self._said: dict[str, float] | None = None

    def agree(self, facts: Mapping[str, bool]) -> dict[str, bool]:
        """Returns what holds for any worker, and learns whether the others have a next batch."""
        self._keys = tuple(facts)
        self._ask(facts)
        return {name: self._heard[name] > 0 for name in facts}

    def __iter__(self) -> Iterator[Batch]:
        """Yields a batch for each step of all workers.

        Raises:
            TrainingError: If another worker failed.
        """
        while True:
            if self._said is None:
                self._ask({})
            heard = self._heard
            if self._error is not None:
                raise self._error
            if heard["failed"]:
                raise TrainingError("another worker stopped with an error; see what it says")
            if not heard["more"]:
                return
            if heard["ready"] and heard["empty"]:
                raise TrainingError("there are more workers than can get rows; use fewer")
            self._said = None
            if heard["ready"] < (self.devices.workers if self._drop_remainder else 1):
                if self._in_epoch():
                    self._next = None
                self._position = Cursor(self._position.epoch + 1, data=self._position.data)
                continue
            batch = self._for_step(int(heard["rows"]), int(heard["weighted_rows"]))
            if heard["rows"]:
                yield batch

    @property
    def _heard(self) -> dict[str, float]:
        assert self._said is not None
        return self._said

    def _ask(self, facts: Mapping[str, bool]) -> None:
        self._look_ahead()
        ready = self._in_epoch()
        shares = self._next.shares if ready and self._next is not None else ()
        mine = {name: facts.get(name, False) for name in self._keys} | {
            "failed": self._error is not None,
            "more": self._next is not None,
            "empty": not self._has_rows() and self._last is None,
            "ready": ready,
            "rows": sum(share.rows for share in shares),
            "weighted_rows": sum(share.weighted_rows for share in shares),
        }
        self._said = self.devices.total(mine)

    def _look_ahead(self) -> None:
        if self._next is not None or self._error is not None:
            return
        try:
            self._next = next(self._source, None)
            if not self._has_rows() and self._last is None:
                self._last = self._spare()
        except InputError as error:
            self._error = error

    def _has_rows(self) -> bool:
        return self._next is not None and self._next.rows > 0

    def _in_epoch(self) -> bool:
        if self._next is None:
            return False
        cursor = self._next.raw.cursor
        return cursor.epoch - (cursor.batch == 0) == self._position.epoch

    def _for_step(self, rows: int, weighted_rows: int) -> Batch:
        last = self._position
        position = Cursor(last.epoch, last.batch + 1, last.rows + self._batch_rows, data=last.data)
        self._position = position  # counted in the same way by all workers
        if self._in_epoch() and self._next is not None:
            batch, self._next = self._next, None
            if not self._file_shard:
                position = whole_cursor(batch.raw.cursor, position)
            if batch.rows:
                self._last = batch
            else:
                batch = _dummy(self._last)
        else:
            batch = _dummy(self._last or self._next)
        return dataclasses.replace(batch, whole=Whole(rows, weighted_rows, position))


def _dummy(batch: Batch | None) -> Batch:
    """Returns a batch that keeps the devices busy and does not count."""
    assert batch is not None
    return dataclasses.replace(batch, shares=tuple(Share(share.inputs, 0, 0) for share in batch.shares))


def whole_cursor(cursor: Cursor, position: Cursor) -> Cursor:
    """Returns the position of all workers together after a step.

    Args:
        cursor: The position of worker 0, whose rows are the first of each step.
        position: The position of all workers together, as the number of steps alone gives it.

    Example:
        >>> whole_cursor(Cursor(batch=3, rows=12), Cursor(batch=3, rows=24)).rows
        24
    """
    if not cursor.batch:
        return Cursor(cursor.epoch, data=position.data)
    skip = None if cursor.start is None else position.rows - cursor.start.rows
    return dataclasses.replace(position, start=cursor.start, skip=skip)


def worker_cursor(cursor: Cursor, worker: int, workers: int, data: str) -> Cursor:
    """Returns the position of one of several workers; the inverse of `whole_cursor`.

    Args:
        cursor: The position of all workers together.
        worker: Number of this one.
        workers: Number of workers.
        data: What the position belongs to.
    """

    def own(rows: int) -> int:
        """Returns how many of the first rows of an epoch are this worker's."""
        return max(0, rows - worker + workers - 1) // workers

    rows = own(cursor.rows)
    skip = None if cursor.start is None else rows - own(cursor.start.rows)
    return dataclasses.replace(cursor, rows=rows, skip=skip, data=data)


class Order:
    """Where a worker begins, and how it keeps step with the others.

    Args:
        config: A `Config`.
        devices: The devices of all workers.
        dataset: This worker's data set.
        saved: The position in a checkpoint, of all workers together; None begins at the beginning.

    Attributes:
        start: Where this worker's data set has to begin.
    """

    def __init__(self, config: Any, devices: Devices, dataset: Any, saved: Cursor | None) -> None:
        self._data_config = config.message.data_config
        self._devices = devices
        self._dataset = dataset
        self._saved = saved
        self.start = saved
        if devices.workers > 1:
            shards = devices.workers if dataset.file_shard else 1
            whole = dataset_from_config(config, "train", num_workers=shards)
            fingerprint = whole.fingerprint()
            self._saved = Cursor(data=fingerprint) if saved is None else saved
            # A position that does not fit is left as it is: reading from it says so.
            if self._saved.data == fingerprint:
                self.start = worker_cursor(
                    self._saved, devices.worker, devices.workers, dataset.fingerprint()
                )

    def batches(self, prefetched: Iterable[Batch], prepare: Callable[[Any], Batch]) -> Alone | Together:
        """Returns the batches of each step.

        Args:
            prefetched: This worker's batches.
            prepare: Made them from what the data set gives.
        """
        if self._saved is None or self._devices.workers == 1:
            return Alone(prefetched)

        def spare() -> Batch | None:
            return next(filled(map(prepare, self._dataset.batches())), None)

        data = self._data_config
        return Together(
            prefetched,
            spare,
            self._devices,
            self._saved,
            data.batch_size,
            data.drop_remainder,
            data.file_shard,
        )
