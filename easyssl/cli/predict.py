"""`easyssl predict`: rows in, the same rows with predictions out."""

from __future__ import annotations

import argparse
import pathlib
import sys

from easyssl.cli.arguments import add_checkpoint_arguments, add_config_arguments
from easyssl.errors import UsageError

SUMMARY = "score rows with a trained model"
DESCRIPTION = """\
Scores the rows of files in the config's format and writes them, in the same order, with predictions added.

The output has a header: the config's columns as they were read (empty cells stay empty), then probs,
logits or whatever the model predicts. Label columns may be absent (from CSV without a header only all of
them), and where columns have names, those that no feature reads as well. Ids that training never saw are
fine. The output file appears once it is complete.
"""
EPILOG = """\
examples:
  easyssl predict my.config --input new.csv --output scored.csv
  easyssl predict my.config --input 'day/*.csv' --output scored.parquet --prefix model_
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    add_config_arguments(parser)
    parser.add_argument("--input", metavar="FILES", required=True, help="files or globs, separated by commas")
    parser.add_argument("--output", metavar="FILE", required=True, help="a .csv or .parquet file to write")
    add_checkpoint_arguments(parser)
    parser.add_argument(
        "--prefix",
        metavar="TEXT",
        default="",
        help="put before the names of the predictions (default: nothing)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.cli.environment import load_tensorflow
    from easyssl.cli.files import check_writable, suffix_of
    from easyssl.cli.session import load_and_plan, show_warnings
    from easyssl.data.build import dataset_from_config

    suffix_of("--output", args.output, ("csv", "parquet"))
    output = pathlib.Path(args.output)
    check_writable(output)
    config, plan = load_and_plan(args)
    dataset = dataset_from_config(config, "predict", args.input)
    if output.resolve() in {pathlib.Path(name).resolve() for name in dataset.files}:
        raise UsageError(f"--output {output}: is one of the files to read; name another one")
    show_warnings(config, plan)
    load_tensorflow()
    from easyssl.cli.model import restore, write_predictions

    rows = write_predictions(config, restore(config, args).model, args.input, output, args.prefix)
    print(f"{output}: {rows} rows", file=sys.stderr)
    return 0
