"""`easyssl data`: makes data, turns a public data set into rows, or measures rows."""

from __future__ import annotations

import argparse

from easyssl.cli import data_generate, data_ml_1m, data_sequences, mutual_information
from easyssl.cli.arguments import one_of
from easyssl.errors import UsageError

ACTIONS = {
    "generate": data_generate,
    "ml-1m": data_ml_1m,
    "sequences": data_sequences,
    "mutual-information": mutual_information,
}
"""The actions, each a command of its own; they come directly behind `data`."""

SUMMARY = "make data to try things with, prepare a public data set, or measure one"
_WIDTH = max(map(len, ACTIONS))
DESCRIPTION = "Each action has flags of its own, see 'easyssl data ACTION --help'.\n\nactions:\n" + "\n".join(
    f"  {name:<{_WIDTH}}  {action.SUMMARY}" for name, action in ACTIONS.items()
)
EPILOG = """\
examples:
  easyssl data generate taobao --out samples/data/taobao
  easyssl data ml-1m --source ~/Downloads/ml-1m --out samples/data/ml1m
  easyssl data sequences --source Beauty.txt.gz --out samples/data/beauty
  easyssl data mutual-information my.config --group item --output mi.npy
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the only argument."""
    parser.add_argument(
        "action", type=one_of("action", list(ACTIONS)), metavar="ACTION", help=", ".join(ACTIONS)
    )


def run(args: argparse.Namespace) -> int:
    """Never called with an action, which is run instead."""
    raise UsageError(f"easyssl data: an action is missing: {', '.join(ACTIONS)}; see 'easyssl data --help'")
