"""The data set that a config describes."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from easyssl.data.dataset import Dataset
from easyssl.data.from_config import (
    MODES,
    bad_rows_from_config,
    check_supported,
    columns_from_config,
    input_files,
    make_reader,
)
from easyssl.data.mixed_batches import mixed_column
from easyssl.data.sampler_config import sampler_from_config
from easyssl.data.sequence_split import SplitReader, split_columns, split_from_config

if TYPE_CHECKING:
    from easyssl.config import Config


def dataset_from_config(
    config: Config,
    mode: str,
    paths: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    needed: Collection[str] | None = None,
    worker_index: int = 0,
    num_workers: int = 1,
    quarantine: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Returns the data set that a config describes.

    Args:
        config: The config; `data_config` and the input paths are read.
        mode: `"train"` (shuffled, `num_epochs` passes), `"evaluate"` or `"predict"` (one pass in the files'
            order; when predicting, labels and the sample weight may be missing).
        paths: Files instead of the config's, see `files.expand_files`; relative to the current folder.
        columns: Names of the columns to read. Default: all of `input_fields`.
        needed: Names of the columns that files must have, as far as their format names columns. Default: all,
            when predicting all but labels and the sample weight.
        worker_index: Which of the workers this is.
        num_workers: How many workers share the rows; each batch of `data_config.batch_size` rows is divided
            among them.
        quarantine: File for skipped rows.

    Raises:
        ConfigError: If the config names no reader of ours, or a setting does not fit.
        DataError: If no file matches.

    Example:
        >>> dataset = dataset_from_config(config, "train")  # doctest: +SKIP
    """
    if mode not in MODES:
        raise ValueError(f"mode should be one of {', '.join(MODES)}. Received: mode={mode!r}")
    data = config.message.data_config
    training = mode == "train"
    if data.batch_size < 1:
        raise config.error("data_config.batch_size", "found 0, expected at least 1")
    if data.shuffle_buffer_size < 0:
        raise config.error(
            "data_config.shuffle_buffer_size", f"found {data.shuffle_buffer_size}, expected at least 0"
        )
    check_supported(config)
    declared = columns_from_config(config, mode, needed)
    negatives = sampler_from_config(config, mode, declared, columns)
    if negatives is not None and columns is not None:
        columns = list(dict.fromkeys([*columns, *negatives.read_columns]))
    mixed = mixed_column(config) if training else ""
    if mixed and columns is not None:
        columns = list(dict.fromkeys([*columns, mixed]))
    split = split_from_config(config, mode)
    if split is None:
        reader = make_reader(config, declared, select=columns)
    else:
        whole = make_reader(config, declared, select=split_columns(split, columns))
        reader = SplitReader(whole, split, columns)
    return Dataset(
        reader,
        input_files(config, mode, paths),
        data.batch_size // num_workers,
        shuffle=training and data.shuffle,
        shuffle_buffer_size=data.shuffle_buffer_size,
        seed=config.message.train_config.seed,
        num_epochs=data.num_epochs if training else 1,
        drop_remainder=training and data.drop_remainder,
        worker_index=worker_index,
        num_workers=num_workers,
        file_shard=data.file_shard,
        bad_rows=bad_rows_from_config(config, quarantine),
        targets=() if mode == "predict" else [*data.label_fields, data.sample_weight],
        negatives=negatives,
        mixed=mixed,
    )
