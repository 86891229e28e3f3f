"""`easyssl train`: trains, and resumes when it is run again."""

from __future__ import annotations

import argparse
import sys

from easyssl.cli.arguments import add_config_arguments, one_of
from easyssl.training.strategies import PRECISIONS, STRATEGIES, cluster_of

SUMMARY = "train, or go on where the last run of the same command stopped"
DESCRIPTION = """\
Trains the model of a config, evaluates it on the way and exports it in the end.

Everything is written below the config's model_dir: checkpoints in ckpt/, metrics.jsonl and the exported
model in export/. The same command again resumes exactly where the last one stopped; after the end it
exports again only if there is something new to export.
"""
EPILOG = """\
examples:
  easyssl train samples/cl4srec_on_taobao.config
  easyssl train my.config --set train_config.num_steps=1000 --set model_dir=/tmp/try
  easyssl train my.config --fresh         start over; what is in model_dir is put aside
  easyssl train my.config --strategy mirrored --precision mixed_bfloat16

A signal (Ctrl-C, SIGTERM) lets the step end, writes a checkpoint and exits with code 143; a second
signal stops at once.
Set export_config.exporter_type to none to train without exporting.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    add_config_arguments(parser)
    parser.add_argument("--fresh", action="store_true", help="start over instead of resuming")
    parser.add_argument(
        "--allow-config-change",
        action="store_true",
        help="resume although the config is not the one that the checkpoints were made with",
    )
    parser.add_argument(
        "--precision",
        type=one_of("precision", PRECISIONS),
        metavar="NAME",
        help=f"{', '.join(PRECISIONS)} (default: train_config.mixed_precision)",
    )
    parser.add_argument(
        "--strategy",
        type=one_of("strategy", list(STRATEGIES)),
        metavar="NAME",
        help=f"how devices share the work: {', '.join(STRATEGIES)} (default: train_config.train_distribute); "
        "multi_worker and parameter_server read TF_CONFIG",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.cli.environment import load_tensorflow
    from easyssl.cli.session import load_and_plan, modes, show_warnings
    from easyssl.data.build import dataset_from_config

    if args.precision:
        precision = "" if args.precision == "float32" else args.precision
        args.overrides.append(f'train_config.mixed_precision="{precision}"')
    if args.strategy:
        args.overrides.append(f"train_config.train_distribute={STRATEGIES[args.strategy]}")
    config, plan = load_and_plan(args)
    cluster_of(config)
    for mode in modes(config):
        dataset_from_config(config, mode)
    show_warnings(config, plan)
    load_tensorflow()
    from easyssl.cli.model import export_trained
    from easyssl.export.exporter import find_export
    from easyssl.training import Preempted, load_trained, train
    from easyssl.training.signals import EXIT_CODE
    from easyssl.training.trained import chosen_checkpoint

    try:
        result = train(config, fresh=args.fresh, allow_config_change=args.allow_config_change)
    except Preempted as stopped:
        print(f"{stopped}; the same command again goes on from there", file=sys.stderr)
        return EXIT_CODE
    exporter = config.message.export_config.exporter_type
    if result.chief and exporter != "none":
        chosen = chosen_checkpoint(config, best=exporter == "best")
        exported = find_export(config, chosen.digest)
        if exported is not None:
            print(f"step {chosen.step} is exported already: {exported}", file=sys.stderr)
            return 0
        trained = load_trained(config, chosen.path, allow_config_change=True)
        print(export_trained(config, trained).instructions, end="")
    return 0
