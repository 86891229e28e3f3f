"""`easyssl data ml-1m`: rows for ranking, or histories, from MovieLens-1M."""

from __future__ import annotations

import argparse

from easyssl.cli.arguments import natural, positive
from easyssl.data.prepare import prepare_ml1m, prepare_ml1m_sequences
from easyssl.errors import UsageError

SUMMARY = "turn MovieLens-1M, in the files it is published in, into rows for ranking or next-item models"
DESCRIPTION = """\
Turns MovieLens-1M, in the files it is published in, into rows for ranking: user, movie, the movies that the
user liked before, and whether this rating is 4 or 5.

Each user's ratings are split by time. With --next-item it writes histories for next-item models instead: a
row per user and a file of items, as `easyssl data sequences` does.

You download the files yourself. The same arguments give the same files.
"""
EPILOG = """\
examples:
  easyssl data ml-1m --source ~/Downloads/ml-1m --out samples/data/ml1m
  easyssl data ml-1m --source ~/Downloads/ml-1m --out samples/data/ml1m --history 20 --rows 400000
  easyssl data ml-1m --source ~/Downloads/ml-1m --out samples/data/ml1m_next --next-item
"""
# Flag -> argument of the function.
_OPTIONS = {"rows": "train_rows", "test_rows": "test_rows", "history": "history", "seed": "seed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    parser.add_argument("--source", metavar="DIR", required=True, help="folder with the published files")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write to; made if absent")
    parser.add_argument("--rows", type=positive, metavar="N", help="rows to train on at most")
    parser.add_argument("--test-rows", type=positive, metavar="N", help="rows to test with at most")
    parser.add_argument("--history", type=positive, metavar="N", help="movies in a history at most")
    parser.add_argument("--seed", type=natural, metavar="N", help="start of the random stream")
    parser.add_argument(
        "--next-item", action="store_true", help="write histories for next-item models, not rows for ranking"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    given = {argument: getattr(args, flag) for flag, argument in _OPTIONS.items()}
    options = {name: value for name, value in given.items() if value is not None}
    if args.next_item:
        wrong = next((flag for flag in _OPTIONS if getattr(args, flag) is not None), None)
        if wrong is not None:
            raise UsageError(f"--{wrong.replace('_', '-')} is for rows for ranking, not for --next-item")
        print("\n".join(prepare_ml1m_sequences(args.source, args.out).lines()))
        return 0
    print("\n".join(prepare_ml1m(args.source, args.out, **options).lines()))
    return 0
