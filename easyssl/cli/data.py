"""`easyssl data`: makes data, or turns a public data set into rows."""

from __future__ import annotations

import argparse

from easyssl.cli import mutual_information
from easyssl.cli.arguments import natural, one_of, positive
from easyssl.errors import UsageError

SUMMARY = "make data to try things with, prepare a public data set, or measure one"
DESCRIPTION = """\
Writes data that the sample configs read.

'generate' draws rows at random from a known model of clicks. 'prepare' reads a public data set in the files
it is published in, which you download yourself. The same arguments give the same files.

'mutual-information' measures how much features tell about each other; it has flags of its own, see
'easyssl data mutual-information --help'.
"""
EPILOG = """\
examples:
  easyssl data generate taobao --out samples/data/taobao
  easyssl data generate taobao --out /tmp/small --rows 1000 --test-rows 200 --seed 7
  easyssl data prepare ml1m --source ~/Downloads/ml-1m --out samples/data/ml1m
  easyssl data mutual-information my.config --group item --output mi.npy
"""

ACTIONS = {"mutual-information": mutual_information}
"""Actions that are commands of their own; they come directly behind `data`."""

# Flag of the command line -> argument of a generator, of a preparer.
_OPTIONS = {
    "generate": {"rows": "rows", "test_rows": "test_rows", "seed": "seed"},
    "prepare": {"rows": "train_rows", "test_rows": "test_rows", "seed": "seed", "history": "history"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    from easyssl.data.prepare import GENERATORS, PREPARERS

    parser.add_argument(
        "action", type=one_of("action", [*_OPTIONS, *ACTIONS]), metavar="ACTION", help="generate or prepare"
    )
    parser.add_argument(
        "name",
        type=one_of("data set", [*GENERATORS, *PREPARERS]),
        metavar="NAME",
        help=f"to generate: {', '.join(GENERATORS)}; to prepare: {', '.join(PREPARERS)}",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write to; made if absent")
    parser.add_argument("--source", metavar="DIR", help="prepare: folder with the published files")
    parser.add_argument("--rows", type=positive, metavar="N", help="rows to train on (prepare: at most)")
    parser.add_argument(
        "--test-rows", type=positive, metavar="N", help="rows to test with (prepare: at most)"
    )
    parser.add_argument("--history", type=positive, metavar="N", help="prepare: items in a history at most")
    parser.add_argument("--seed", type=natural, metavar="N", help="start of the random stream")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.data.prepare import GENERATORS, PREPARERS, generate, prepare

    if args.action in ACTIONS:
        raise UsageError(f"easyssl data: put '{args.action}' first: easyssl data {args.action} ...")
    known = GENERATORS if args.action == "generate" else PREPARERS
    if args.name not in known:
        raise UsageError(f"easyssl data: cannot {args.action} '{args.name}', only {', '.join(known)}")
    if (args.source is None) != (args.action == "generate"):
        needs = (
            "needs --source, the folder with"
            if args.action == "prepare"
            else "takes no --source; it reads no"
        )
        raise UsageError(f"easyssl data {args.action} {needs} published files")
    names = _OPTIONS[args.action]
    given = {f: v for f in ("rows", "test_rows", "history", "seed") if (v := getattr(args, f)) is not None}
    for flag in given:
        if flag not in names:
            raise UsageError(f"easyssl data {args.action} takes no --{flag.replace('_', '-')}")
    options = {names[flag]: value for flag, value in given.items()}
    if args.action == "generate":
        made = generate(args.name, args.out, **options)
    else:
        made = prepare(args.name, args.source, args.out, **options)
    print("\n".join(made.lines()))
    return 0
