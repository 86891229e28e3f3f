"""What the commands do with a trained model: restore, predict, export."""

from __future__ import annotations

import argparse
import itertools
import pathlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from easyssl.cli.files import replacing, suffix_of
from easyssl.cli.row_writer import CsvWriter, ParquetWriter, RowWriter, joined
from easyssl.data.build import dataset_from_config
from easyssl.data.from_config import columns_from_config, separator_from_config
from easyssl.errors import DataError, InputError, UsageError
from easyssl.export.exporter import export_model
from easyssl.export.saved_model import Exported
from easyssl.training.evaluate import predict
from easyssl.training.trained import TrainedModel, load_trained

if TYPE_CHECKING:
    from easyssl.config import Config

_SAMPLE_ROWS = 7


def restore(config: Config, args: argparse.Namespace) -> TrainedModel:
    """Builds the model of a config and gives it the weights of the checkpoint that the command line names.

    Args:
        config: The config.
        args: With `checkpoint` and `allow_config_change`, see `add_checkpoint_arguments`.

    Raises:
        CheckpointError: If there is no checkpoint, or it is another model's.
    """
    trained = load_trained(
        config, args.checkpoint, best=args.best, allow_config_change=args.allow_config_change
    )
    print(f"using {trained.path}", file=sys.stderr)
    return trained


def write_predictions(config: Config, model: Any, files: str, output: pathlib.Path, prefix: str = "") -> int:
    """Writes the rows of files with their predictions and returns the number of rows.

    Args:
        config: The config.
        model: Its trained model.
        files: Files or globs, separated by commas.
        output: A `.csv` or `.parquet` file; it appears when it is complete.
        prefix: Put before the names of the predictions.

    Raises:
        DataError: If a row cannot be read, or there is none.
        UsageError: If a prediction would have the name of a column.
    """
    dataset = dataset_from_config(config, "predict", paths=files, needed=model.transform.columns)
    with replacing(output) as temporary:
        writer: RowWriter
        if suffix_of("--output", str(output), ("csv", "parquet")) == "parquet":
            writer = ParquetWriter(temporary)
        else:
            writer = CsvWriter(temporary, separator_from_config(config).decode())
        rows = 0
        names: list[str] = []
        for raw, predictions in predict(model, dataset):
            names = names or list(raw.columns)
            if list(raw.columns) != names:
                odd = sorted(set(names) ^ set(raw.columns))[0]
                raise DataError(
                    f"{raw.paths[-1]}: the column '{odd}' is not in all files, so their rows do not fit into "
                    "one file; predict them one by one"
                )
            writer.write(joined(raw.columns, predictions, prefix), raw.empty)
            rows += len(raw)
        writer.close()
        if not rows:
            raise DataError(f"{files}: there are no rows to score")
    return rows


def export_trained(
    config: Config, trained: TrainedModel, folder: pathlib.Path | None = None, files: str | None = None
) -> Exported:
    """Exports a trained model.

    Args:
        config: The config.
        trained: Its trained model.
        folder: Folder of the versions; default `model_dir/export`.
        files: Where to take sample rows from; default the config's evaluation files, else its train files.

    Raises:
        UsageError: If there are no rows to verify the model with, or a layer of a plugin cannot be served.
    """
    rows = sample_rows(config, list(trained.model.transform.columns), files)
    columns = {column.name: column for column in columns_from_config(config, "predict")}
    return export_model(trained.model, config, columns, rows, trained.step, folder, trained.digest)


def sample_rows(config: Config, columns: list[str], files: str | None) -> dict[str, np.ndarray]:
    """Returns the first few rows of the data: column name -> `[n]`."""
    sources = [("predict", files)] if files else [("evaluate", None), ("train", None)]
    reasons = []
    for mode, paths in sources:
        try:
            dataset = dataset_from_config(config, mode, paths, columns)
            for batch in itertools.islice(dataset.batches(), 1):
                return {name: values[:_SAMPLE_ROWS] for name, values in batch.columns.items()}
            reasons.append("no rows")
        except InputError as error:
            reasons.append(str(error))
    raise UsageError(
        f"export: a few rows are needed to verify the model with, name a file with --input ({reasons[0]})"
    )
