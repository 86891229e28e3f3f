"""`easyssl evaluate`: the metrics of a trained model."""

from __future__ import annotations

import argparse
import json

from easyssl.cli.arguments import add_checkpoint_arguments, add_config_arguments

SUMMARY = "compute the metrics of a trained model"
DESCRIPTION = """\
Computes the config's metrics on its evaluation data, or on other files in the same format.

The result is one line of JSON on stdout, under the same names that training reports.
"""
EPILOG = """\
examples:
  easyssl evaluate my.config
  easyssl evaluate my.config --input 'data/day-2/*.csv'
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
    add_checkpoint_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.cli.environment import load_tensorflow
    from easyssl.cli.session import load_and_plan, show_warnings
    from easyssl.data.dataset import dataset_from_config

    config, plan = load_and_plan(args)
    dataset_from_config(config, "evaluate", args.input)
    show_warnings(config, plan)
    load_tensorflow()
    from easyssl.cli.model import restore
    from easyssl.training.evaluate import Evaluator

    model = restore(config, args).model
    print(json.dumps(Evaluator.from_config(config, model, args.input).run()))
    return 0
