"""`easyssl export`: writes a trained model as a SavedModel."""

from __future__ import annotations

import argparse
import pathlib

from easyssl.cli.arguments import add_checkpoint_arguments, add_config_arguments

SUMMARY = "write a trained model as a SavedModel and show how to call it"
DESCRIPTION = """\
Writes the trained model, with everything that turns raw columns into its inputs, as a TensorFlow SavedModel.

The SavedModel needs nothing but TensorFlow. It is loaded in a fresh process without easyssl and its answers
are compared with ours before it appears as model_dir/export/<n>; an existing version is never overwritten.
"""
EPILOG = """\
examples:
  easyssl export my.config
  easyssl export my.config --checkpoint runs/bst/ckpt/step-00001000 --output /models/bst
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    add_config_arguments(parser)
    add_checkpoint_arguments(parser)
    parser.add_argument(
        "--output", metavar="DIR", default=None, help="folder of the versions (default: model_dir/export)"
    )
    parser.add_argument(
        "--input",
        metavar="FILES",
        default=None,
        help="rows to verify the model with (default: the first of the evaluation data, or of the training "
        "data if there are none)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.cli.environment import load_tensorflow
    from easyssl.cli.session import load_and_plan, show_warnings

    config, plan = load_and_plan(args)
    show_warnings(config, plan)
    load_tensorflow()
    from easyssl.cli.model import export_trained, restore

    trained = restore(config, args)
    folder = pathlib.Path(args.output) if args.output else None
    print(export_trained(config, trained, folder, args.input).instructions, end="")
    return 0
