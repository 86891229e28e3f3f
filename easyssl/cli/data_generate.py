"""`easyssl data generate`: made-up rows."""

from __future__ import annotations

import argparse

from easyssl.cli.arguments import natural, one_of, positive
from easyssl.data.prepare import GENERATORS
from easyssl.errors import UsageError

SUMMARY = "draw rows at random from a known model of clicks"
DESCRIPTION = """\
Draws rows at random from a known model of clicks, and tells the best AUC that any model can reach on them.

The same arguments give the same files.
"""
EPILOG = """\
examples:
  easyssl data generate taobao --out samples/data/taobao
  easyssl data generate taobao --out /tmp/few --rows-per-user 10 --history-weight 3
  easyssl data generate criteo --out samples/data/criteo --tfrecord
  easyssl data generate movielens --out /tmp/small --rows 1000 --test-rows 200 --seed 7
"""

# Options of one data set only.
_ONLY = {"tfrecord": "criteo", "rows_per_user": "taobao", "history_weight": "taobao"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    parser.add_argument(
        "name", type=one_of("data set", list(GENERATORS)), metavar="NAME", help=", ".join(GENERATORS)
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write to; made if absent")
    parser.add_argument("--rows", type=positive, metavar="N", help="rows to train on")
    parser.add_argument("--test-rows", type=positive, metavar="N", help="rows to test with")
    parser.add_argument("--seed", type=natural, metavar="N", help="start of the random stream")
    parser.add_argument(
        "--tfrecord", action="store_true", default=None, help="criteo: write TFRecord files, too"
    )
    parser.add_argument(
        "--rows-per-user", type=positive, metavar="N", help="taobao: rows of a user on average (250)"
    )
    parser.add_argument(
        "--history-weight", type=float, metavar="X", help="taobao: how much the history says (1)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    given = {name: getattr(args, name) for name in ("rows", "test_rows", "seed", *_ONLY)}
    options = {name: value for name, value in given.items() if value is not None}
    for option in options:
        if args.name != _ONLY.get(option, args.name):
            flag = "--" + option.replace("_", "-")
            raise UsageError(
                f"easyssl data generate: {flag} goes with {_ONLY[option]}; {args.name} has no such option"
            )
    print("\n".join(GENERATORS[args.name](args.out, **options).lines()))
    return 0
