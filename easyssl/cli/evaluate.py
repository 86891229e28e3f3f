"""`easyssl evaluate`: the metrics of a trained model."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from easyssl.cli.arguments import add_checkpoint_arguments, add_config_arguments

if TYPE_CHECKING:
    from easyssl.config import Config

SUMMARY = "compute the metrics of a trained model"
DESCRIPTION = """\
Computes the config's metrics on its evaluation data, or on other files in the same format.

The result is one line of JSON on stdout, under the same names that training reports.
"""
EPILOG = """\
examples:
  easyssl evaluate my.config
  easyssl evaluate my.config --input 'data/day-2/*.csv'
  easyssl evaluate my.config --best --part test
  easyssl evaluate my.config --checkpoint runs/bst/ckpt/step-00001000
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    add_config_arguments(parser)
    parser.add_argument(
        "--input",
        metavar="FILES",
        default=None,
        help="files or globs, separated by commas (default: eval_input_path)",
    )
    parser.add_argument(
        "--part",
        choices=("validation", "test"),
        default=None,
        help="what a next-item model is evaluated on (default: data_config.sequence_split.evaluate)",
    )
    add_checkpoint_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.cli.environment import load_tensorflow
    from easyssl.cli.session import load_and_plan, show_warnings
    from easyssl.data.build import dataset_from_config

    config, plan = load_and_plan(args)
    if args.part is not None:
        choose_part(config, args.part)
    dataset_from_config(config, "evaluate", args.input)
    show_warnings(config, plan)
    load_tensorflow()
    from easyssl.cli.model import restore
    from easyssl.training.evaluate import Evaluator

    model = restore(config, args).model
    print(json.dumps(Evaluator.from_config(config, model, args.input).run()))
    return 0


def choose_part(config: Config, part: str) -> None:
    """Makes evaluation read the rows that are held out to validate or to test with.

    Raises:
        ConfigError: If the config does not split histories.
    """
    data = config.message.data_config
    if not data.HasField("sequence_split"):
        raise config.error("data_config", "--part needs sequence_split, which says what is held out")
    data.sequence_split.evaluate = data.sequence_split.Part.Value(part.upper())
