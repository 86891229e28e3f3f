"""`easyssl data sequences`: rows of whole histories, and a file of items."""

from __future__ import annotations

import argparse

from easyssl.cli.arguments import natural
from easyssl.data.prepare import prepare_domains, prepare_sequences

SUMMARY = "turn histories of the form 'user item item ...' into rows for next-item models"
DESCRIPTION = """\
Turns histories of the form 'user item item ...' into rows for next-item models: one row per user with all
items in the order of time, and one row per item with its popularity and what is known about it.

Popularity is counted without the last items of each user. The same arguments give the same files.

Several sources are several domains: their ids are made unique, their rows interleaved, and a column tells the
domain. --items then takes one file for each source, - for none.
"""
EPILOG = """\
examples:
  easyssl data sequences --source Beauty.txt.gz --out samples/data/beauty
  easyssl data sequences --source Beauty.txt.gz --items Beauty_item2attributes.json.gz \\
    Beauty_item_text.tsv.gz --out samples/data/beauty
  easyssl data sequences --source Beauty.txt.gz Sports.txt.gz --items Beauty_text.tsv Sports_text.tsv \\
    --out samples/data/two_domains
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    parser.add_argument(
        "--source",
        metavar="FILE",
        nargs="+",
        required=True,
        help="a line 'user item item ...' per user, in the order of time; .txt or .txt.gz; one per domain",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write to; made if absent")
    parser.add_argument(
        "--items",
        metavar="FILE",
        nargs="+",
        default=[],
        help="about items: .json of id -> list of attribute ids, or .tsv of id and text; also with .gz",
    )
    parser.add_argument(
        "--held-out",
        type=natural,
        metavar="N",
        default=2,
        help="last items of each user that popularity is counted without (default: 2)",
    )
    parser.add_argument("--plain", action="store_true", help="write .tsv, not .tsv.gz")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    options = {"items": args.items, "held_out": args.held_out, "compress": not args.plain}
    if len(args.source) == 1:
        prepared = prepare_sequences(args.source[0], args.out, **options)
    else:
        prepared = prepare_domains(args.source, args.out, **options)
    print("\n".join(prepared.lines()))
    return 0
